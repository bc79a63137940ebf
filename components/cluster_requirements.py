"""What a cluster must have before anything is made in it: said at once, not by pods that never start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pulumi
import pulumi_gcp as gcp

from settings import Settings
from settings.gke import GPU_TAINT, GpuPool
from settings.prerequisites import (
    AUTOPILOT,
    ENDPOINT,
    ENFORCEMENT,
    KUBERNETES,
    LEAST_KUBERNETES,
    STANDARD,
    WORKLOAD_IDENTITY,
)


def require(
    cluster: gcp.container.GetClusterResult, settings: Settings, disabled: Sequence[str] = ()
) -> gcp.container.GetClusterResult:
    """The cluster, if it has all that these settings need.

    Raises pulumi.RunError that names each thing it lacks, after what `disabled` says of APIs.
    """
    if lacking := [*disabled, *_lacking(cluster, settings)]:
        raise pulumi.RunError("\n".join(f"llm-gateway:{text}" for text in lacking))
    return cluster


def _lacking(cluster: gcp.container.GetClusterResult, settings: Settings) -> Iterator[str]:
    update = f"`gcloud container clusters update {cluster.name} --location {cluster.location} --project {cluster.project}"
    pool = f"{cluster.project}.svc.id.goog"
    if pool not in [config.workload_pool for config in cluster.workload_identity_configs]:
        yield (
            f"cluster: {cluster.name} has no {WORKLOAD_IDENTITY.name}, so {WORKLOAD_IDENTITY.otherwise}. "
            f"Enable it: {update} --workload-pool {pool}`, then on its node pools `--workload-metadata GKE_METADATA`."
        )
    enforces = cluster.datapath_provider == "ADVANCED_DATAPATH" or any(
        policy.enabled for policy in cluster.network_policies
    )
    if settings.network.policies and not enforces:
        yield (
            f"network.policies: {cluster.name} enforces no NetworkPolicy, so {ENFORCEMENT.otherwise}. "
            "Use a cluster with GKE Dataplane V2, enable enforcement "
            f"({update} --update-addons NetworkPolicy=ENABLED`, then `--enable-network-policy`), or write policies: false."
        )
    for key, pool in settings.pools.items():
        if pool.autopilot and not cluster.enable_autopilot:
            yield (
                f"{key}.autopilot: {cluster.name} is a Standard cluster, so {AUTOPILOT.otherwise}. "
                "Write autopilot: false, and the pool's machineType."
            )
        elif cluster.enable_autopilot and not pool.autopilot:
            yield (
                f"{key}: {cluster.name} is an Autopilot cluster, which takes no node pool, so {STANDARD.otherwise}. Write autopilot: "
                "true, with accelerator and acceleratorCount, or use a Standard cluster, or hosted models and endpoints alone."
            )
        elif pool.existing:
            yield from _pool_lacking(cluster, pool, key)
    version = tuple(map(int, re.findall(r"\d+", cluster.master_version)[:2]))
    if version < LEAST_KUBERNETES:
        yield (
            f"cluster: {cluster.name} runs Kubernetes {cluster.master_version}, so {KUBERNETES.otherwise}. "
            f"Upgrade its control plane to {KUBERNETES.name}."
        )
    if endpoint(cluster, settings.cluster.endpoint) is None:
        how = {
            "dns": f"Enable it: {update} --enable-dns-access`, or write endpoint: ip.",
            "private": "Write endpoint: dns or ip, or use a cluster with private nodes.",
        }
        yield (
            f"cluster.endpoint: {cluster.name} has no {settings.cluster.endpoint} endpoint that this machine may reach, so "
            f"{ENDPOINT.otherwise}. {how.get(settings.cluster.endpoint, '')}".rstrip()
        )


def _pool_lacking(cluster: gcp.container.GetClusterResult, pool: GpuPool, key: str) -> Iterator[str]:
    """What the node pool that the settings say exists is not."""
    pools = {found.name: found.node_configs[0] for found in cluster.node_pools}
    if pool.name not in pools:
        yield (
            f"{key}.name: {cluster.name} has no node pool {pool.name}, so no engine could be scheduled. It has "
            f"{', '.join(sorted(pools)) or 'none'}: write the name of the one with GPUs, or existing: false."
        )
        return
    found = pools[pool.name]
    if found.machine_type != pool.machine_type:
        yield (
            f"{key}.machineType: the nodes of {pool.name} are {found.machine_type}, not {pool.machine_type}, so engines would be "
            f"compared with nodes that are not there. Write machineType: {found.machine_type}."
        )
    gpus = [(gpu.type, gpu.count) for gpu in found.guest_accelerators]
    if gpus != [(pool.accelerator, pool.accelerator_count)]:
        has = " and ".join(f"{count} {kind}" for kind, count in gpus) or "no GPU"
        written = "".join(
            f" Write accelerator: {kind} and acceleratorCount: {count}." for kind, count in gpus[:1]
        )
        yield (
            f"{key}.accelerator: a node of {pool.name} has {has}, not {pool.accelerator_count} {pool.accelerator}, so engines would "
            f"stay Pending or start on GPUs that they were not checked for.{written or ' Write the name of a pool with GPUs.'}"
        )
    for gpu in found.guest_accelerators:
        shares = [
            (sharing.gpu_sharing_strategy, sharing.max_shared_clients_per_gpu)
            for sharing in gpu.gpu_sharing_configs
            if sharing.gpu_sharing_strategy
        ]
        ours = [(pool.sharing.strategy, pool.sharing.clients)] if pool.sharing else []
        if (gpu.gpu_partition_size or None, shares) != (pool.partition, ours):
            partition = f"in partitions of {gpu.gpu_partition_size}" if gpu.gpu_partition_size else "whole"
            by = " and ".join(f"{clients} by {strategy}" for strategy, clients in shares) or "one"
            yield (
                f"{key}.sharing: the GPUs of {pool.name} are {partition}, each for {by}, which the settings do not say, so engines "
                "would have too little memory, or stay Pending. Write partition and sharing as they are there, or the name of another pool."
            )
    for taint in [*found.taints, *found.effective_taints]:
        ours = (taint.key, taint.value, taint.effect) == (pool.taint.key, pool.taint.value, pool.taint.effect)
        if not (ours or taint.key == GPU_TAINT or taint.effect == "PREFER_NO_SCHEDULE"):
            yield (
                f"{key}.taint: {pool.name} has the taint {taint.key}={taint.value}:{taint.effect}, which no engine tolerates, so all "
                f"would stay Pending. Write taint: {{key: {taint.key}, value: {taint.value}, effect: {taint.effect}}}."
            )


def endpoint(cluster: gcp.container.GetClusterResult, kind: str) -> str | None:
    """Host name or address of the control plane; None where the cluster has no such endpoint.

    A DNS name resolves from anywhere, but answers other networks than Google's only where external traffic is allowed:
    https://cloud.google.com/kubernetes-engine/docs/concepts/network-isolation#dns-based-endpoint
    """
    if kind == "private":
        return next((config.private_endpoint for config in cluster.private_cluster_configs), None) or None
    if kind == "dns":
        ends = [
            end for config in cluster.control_plane_endpoints_configs for end in config.dns_endpoint_configs
        ]
        return next((end.endpoint for end in ends if end.allow_external_traffic and end.endpoint), None)
    return cluster.endpoint or None
