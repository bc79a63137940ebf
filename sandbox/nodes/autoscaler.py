"""The cluster autoscaler: which nodes to add and remove, and what to tell the pods.

What it does not do: choose between pools by price (the first that fits wins), weigh what scheduling.py leaves
out, move pods together to empty a node. A changed machine type or disk replaces all of a pool's nodes at
once. In a stock-out of GPU machines the running nodes stay and no new one comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from sandbox.cluster.status import holds
from sandbox.nodes.gke_nodes import Json, Pool, owner, zone_of
from sandbox.nodes.scheduling import Resources, quantities, requests, why_not


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

    def refuses(self, pod: Json, volume_zones: Collection[str]) -> list[str]:
        return why_not(pod, self.labels, self.taints, self.free, volume_zones)

    def take(self, pod: Json) -> None:
        for name, amount in requests(pod).items():
            self.free[name] = self.free.get(name, Decimal(0)) - amount


@dataclass
class _Look:
    """One look at the cluster, and what comes of it."""

    pools: list[Pool]
    nodes: list[Json]
    pods: list[Json]
    stockout: bool
    now: float
    volume_zones: Mapping[str, Collection[str]]
    decision: Decision = field(default_factory=Decision)

    def __post_init__(self) -> None:
        by_name = {pool.name: pool for pool in self.pools}
        kept = [node for node in self.nodes if _kept(node, by_name)]
        self.decision.delete = [
            node["metadata"]["name"] for node in self.nodes if owner(node) and node not in kept
        ]
        self.nodes = kept
        self.owned = {pool.name: [node for node in kept if owner(node) == pool.name] for pool in self.pools}

    def exhausted(self, pool: Pool) -> bool:
        return self.stockout and bool(pool.gpus)

    def zones(self, pod: Json) -> Collection[str]:
        return self.volume_zones.get(pod["metadata"]["uid"], ())


class Autoscaler:
    """Decides from what is there; remembers only machines under way and since when a node has been empty.

    `boot_seconds()` is how long a machine takes to appear, `idle_seconds` how long a node stays empty before
    it goes.
    """

    def __init__(self, boot_seconds: Callable[[], float], idle_seconds: float) -> None:
        self._boot_seconds = boot_seconds
        self._idle_seconds = idle_seconds
        self._orders: list[_Order] = []
        self._empty_since: dict[str, float] = {}

    def decide(
        self,
        pools: list[Pool],
        nodes: list[Json],
        pods: list[Json],
        stockout: bool,
        now: float,
        volume_zones: Mapping[str, Collection[str]] | None = None,
    ) -> Decision:
        """What to do, given all nodes and pods of the cluster.

        `now` is a monotonic time in seconds; `volume_zones` are the zones of a pod's volumes, by its uid.
        """
        look = _Look(pools, nodes, pods, stockout, now, volume_zones or {})
        by_name = {pool.name: pool for pool in pools}
        self._orders = [
            _Order(by_name[order.pool.name], order.zone, order.due)
            for order in self._orders
            if order.pool.name in by_name and not look.exhausted(order.pool)
        ]
        self._fill(look)
        self._help(look)
        self._shrink(look)
        look.decision.create = [order.pool.node(order.zone) for order in self._orders if order.due <= now]
        self._orders = [order for order in self._orders if order.due > now]
        return look.decision

    def _counts(self, pool: Pool, look: _Look) -> dict[str, int]:
        """The pool's nodes per zone, with those under way."""
        zones = [zone_of(node) for node in look.owned[pool.name]]
        zones += [order.zone for order in self._orders if order.pool.name == pool.name]
        return {zone: zones.count(zone) for zone in pool.zones}

    def _order(self, pool: Pool, zone: str, look: _Look) -> None:
        self._orders.append(_Order(pool, zone, look.now + self._boot_seconds()))

    def _fill(self, look: _Look) -> None:
        """Bring pools to their minimum; decide whether a new one has its first nodes or cannot have them."""
        for pool in look.pools:
            missing = pool.missing(self._counts(pool, look))
            if not look.exhausted(pool):
                for zone in missing:
                    self._order(pool, zone, look)
            if pool.row["status"] == "RUNNING":
                continue
            ready = [zone_of(node) for node in look.owned[pool.name] if holds(node, "Ready")]
            if not pool.missing({zone: ready.count(zone) for zone in pool.zones}):
                look.decision.status[pool.name] = ("RUNNING", "")
            elif look.exhausted(pool) and missing and pool.row["status"] != "ERROR":
                look.decision.status[pool.name] = ("ERROR", pool.stockout(missing[0]))

    def _help(self, look: _Look) -> None:
        """Order nodes for pods that fit none that is there or under way."""
        waiting = [pod for pod in look.pods if _unschedulable(pod) and not _of_daemon_set(pod)]
        if not waiting:
            return
        slots = _slots(look.nodes, look.pods)
        slots += [_template(order.pool, order.zone) for order in self._orders]
        scalable = [pool for pool in look.pools if pool.autoscaled]
        for pod in waiting:
            slot = next((slot for slot in slots if not slot.refuses(pod, look.zones(pod))), None)
            reasons: list[str] = []
            for pool in scalable if slot is None else []:
                slot = self._grow(pool, pod, look, reasons)
                if slot:
                    slots.append(slot)
                    break
            if slot:
                slot.take(pod)
            elif reasons:
                text = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
                look.decision.events.append(
                    Event(pod, "NotTriggerScaleUp", f"pod didn't trigger scale-up: {text}")
                )

    def _grow(self, pool: Pool, pod: Json, look: _Look, reasons: list[str]) -> _Slot | None:
        """Order a node of the pool for a pod; None, and why in `reasons` or an event, when it cannot be."""
        counts = self._counts(pool, look)
        refusals = {zone: _template(pool, zone).refuses(pod, look.zones(pod)) for zone in pool.zones}
        zone = next((zone for zone in pool.room(counts) if not refusals[zone]), None)
        if zone is None:
            anywhere = any(not refusal for refusal in refusals.values())
            reasons.append("max node group size reached" if anywhere else refusals[pool.zones[0]][0])
            return None
        if look.exhausted(pool):
            message = (
                f"Node scale up in zones {zone} associated with this pod failed: GCE out of resources. "
                f"Pod is at risk of not being scheduled. {pool.stockout(zone)}"
            )
            look.decision.events.append(Event(pod, "FailedScaleUp", message, warning=True))
            return None
        self._order(pool, zone, look)
        growth = f"{counts[zone]}->{counts[zone] + 1} (max: {pool.zone_max or pool.total_max})"
        message = f"pod triggered scale-up: [{{{pool.group_url(zone)} {growth}}}]"
        look.decision.events.append(Event(pod, "TriggeredScaleUp", message))
        return _template(pool, zone)

    def _shrink(self, look: _Look) -> None:
        """Remove nodes above the minimum: of autoscaled pools when they have been empty for long enough."""
        busy = {
            pod["spec"].get("nodeName") for pod in look.pods if not _of_daemon_set(pod) and not _over(pod)
        }
        since: dict[str, float] = {}
        for pool in look.pools:
            counts = self._counts(pool, look)
            for node in look.owned[pool.name]:
                name, zone = node["metadata"]["name"], zone_of(node)
                if name in busy and pool.autoscaled:
                    continue
                since[name] = self._empty_since.get(name, look.now)
                idle = look.now - since[name] >= self._idle_seconds
                if (idle or not pool.autoscaled) and pool.spare(zone, counts):
                    counts[zone] -= 1
                    look.decision.delete.append(name)
        self._empty_since = since


def _kept(node: Json, pools: dict[str, Pool]) -> bool:
    """Whether a node belongs to no pool of the store, or is still as its pool makes nodes."""
    name = owner(node)
    if name is None:
        return True
    if name not in pools or zone_of(node) not in pools[name].zones:
        return False
    return quantities(node["status"]["capacity"]) == quantities(pools[name].sizes()[0])


def _unschedulable(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod["status"].get("conditions", [])
    )


def _over(pod: Json) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


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
        if slot and not _over(pod):
            slot.take(pod)
    return list(slots.values())


def _template(pool: Pool, zone: str) -> _Slot:
    return _Slot(pool.labels(zone), pool.taints(), quantities(pool.sizes()[1]))
