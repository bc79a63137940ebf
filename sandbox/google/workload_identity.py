"""Workload Identity Federation for GKE: the IAM member that a Kubernetes service account is."""

from __future__ import annotations

from sandbox.google.cloud import Cloud


def principal(cloud: Cloud, namespace: str, account: str) -> str:
    """The member that a service account of the cluster is. Raises LookupError while there is no cluster."""
    clusters = cloud.list("cluster")
    if not clusters:
        raise LookupError("unable to get credentials: the sandbox knows no GKE cluster yet")
    project = clusters[0]["project"]
    return (
        f"principal://iam.googleapis.com/projects/{cloud.ensure_project(project)}/locations/global/"
        f"workloadIdentityPools/{project}.svc.id.goog/subject/ns/{namespace}/sa/{account}"
    )
