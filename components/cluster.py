"""The existing GKE cluster, looked up, and a kubeconfig for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components.apis import disabled
from components.cluster_requirements import endpoint, require
from settings import Settings
from settings.gke import Cluster
from settings.prerequisites import AUTH_PLUGIN


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """What the program needs to know of its cluster.

    `kubeconfig` is JSON and holds no credential: kubectl and the provider get a short-lived token from
    `gke-gcloud-auth-plugin`,
    https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl.
    """

    id: pulumi.Output[str]
    name: pulumi.Output[str]
    location: pulumi.Output[str]
    """Region or zone."""
    project: pulumi.Output[str]
    """Project that the cluster is in, which need not be the one of the secrets."""
    kubeconfig: pulumi.Output[str]
    service_addresses: pulumi.Output[str]
    """Range of the cluster's Services, CIDR."""
    workload_identity_pool: pulumi.Output[str]
    """Prefix of the IAM members that Kubernetes service accounts of this project's clusters are."""
    node_pools: pulumi.Output[Mapping[str, Mapping[str, str]]]
    """The labels at Google of the cluster's node pools, by the pools' names."""

    def member(self, namespace: str, account: pulumi.Input[str]) -> pulumi.Output[str]:
        """The IAM member that a Kubernetes service account is, by Workload Identity Federation for GKE."""
        return pulumi.Output.format("{0}/ns/{1}/sa/{2}", self.workload_identity_pool, namespace, account)

    def once(self, known: pulumi.Output[object]) -> ClusterHandle:
        """The same cluster; each of its values is known no sooner than `known`."""

        def later(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
            return pulumi.Output.all(value, known).apply(lambda both: both[0])

        return ClusterHandle(**{field.name: later(getattr(self, field.name)) for field in fields(self)})


def lookup_cluster(settings: Settings, provider: gcp.Provider) -> ClusterHandle:
    """Find the cluster that the settings name, or the stack that they name, in the project of the secrets unless another is.

    The invoke fails with Google's error when there is none. Raises pulumi.RunError when the stack named has no such
    outputs, or the cluster lacks what the settings need, or an API is not enabled.
    """
    where = _ClusterName.of(settings.cluster, settings.gcp.project)
    invoke = pulumi.InvokeOutputOptions(provider=provider)
    cluster = gcp.container.get_cluster_output(
        project=where.project, location=where.location, name=where.name, opts=invoke
    )
    off = disabled(settings, where.project, provider)
    # Both are asked at once: the provider collects lookups of APIs for seconds.
    found = cluster.apply(lambda cluster: off.apply(lambda off: require(cluster, settings, off)))
    number = gcp.organizations.get_project_output(project_id=where.project, opts=invoke).number

    return ClusterHandle(
        id=found.id,
        name=where.name,
        location=where.location,
        project=where.project,
        kubeconfig=found.apply(lambda cluster: _kubeconfig(cluster, settings.cluster.endpoint)),
        service_addresses=found.services_ipv4_cidr,
        workload_identity_pool=pulumi.Output.format(
            "principal://iam.googleapis.com/projects/{0}/locations/global/workloadIdentityPools/{1}.svc.id.goog/subject",
            number,
            where.project,
        ),
        node_pools=found.node_pools.apply(_labels),
    )


def kubernetes_provider(name: str, cluster: ClusterHandle) -> kubernetes.Provider:
    """The provider that the gateway's objects in the cluster need.

    It creates by server-side apply: a preview then knows from the first update on what a dropped field leads to, and a
    create can take over what an interrupted one left. What it may take over is looked at before (ownership.py).
    """
    return kubernetes.Provider(
        name,
        kubeconfig=cluster.kubeconfig,
        cluster_identifier=cluster.id,
        upsert_existing_objects=True,
        enable_patch_force=True,
    )


@dataclass(frozen=True)
class _ClusterName:
    """What names a cluster in Google Cloud."""

    name: pulumi.Output[str]
    location: pulumi.Output[str]
    project: pulumi.Output[str]

    @classmethod
    def of(cls, cluster: Cluster, project: str) -> _ClusterName:
        if cluster.name and cluster.location:
            return cls(
                pulumi.Output.from_input(cluster.name),
                pulumi.Output.from_input(cluster.location),
                pulumi.Output.from_input(cluster.project or project),
            )
        stack = str(cluster.stack)  # one or the other, by the settings' rules
        reference = pulumi.StackReference(stack)

        def output(key: str) -> pulumi.Output[str]:
            return reference.get_output(key).apply(lambda value: _required(value, key, stack))

        return cls(output("clusterName"), output("clusterLocation"), output("clusterProject"))


def _required(value: object, key: str, stack: str) -> str:
    if not isinstance(value, str):
        raise pulumi.RunError(
            f"llm-gateway:cluster.stack: {stack} has no output {key}, so the cluster cannot be found. Export "
            "clusterName, clusterLocation and clusterProject there, or write name and location in place of stack."
        )
    return value


def _labels(pools: Any) -> Mapping[str, Mapping[str, str]]:
    """The labels of a cluster's node pools, by name."""
    found: list[Any] = pools or []
    return {pool.name: pool.node_configs[0].resource_labels or {} for pool in found}


def _kubeconfig(cluster: gcp.container.GetClusterResult, kind: str) -> str:
    server = {"server": f"https://{endpoint(cluster, kind)}"}
    if kind != "dns":  # whose certificate is one of Google's, which every machine trusts
        server["certificate-authority-data"] = cluster.master_auths[0].cluster_ca_certificate
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gke",
            "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
            "clusters": [{"name": "gke", "cluster": server}],
            "users": [
                {
                    "name": "gke",
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1beta1",
                            "command": AUTH_PLUGIN,
                            # As the Google provider does: both act as the same person.
                            "args": ["--use_application_default_credentials"],
                            "installHint": f"gcloud components install {AUTH_PLUGIN}",
                            "interactiveMode": "Never",
                            "provideClusterInfo": True,
                        }
                    },
                }
            ],
        }
    )
