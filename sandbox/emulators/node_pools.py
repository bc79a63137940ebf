"""Node pools as kwok nodes, and the cluster autoscaler that adds and removes them.

What it does not do: drain, repair, surge or upgrade nodes, choose between pools by price (the first that fits wins),
weigh what scheduling.py leaves out. A changed machine type or disk replaces all nodes at once, pods and all; labels and
taints of running nodes follow their pool. Scale-down looks at emptiness only. The switch gpu_stockout ("true") takes the
capacity for GPU machines away: running nodes stay, no new one comes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kubernetes import client

from sandbox.base_objects import region_of
from sandbox.cloud import Cloud, CloudError
from sandbox.emulators.scheduling import Json, Resources, quantities, requests, why_not
from sandbox.latency import seconds
from sandbox.machine_types import MACHINE_TYPES, ephemeral_storage
from sandbox.paths import Home

_POOL = "llm-gateway.sandbox/node-pool"
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
        self.machine = MACHINE_TYPES[self.config["machineType"]]
        self.max_pods = int(spec.get("maxPodsPerNode", 110))
        self.accelerators: list[Json] = self.config.get("guestAccelerators", [])
        self.gpus = sum(int(accelerator["count"]) for accelerator in self.accelerators)
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
        """The zones, once a node, in which nodes lack to reach the minimum."""
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
            "beta.kubernetes.io/instance-type": self.machine.name,
            "beta.kubernetes.io/os": "linux",
            "cloud.google.com/gke-boot-disk": self.config.get("diskType", "pd-balanced"),
            "cloud.google.com/gke-container-runtime": "containerd",
            "cloud.google.com/gke-max-pods-per-node": str(self.max_pods),
            "cloud.google.com/gke-nodepool": self.row["pool"],
            "cloud.google.com/gke-os-distribution": self.config.get("imageType", "COS_CONTAINERD")
            .split("_")[0]
            .lower(),
            "cloud.google.com/gke-provisioning": "spot" if spot else "standard",
            "cloud.google.com/machine-family": self.machine.family,
            "failure-domain.beta.kubernetes.io/region": region_of(zone),
            "failure-domain.beta.kubernetes.io/zone": zone,
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": self.machine.name,
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
        return {**labels, **self.config.get("labels", {})}

    def taints(self) -> list[Json]:
        """The pool's taints, and the one GKE adds to GPU pools of clusters that have other pools, as this one does."""
        taints = [
            {"key": taint["key"], "value": taint["value"], "effect": _EFFECTS[taint["effect"]]}
            for taint in self.config.get("taints", [])
        ]
        if self.gpus and not any(taint["key"] == _GPU for taint in taints):
            taints.append(_GPU_TAINT)
        return taints

    def sizes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Capacity and allocatable of one node."""
        disk, free_disk = ephemeral_storage(int(self.config.get("diskSizeGb", 100)))
        both = {"pods": str(self.max_pods), **({_GPU: str(self.gpus)} if self.gpus else {})}
        return (
            {**self.machine.capacity(), "ephemeral-storage": disk, **both},
            {**self.machine.allocatable(), "ephemeral-storage": free_disk, **both},
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
        capacity, allocatable = self.sizes()
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {"kwok.x-k8s.io/node": "fake", _POOL: self.name},
                "labels": {**self.labels(zone), "kubernetes.io/hostname": name},
            },
            "spec": {
                "providerID": f"gce://{self.row['project']}/{zone}/{name}",
                "taints": self.taints(),
            },
            "status": {"capacity": capacity, "allocatable": allocatable},
        }


@dataclass
class Event:
    """What the autoscaler says about a pod."""

    pod: Json
    reason: str
    message: str
    warning: bool = False


@dataclass
class Decision:
    """What is to be done to the cluster and the store."""

    create: list[Json] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    status: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class _Order:
    pool: Pool
    zone: str
    due: float


@dataclass
class _Slot:
    labels: dict[str, str]
    taints: list[Json]
    free: Resources

    def take(self, pod: Json) -> None:
        for name, amount in requests(pod).items():
            self.free[name] = self.free.get(name, Decimal(0)) - amount


class Autoscaler:
    """Decides from what is there; remembers only machines under way and since when a node has been empty.

    `boot_seconds()` is how long a machine takes to appear, `idle_seconds` how long a node stays empty before it goes.
    """

    def __init__(self, boot_seconds: Callable[[], float], idle_seconds: float) -> None:
        self._boot_seconds = boot_seconds
        self._idle_seconds = idle_seconds
        self._orders: list[_Order] = []
        self._empty_since: dict[str, float] = {}

    def decide(
        self, pools: list[Pool], nodes: list[Json], pods: list[Json], stockout: bool, now: float
    ) -> Decision:
        """One look at the cluster: `nodes` and `pods` are all of its own, `now` a monotonic time in seconds."""
        decision = Decision()
        by_name = {pool.name: pool for pool in pools}
        kept = [node for node in nodes if _kept(node, by_name)]
        decision.delete += [node["metadata"]["name"] for node in nodes if _owner(node) and node not in kept]
        owned = {pool.name: [node for node in kept if _owner(node) == pool.name] for pool in pools}
        self._orders = [
            _Order(by_name[order.pool.name], order.zone, order.due)
            for order in self._orders
            if order.pool.name in by_name and not (stockout and order.pool.gpus)
        ]
        self._fill(pools, owned, stockout, now, decision)
        self._help(pools, owned, kept, pods, stockout, now, decision)
        self._shrink(pools, owned, pods, now, decision)
        decision.create = [order.pool.node(order.zone) for order in self._orders if order.due <= now]
        self._orders = [order for order in self._orders if order.due > now]
        return decision

    def _counts(self, pool: Pool, owned: dict[str, list[Json]]) -> dict[str, int]:
        counts = dict.fromkeys(pool.zones, 0)
        for zone in [_zone(node) for node in owned[pool.name]] + [
            order.zone for order in self._orders if order.pool.name == pool.name
        ]:
            counts[zone] = counts.get(zone, 0) + 1
        return counts

    def _order(self, pool: Pool, zone: str, now: float) -> None:
        self._orders.append(_Order(pool, zone, now + self._boot_seconds()))

    def _fill(
        self, pools: list[Pool], owned: dict[str, list[Json]], stockout: bool, now: float, decision: Decision
    ) -> None:
        for pool in pools:
            missing = pool.missing(self._counts(pool, owned))
            out = stockout and bool(pool.gpus)
            if not out:
                for zone in missing:
                    self._order(pool, zone, now)
            if pool.row["status"] == "RUNNING":
                continue
            ready = dict.fromkeys(pool.zones, 0)
            for node in owned[pool.name]:
                ready[_zone(node)] += _ready(node)
            if not pool.missing(ready):
                decision.status[pool.name] = ("RUNNING", "")
            elif out and missing and pool.row["status"] != "ERROR":
                decision.status[pool.name] = ("ERROR", pool.stockout(missing[0]))

    def _help(
        self,
        pools: list[Pool],
        owned: dict[str, list[Json]],
        nodes: list[Json],
        pods: list[Json],
        stockout: bool,
        now: float,
        decision: Decision,
    ) -> None:
        waiting = [pod for pod in pods if _unschedulable(pod) and not _of_daemon_set(pod)]
        if not waiting:
            return
        slots = _slots(nodes, pods) + [_template(order.pool, order.zone) for order in self._orders]
        for pod in waiting:
            slot = next(
                (slot for slot in slots if not why_not(pod, slot.labels, slot.taints, slot.free)), None
            )
            if slot:
                slot.take(pod)
                continue
            reasons: list[str] = []
            for pool in pools:
                if pool.autoscaled:
                    refusal, ordered = self._grow(pool, pod, owned, stockout, now, decision)
                    if ordered:
                        ordered.take(pod)
                        slots.append(ordered)
                        break
                    reasons += [refusal] if refusal else []
            else:
                if reasons:
                    text = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
                    decision.events.append(
                        Event(pod, "NotTriggerScaleUp", f"pod didn't trigger scale-up: {text}")
                    )

    def _grow(
        self,
        pool: Pool,
        pod: Json,
        owned: dict[str, list[Json]],
        stockout: bool,
        now: float,
        decision: Decision,
    ) -> tuple[str, _Slot | None]:
        counts = self._counts(pool, owned)
        refusals: list[str] = []
        for zone in pool.zones:
            slot = _template(pool, zone)
            refusals = why_not(pod, slot.labels, slot.taints, slot.free)
            if not refusals:
                break
        if refusals:
            return refusals[0], None
        for zone in pool.room(counts):
            slot = _template(pool, zone)
            if why_not(pod, slot.labels, slot.taints, slot.free):
                continue
            if stockout and pool.gpus:
                decision.events.append(
                    Event(
                        pod,
                        "FailedScaleUp",
                        f"Node scale up in zones {zone} associated with this pod failed: GCE out of resources. "
                        f"Pod is at risk of not being scheduled. {pool.stockout(zone)}",
                        warning=True,
                    )
                )
                return "", None
            self._order(pool, zone, now)
            size = counts[zone]
            message = f"pod triggered scale-up: [{{{pool.group_url(zone)} {size}->{size + 1} (max: {pool.zone_max or pool.total_max})}}]"
            decision.events.append(Event(pod, "TriggeredScaleUp", message))
            return "", slot
        return "max node group size reached", None

    def _shrink(
        self,
        pools: list[Pool],
        owned: dict[str, list[Json]],
        pods: list[Json],
        now: float,
        decision: Decision,
    ) -> None:
        busy = {
            pod["spec"].get("nodeName")
            for pod in pods
            if not _of_daemon_set(pod) and pod["status"].get("phase") not in ("Succeeded", "Failed")
        }
        since: dict[str, float] = {}
        for pool in pools:
            counts = self._counts(pool, owned)
            for node in owned[pool.name]:
                name, zone = node["metadata"]["name"], _zone(node)
                if name in busy and pool.autoscaled:
                    continue
                since[name] = self._empty_since.get(name, now)
                idle = now - since[name] >= self._idle_seconds
                if (idle or not pool.autoscaled) and pool.spare(zone, counts):
                    counts[zone] -= 1
                    decision.delete.append(name)
        self._empty_since = since


class NodePools:
    """Keeps the cluster's nodes as the cloud's node pools want them: call `reconcile` about once a second.

    `api_client` is an official kubernetes client of a loopback cluster. Level-based: any state is a fine start.
    """

    def __init__(self, home: Home, api_client: client.ApiClient, *, idle_seconds: float = 60) -> None:
        self._cloud = Cloud(home.cloud)
        self._core: Any = client.CoreV1Api(api_client)  # takes plain JSON, which its types do not say
        self._autoscaler = Autoscaler(lambda: seconds("nodePool"), idle_seconds)
        self._said: set[tuple[str, str, str]] = set()
        self._had_nodes = True

    def reconcile(self) -> None:
        """Look once and do what is needed. Raises the client's ApiException when the API server refuses."""
        pools = [Pool(row) for row in self._cloud.list("nodePool")]
        if not pools and not self._had_nodes:
            return
        nodes = _items(self._core.list_node(_preload_content=False))
        pods = _items(self._core.list_pod_for_all_namespaces(_preload_content=False))
        stockout = self._cloud.get_switch("gpu_stockout") == "true"
        decision = self._autoscaler.decide(pools, nodes, pods, stockout, time.monotonic())
        for manifest in decision.create:
            self._core.create_node(manifest)
        for name in decision.delete:
            self._remove(name, pods)
        for event in decision.events:
            self._say(event)
        self._follow(pools, nodes)
        for name, (status, message) in decision.status.items():
            with suppress(CloudError):  # deleted since we looked
                self._cloud.change("nodePool", name, status=status, statusMessage=message)
        self._had_nodes = bool(pools) or any(_owner(node) for node in nodes)

    def _remove(self, name: str, pods: list[Json]) -> None:
        for pod in pods:
            if pod["spec"].get("nodeName") == name:
                meta = pod["metadata"]
                _ignoring(
                    404,
                    self._core.delete_namespaced_pod,
                    meta["name"],
                    meta["namespace"],
                    grace_period_seconds=0,
                )
        _ignoring(404, self._core.delete_node, name)

    def _follow(self, pools: list[Pool], nodes: list[Json]) -> None:
        by_name = {pool.name: pool for pool in pools}
        for node in nodes:
            pool = by_name.get(_owner(node) or "")
            if pool is None:
                continue
            labels = node["metadata"]["labels"]
            wanted = {**pool.labels(_zone(node)), "kubernetes.io/hostname": node["metadata"]["name"]}
            system = [
                taint
                for taint in node["spec"].get("taints", [])
                if taint["key"].startswith("node.kubernetes.io/")
            ]
            own = [taint for taint in node["spec"].get("taints", []) if taint not in system]
            if labels != wanted or own != pool.taints():
                gone = dict.fromkeys(label for label in labels if label not in wanted)
                patch = {
                    "metadata": {"labels": {**gone, **wanted}},
                    "spec": {"taints": [*system, *pool.taints()]},
                }
                _ignoring(404, self._core.patch_node, node["metadata"]["name"], patch)

    def _say(self, event: Event) -> None:
        meta = event.pod["metadata"]
        key = (meta["uid"], event.reason, event.message)
        if key in self._said:
            return
        self._said.add(key)
        now = datetime.now(UTC).isoformat()
        name = f"{meta['name']}.{hashlib.sha256(''.join(key).encode()).hexdigest()[:16]}"
        body = {
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "reason": event.reason,
            "message": event.message,
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": "cluster-autoscaler"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        _ignoring(409, self._core.create_namespaced_event, meta["namespace"], body)


def _ignoring(status: int, call: Callable[..., Any], *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except client.ApiException as error:
        if error.status != status:
            raise


def _items(response: Any) -> list[Json]:
    return json.loads(response.data)["items"]


def _owner(node: Json) -> str | None:
    return node["metadata"].get("annotations", {}).get(_POOL)


def _kept(node: Json, pools: dict[str, Pool]) -> bool:
    """Whether a node is none of ours, or still what its pool makes."""
    owner = _owner(node)
    if owner is None:
        return True
    return owner in pools and quantities(node["status"]["capacity"]) == quantities(pools[owner].sizes()[0])


def _zone(node: Json) -> str:
    return node["metadata"]["labels"]["topology.kubernetes.io/zone"]


def _ready(node: Json) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _unschedulable(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod["status"].get("conditions", [])
    )


def _of_daemon_set(pod: Json) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))


def _slots(nodes: list[Json], pods: list[Json]) -> list[_Slot]:
    slots: dict[str, _Slot] = {}
    for node in nodes:
        if node["spec"].get("unschedulable"):
            continue
        taints = [
            taint
            for taint in node["spec"].get("taints", [])
            if not taint["key"].startswith("node.kubernetes.io/")
        ]
        slots[node["metadata"]["name"]] = _Slot(
            node["metadata"]["labels"], taints, quantities(node["status"].get("allocatable", {}))
        )
    for pod in pods:
        slot = slots.get(pod["spec"].get("nodeName", ""))
        if slot and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            slot.take(pod)
    return list(slots.values())


def _template(pool: Pool, zone: str) -> _Slot:
    return _Slot(pool.labels(zone), pool.taints(), quantities(pool.sizes()[1]))
