"""What GKE makes of a node pool: how its nodes look and how many there may be.

What it does not do: local disks, Arm, Windows; the provider stand-in refuses those. It does not refuse a pod that asks for two
shares of a GPU, as a GKE node does.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from sandbox.cluster.base_objects import DECLARED_FEATURES, region_of
from sandbox.nodes.node_sizes import MACHINE_TYPES, allocatable, capacity, ephemeral_storage
from settings.machines import PARTITIONS

Json = dict[str, Any]

POOL_ANNOTATION = "llm-gateway.sandbox/node-pool"
_GPU = "nvidia.com/gpu"
_GPU_TAINT = {"key": _GPU, "value": "present", "effect": "NoSchedule"}
_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
    "NO_EXECUTE": "NoExecute",
}


class Pool:
    """One node pool of the cloud store, read for what its nodes look like and how many there may be."""

    def __init__(self, row: Json) -> None:
        self.row = row
        self.name: str = row["name"]
        self.zones: list[str] = row["zones"]
        spec: Json = row["spec"]
        self.config: Json = spec.get("nodeConfig", {})
        self.machine_type: str = self.config["machineType"]
        self.max_pods = int(spec.get("maxPodsPerNode", 110))
        self.accelerators: list[Json] = self.config.get("guestAccelerators", [])
        self.gpus = sum(int(accelerator["count"]) * _parts(accelerator) for accelerator in self.accelerators)
        scaling: Json | None = spec.get("autoscaling")
        self.autoscaled = scaling is not None
        start = int(spec.get("nodeCount", spec.get("initialNodeCount", 0)))
        self.zone_min = int(scaling.get("minNodeCount", 0)) if scaling else start
        self.zone_max: int | None = (
            int(scaling["maxNodeCount"]) if scaling and "maxNodeCount" in scaling else None
        )
        self.total_min = int(scaling.get("totalMinNodeCount", 0)) if scaling else 0
        self.total_max: int | None = (
            int(scaling["totalMaxNodeCount"]) if scaling and "totalMaxNodeCount" in scaling else None
        )
        if row["status"] != "RUNNING":
            self.zone_min = max(self.zone_min, start)

    def missing(self, counts: dict[str, int]) -> list[str]:
        """The zones of the nodes that the minimum still asks for, one entry per node."""
        have = dict(counts)
        zones: list[str] = []
        for zone in self.zones:
            zones += [zone] * (self.zone_min - have[zone])
            have[zone] = max(have[zone], self.zone_min)
        while sum(have.values()) < self.total_min:
            zone = min(self.zones, key=have.__getitem__)
            have[zone] += 1
            zones.append(zone)
        return zones

    def room(self, counts: dict[str, int]) -> list[str]:
        """The zones in which the autoscaler may add a node, the emptiest first."""
        if self.total_max is not None and sum(counts.values()) >= self.total_max:
            return []
        zones = [zone for zone in self.zones if self.zone_max is None or counts[zone] < self.zone_max]
        return sorted(zones, key=counts.__getitem__)

    def spare(self, zone: str, counts: dict[str, int]) -> bool:
        """Whether a node in the zone may go without falling below the minimum."""
        return counts[zone] > self.zone_min and sum(counts.values()) > self.total_min

    def labels(self, zone: str) -> dict[str, str]:
        """The labels of the pool's nodes in a zone, but for the host name: GKE's own and the pool's."""
        spot = bool(self.config.get("spot") or self.config.get("preemptible"))
        labels = {
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/instance-type": self.machine_type,
            "beta.kubernetes.io/os": "linux",
            "cloud.google.com/gke-boot-disk": self.config.get("diskType", "pd-balanced"),
            "cloud.google.com/gke-container-runtime": "containerd",
            "cloud.google.com/gke-max-pods-per-node": str(self.max_pods),
            "cloud.google.com/gke-nodepool": self.row["pool"],
            "cloud.google.com/gke-os-distribution": self.config.get("imageType", "COS_CONTAINERD")
            .split("_")[0]
            .lower(),
            "cloud.google.com/gke-provisioning": "spot" if spot else "standard",
            "cloud.google.com/machine-family": self.machine_type.partition("-")[0],
            "failure-domain.beta.kubernetes.io/region": region_of(zone),
            "failure-domain.beta.kubernetes.io/zone": zone,
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": self.machine_type,
            "topology.gke.io/zone": zone,
            "topology.kubernetes.io/region": region_of(zone),
            "topology.kubernetes.io/zone": zone,
        }
        if spot:
            labels["cloud.google.com/gke-spot"] = "true"
        if self.config.get("workloadMetadataConfig", {}).get("mode") == "GKE_METADATA":
            labels["iam.gke.io/gke-metadata-server-enabled"] = "true"
        if self.config.get("gcfsConfig", {}).get("enabled"):
            labels["cloud.google.com/gke-image-streaming"] = "true"
        for accelerator in self.accelerators:
            driver = accelerator.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion", "DEFAULT")
            labels["cloud.google.com/gke-accelerator"] = accelerator["type"]
            labels["cloud.google.com/gke-accelerator-count"] = str(accelerator["count"])
            labels["cloud.google.com/gke-gpu"] = "true"
            labels["cloud.google.com/gke-gpu-driver-version"] = driver.lower()
            if size := accelerator.get("gpuPartitionSize"):
                labels["cloud.google.com/gke-gpu-partition-size"] = size
            if sharing := accelerator.get("gpuSharingConfig"):
                strategy = sharing["gpuSharingStrategy"].lower().replace("_", "-")
                labels["cloud.google.com/gke-gpu-sharing-strategy"] = strategy
                clients = str(int(sharing["maxSharedClientsPerGpu"]))
                labels["cloud.google.com/gke-max-shared-clients-per-gpu"] = clients
        return {**labels, **self.config.get("labels", {})}

    def taints(self) -> list[Json]:
        """The pool's taints, and the one that GKE adds to a GPU pool where there are other pools, as here."""
        taints = [
            {"key": taint["key"], "value": taint["value"], "effect": _EFFECTS[taint["effect"]]}
            for taint in self.config.get("taints", [])
        ]
        if self.gpus and not any(taint["key"] == _GPU for taint in taints):
            taints.append(_GPU_TAINT)
        return taints

    def sizes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Capacity and allocatable of one node."""
        machine = MACHINE_TYPES[self.machine_type]
        disk, free_disk = ephemeral_storage(int(self.config.get("diskSizeGb", 100)))
        both = {"pods": str(self.max_pods), **({_GPU: str(self.gpus)} if self.gpus else {})}
        return (
            {**capacity(machine), "ephemeral-storage": disk, **both},
            {**allocatable(machine), "ephemeral-storage": free_disk, **both},
        )

    def group(self, zone: str) -> str:
        """The name of the pool's instance group in a zone, without its -grp."""
        digest = hashlib.sha256(f"{self.name}/{zone}".encode()).hexdigest()[:8]
        return f"gke-{self.row['cluster'][:20]}-{self.row['pool'][:20]}-{digest}"

    def group_url(self, zone: str) -> str:
        return (
            f"https://www.googleapis.com/compute/v1/projects/{self.row['project']}/zones/{zone}"
            f"/instanceGroups/{self.group(zone)}-grp"
        )

    def stockout(self, zone: str) -> str:
        """Compute Engine's words for a zone that has no such machine left."""
        return (
            "ZONE_RESOURCE_POOL_EXHAUSTED: The zone "
            f"'projects/{self.row['project']}/zones/{zone}' does not have enough resources available to fulfill the "
            "request. Try a different zone, or try again later."
        )

    def node(self, zone: str) -> Json:
        """A new node of the pool."""
        name = f"{self.group(zone)}-{secrets.token_hex(2)}"
        total, left_to_pods = self.sizes()
        return {
            "metadata": {
                "name": name,
                "annotations": {"kwok.x-k8s.io/node": "fake", POOL_ANNOTATION: self.name},
                "labels": {**self.labels(zone), "kubernetes.io/hostname": name},
            },
            "spec": {
                "providerID": f"gce://{self.row['project']}/{zone}/{name}",
                "taints": self.taints(),
            },
            "status": {
                "capacity": total,
                "allocatable": left_to_pods,
                "declaredFeatures": DECLARED_FEATURES,
            },
        }


def owner(node: Json) -> str | None:
    """The full name of the pool that a node belongs to; None for nodes that no pool of the store made."""
    return node["metadata"].get("annotations", {}).get(POOL_ANNOTATION)


def zone_of(node: Json) -> str:
    return node["metadata"]["labels"]["topology.kubernetes.io/zone"]


def _parts(accelerator: Json) -> int:
    """How many a node offers of each GPU."""
    kind = accelerator["type"].rpartition("/")[2]
    parts = PARTITIONS.get(kind, {}).get(accelerator.get("gpuPartitionSize") or "", 1)
    sharing: Json = accelerator.get("gpuSharingConfig") or {}
    return parts * int(sharing.get("maxSharedClientsPerGpu", 1))
