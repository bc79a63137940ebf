"""The existing GKE cluster, looked up, and a kubeconfig for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """What the program needs to know of its cluster.

    `kubeconfig` is JSON and holds no credential: kubectl and the provider get a short-lived token from
    `gke-gcloud-auth-plugin`, https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl.
    """

    id: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    workload_identity_principals: pulumi.Output[str]
    """Prefix of the IAM members that Kubernetes service accounts of this project's clusters are."""


def lookup_cluster(project: str, name: str, location: str, provider: gcp.Provider) -> ClusterHandle:
    """Find the cluster `name` in `location`; the invoke fails with Google's error when there is none."""
    invoke = pulumi.InvokeOutputOptions(provider=provider)
    cluster = gcp.container.get_cluster_output(project=project, location=location, name=name, opts=invoke)
    number = gcp.organizations.get_project_output(project_id=project, opts=invoke).number

    return ClusterHandle(
        id=cluster.id,
        kubeconfig=pulumi.Output.all(cluster.endpoint, cluster.master_auths).apply(
            lambda found: _kubeconfig(endpoint=found[0], ca_certificate=found[1][0]["cluster_ca_certificate"])
        ),
        workload_identity_principals=pulumi.Output.format(
            "principal://iam.googleapis.com/projects/{0}/locations/global/workloadIdentityPools/{1}.svc.id.goog/subject",
            number,
            project,
        ),
    )


def _kubeconfig(endpoint: str, ca_certificate: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gke",
            "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
            "clusters": [
                {
                    "name": "gke",
                    "cluster": {
                        "server": f"https://{endpoint}",
                        "certificate-authority-data": ca_certificate,
                    },
                }
            ],
            "users": [
                {
                    "name": "gke",
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1beta1",
                            "command": "gke-gcloud-auth-plugin",
                            "installHint": "gcloud components install gke-gcloud-auth-plugin",
                            "interactiveMode": "Never",
                            "provideClusterInfo": True,
                        }
                    },
                }
            ],
        }
    )
