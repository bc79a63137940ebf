"""The autoscaled GPU node pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components.cluster import ClusterHandle
from components.owner import LABEL, refuse_what_is_not_ours
from settings.gke import GPU_TAINT, GpuPool
from settings.gpus import LEAST_DRIVER
from settings.machines import MACHINES
from versions import VLLM_IMAGE

POOL_LABEL = "cloud.google.com/gke-nodepool"
"""Label that GKE puts on every node: the name of its pool."""
ACCELERATOR_LABEL, COUNT_LABEL = "cloud.google.com/gke-accelerator", "cloud.google.com/gke-accelerator-count"
SPOT_LABEL = "cloud.google.com/gke-spot"
"""Labels of GKE's nodes by which a pod asks an Autopilot cluster for GPUs."""
RESERVATION_KEY = "compute.googleapis.com/reservation-name"
"""Key that names a reservation, https://cloud.google.com/kubernetes-engine/docs/how-to/consuming-reservations."""


@dataclass(frozen=True, kw_only=True)
class GpuNodePoolArgs:
    """Arguments of GpuNodePool.

    `key` is the pool's in the settings. `owner` is the label of what belongs to this stack. `protect` makes Pulumi and
    its provider refuse to delete the pool, also where a change would replace it. `timeout` is in seconds.
    """

    cluster: ClusterHandle
    pool: GpuPool
    key: str
    owner: str
    protect: bool
    timeout: int


class GpuNodePool(pulumi.ComponentResource):
    """A NodePool in GKE's reference shape for GPU serving, scaled by pending pods between its bounds, or one that exists.

    On an Autopilot cluster there is none: pods say which GPUs they need,
    https://cloud.google.com/kubernetes-engine/docs/how-to/autopilot-gpus.
    """

    pool_name: pulumi.Output[str]
    node_pool: gcp.container.NodePool | None
    """None on Autopilot, and where the pool exists: the cluster's lookup has compared it with the settings."""
    tolerations: list[Mapping[str, str]]
    """Kubernetes tolerations that let a pod onto these nodes."""
    node_selector_terms: Sequence[Mapping[str, object]]
    """Kubernetes node selector terms that keep a pod on these nodes."""

    def __init__(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:gpu_node_pool:GpuNodePool", name, None, opts)
        pool = args.pool
        if pool.autopilot:
            self.node_pool, self.pool_name = None, pulumi.Output.from_input("")
            self.tolerations = [{"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}]
            asked = {ACCELERATOR_LABEL: pool.accelerator, COUNT_LABEL: str(pool.accelerator_count)}
            if pool.spot:
                asked[SPOT_LABEL] = "true"
            self.node_selector_terms = [
                {
                    "matchExpressions": [
                        {"key": key, "operator": "In", "values": [value]} for key, value in asked.items()
                    ]
                }
            ]
            self.register_outputs({"nodePool": self.pool_name})
            return
        self.node_pool = None if pool.existing else self._made(name, args)
        self.pool_name = (
            self.node_pool.name
            if self.node_pool
            else args.cluster.node_pools.apply(
                lambda pools: _others_name(pool.name, args.owner, args.key, pools)
            )
        )
        effects = {
            "NO_SCHEDULE": "NoSchedule",
            "PREFER_NO_SCHEDULE": "PreferNoSchedule",
            "NO_EXECUTE": "NoExecute",
        }
        self.tolerations = [
            {
                "key": pool.taint.key,
                "operator": "Equal",
                "value": pool.taint.value,
                "effect": effects[pool.taint.effect],
            }
        ]
        if pool.existing and pool.taint.key != GPU_TAINT:
            self.tolerations.append({"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"})
        self.node_selector_terms = [
            {"matchExpressions": [{"key": POOL_LABEL, "operator": "In", "values": [self.pool_name]}]}
        ]
        self.register_outputs({"nodePool": self.pool_name})

    def _made(self, name: str, args: GpuNodePoolArgs) -> gcp.container.NodePool:
        pool, timeout = args.pool, f"{args.timeout}s"
        if pool.machine_type not in MACHINES:
            pulumi.log.warn(
                f"llm-gateway:{args.key}.machineType: {pool.machine_type} is new to this version and taken for one with {pool.machine_cpus} vCPUs "
                f"and {pool.machine_memory}. Whether it carries {pool.accelerator} and takes a disk of type {pool.disk_type} is not checked.",
                self,
            )
        if pool.driver == "DEFAULT":
            fix = (
                "leave driverVersion off"
                if pool.image_type == "COS_CONTAINERD"
                else "imageType: COS_CONTAINERD, whose newest GKE installs"
            )
            pulumi.log.warn(
                f"llm-gateway:{args.key}.driverVersion: GKE's DEFAULT driver of this cluster's version may be older than {LEAST_DRIVER}, which "
                f"CUDA 13 of {VLLM_IMAGE} needs: its engines would then end at once. If they do, {fix}.",
                self,
            )
        return gcp.container.NodePool(
            f"{name}-nodes",
            name=pulumi.Output.all(
                args.cluster.node_pools, args.cluster.name, args.cluster.location, args.cluster.project
            ).apply(lambda found: _own_name(pool.name, args.owner, args.key, *found)),
            project=args.cluster.project,
            location=args.cluster.location,
            # The short name, not the full id: the provider replaces the pool when the spelling differs from
            # an imported one.
            cluster=args.cluster.id.apply(lambda cluster: cluster.rpartition("/")[2]),
            node_locations=pool.zones or None,
            # Nodes per zone, unlike the bounds below: any other number could overshoot them. The autoscaler
            # adds nodes.
            initial_node_count=0,
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=pool.min_nodes,
                total_max_node_count=pool.max_nodes,
                location_policy="ANY",
            ),
            management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
            upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(
                max_surge=pool.max_surge, max_unavailable=pool.max_unavailable
            ),
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type=pool.machine_type,
                image_type=pool.image_type,
                disk_size_gb=pool.disk_size_gb,
                disk_type=pool.disk_type,
                spot=pool.spot,
                service_account=pool.service_account,
                oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
                labels=pool.labels,
                resource_labels={LABEL: args.owner},
                metadata={"disable-legacy-endpoints": "true"},
                guest_accelerators=[
                    gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                        type=pool.accelerator,
                        count=pool.accelerator_count,
                        gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                            gpu_driver_version=pool.driver
                        ),
                        gpu_partition_size=pool.partition,
                        gpu_sharing_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuSharingConfigArgs(
                            gpu_sharing_strategy=pool.sharing.strategy,
                            max_shared_clients_per_gpu=pool.sharing.clients,
                        )
                        if pool.sharing
                        else None,
                    )
                ],
                reservation_affinity=gcp.container.NodePoolNodeConfigReservationAffinityArgs(
                    consume_reservation_type="SPECIFIC_RESERVATION",
                    key=RESERVATION_KEY,
                    values=[pool.reservation],
                )
                if pool.reservation
                else None,
                taints=[
                    gcp.container.NodePoolNodeConfigTaintArgs(
                        key=pool.taint.key, value=pool.taint.value, effect=pool.taint.effect
                    )
                ],
                workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(
                    mode="GKE_METADATA"
                ),
                gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=pool.image_streaming),
            ),
            deletion_policy="PREVENT" if args.protect else "DELETE",
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                # The autoscaler owns the count, and a changed initialNodeCount would replace the pool.
                ignore_changes=["initialNodeCount", "nodeCount"],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout),
            ),
        )


def _own_name(name: str, owner: str, key: str, pools: Mapping[str, Mapping[str, str]], *cluster: str) -> str:
    """The pool's name; raises pulumi.RunError where the cluster has such a pool that is not this stack's."""
    if name in pools:
        refuse_what_is_not_ours(
            f"The node pool {name}",
            pools[name],
            owner,
            key=f"{key}.name",
            command="gcloud container node-pools update {} --cluster {} --location {} --project {} --labels=".format(
                name, *cluster
            ),
        )
    return name


def _others_name(name: str, owner: str, key: str, pools: Mapping[str, Mapping[str, str]]) -> str:
    """The name of a pool that exists; raises pulumi.RunError where this stack made it, and would now delete it."""
    if pools.get(name, {}).get(LABEL) == owner:
        raise pulumi.RunError(
            f"llm-gateway:{key}.existing: this stack made the node pool {name}, and would delete it with all its nodes. Write "
            "existing: false, or the name of a pool that somebody else made."
        )
    return name
