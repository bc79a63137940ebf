"""Keeps kwok nodes as the cloud store's node pools and the autoscaler want them.

What it does not do: drain, repair, surge or upgrade nodes; a node that goes takes its pods with it at once. Of Autopilot it
has the pools of nodes with GPUs alone (autopilot.py): nodes for other pods are there from the start, pods are not changed or refused.
The switch gpu_stockout of the cloud store ("true") is a stock-out of GPU machines.
"""

from __future__ import annotations

import time
from contextlib import suppress

from sandbox.cluster.watched import Json, Watched
from sandbox.google.cloud import GPU_STOCKOUT, Cloud, CloudError
from sandbox.latency import seconds
from sandbox.nodes import autopilot
from sandbox.nodes.autoscaler import Autoscaler, Event
from sandbox.nodes.gke_nodes import Pool, owner, zone_of


class NodePools:
    """Reconciles the cluster's nodes with the cloud's node pools. It can start from any state."""

    kinds = frozenset({"Node", "PersistentVolume", "PersistentVolumeClaim", "Pod"})

    def __init__(self, api: Watched, cloud: Cloud) -> None:
        self._api = api
        self._cloud = cloud
        self._autoscaler = Autoscaler(lambda: seconds("nodePool"), idle_seconds=60)
        self._said: set[tuple[str, str, str]] = set()

    def reconcile(self) -> None:
        nodes, pods = self._api.list("Node"), self._api.list("Pod")
        for cluster in self._cloud.list("cluster"):
            if cluster.get("autopilot"):
                autopilot.bring_pools(self._cloud, cluster, pods)
        pools = [Pool(row) for row in self._cloud.list("nodePool")]
        stockout = self._cloud.get_switch(GPU_STOCKOUT) == "true"
        zones = {pod["metadata"]["uid"]: self._volume_zones(pod) for pod in pods}
        decision = self._autoscaler.decide(pools, nodes, pods, stockout, time.monotonic(), zones)
        for manifest in decision.create:
            self._api.create("Node", manifest)
        for node in nodes:
            if node["metadata"]["name"] in decision.delete:
                self._remove(node, pods)
        for event in decision.events:
            self._say(event)
        self._follow(pools, nodes)
        for name, (status, message) in decision.status.items():
            with suppress(CloudError):  # deleted since we looked
                self._cloud.change("nodePool", name, status=status, statusMessage=message)

    def _volume_zones(self, pod: Json) -> set[str]:
        """The zones of a pod's volumes; a claim without a volume, or one of Filestore, ties it to none."""
        zones: set[str] = set()
        for volume in pod["spec"].get("volumes", []):
            name = volume.get("persistentVolumeClaim", {}).get("claimName", "")
            claim = (
                self._api.get("PersistentVolumeClaim", pod["metadata"]["namespace"], name) if name else None
            )
            bound = claim["spec"].get("volumeName") if claim else None
            disk = self._api.get("PersistentVolume", "", bound) if bound else None
            for term in (
                (disk or {"spec": {}})["spec"]
                .get("nodeAffinity", {})
                .get("required", {})
                .get("nodeSelectorTerms", [])
            ):
                zones.update(zone for rule in term["matchExpressions"] for zone in rule["values"])
        return zones

    def _remove(self, node: Json, pods: list[Json]) -> None:
        # The node first: the scheduler must not send the pods' successors to it.
        self._api.delete("Node", node)
        for pod in pods:
            if pod["spec"].get("nodeName") == node["metadata"]["name"]:
                self._api.delete("Pod", pod, grace_seconds=0)

    def _follow(self, pools: list[Pool], nodes: list[Json]) -> None:
        by_name = {pool.name: pool for pool in pools}
        for node in nodes:
            pool = by_name.get(owner(node) or "")
            if pool is None:
                continue
            labels = node["metadata"]["labels"]
            wanted = {**pool.labels(zone_of(node)), "kubernetes.io/hostname": node["metadata"]["name"]}
            system = [
                taint
                for taint in node["spec"].get("taints", [])
                if taint["key"].startswith("node.kubernetes.io/")
            ]
            own = [taint for taint in node["spec"].get("taints", []) if taint not in system]
            if labels != wanted or own != pool.taints():
                gone = dict.fromkeys(label for label in labels if label not in wanted)
                changes = {
                    "metadata": {"labels": {**gone, **wanted}},
                    "spec": {"taints": [*system, *pool.taints()]},
                }
                self._api.patch("Node", node, changes)

    def _say(self, event: Event) -> None:
        key = (event.pod["metadata"]["uid"], event.reason, event.message)
        if key not in self._said:
            self._said.add(key)
            level = "Warning" if event.warning else "Normal"
            self._api.event("Pod", event.pod, level, event.reason, event.message, "cluster-autoscaler")
