"""Keeps kwok nodes as the cloud store's node pools and the autoscaler want them.

What it does not do: drain, repair, surge or upgrade nodes; a node that goes takes its pods with it at once. The switch
gpu_stockout of the cloud store ("true") is a stock-out of GPU machines.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from sandbox.google.cloud import Cloud, CloudError
from sandbox.latency import seconds
from sandbox.nodes.autoscaler import Autoscaler, Event
from sandbox.nodes.gke_nodes import Json, Pool, owner, zone_of
from sandbox.paths import Home


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
            self._remove(name)
        for event in decision.events:
            self._say(event)
        self._follow(pools, nodes)
        for name, (status, message) in decision.status.items():
            with suppress(CloudError):  # deleted since we looked
                self._cloud.change("nodePool", name, status=status, statusMessage=message)
        self._had_nodes = bool(pools) or any(owner(node) for node in nodes)

    def _remove(self, name: str) -> None:
        # The node first: the scheduler must not send the pods' successors to it.
        _ignoring(404, self._core.delete_node, name)
        on_it = self._core.list_pod_for_all_namespaces(
            field_selector=f"spec.nodeName={name}", _preload_content=False
        )
        for meta in (pod["metadata"] for pod in _items(on_it)):
            _ignoring(
                404,
                self._core.delete_namespaced_pod,
                meta["name"],
                meta["namespace"],
                grace_period_seconds=0,
            )

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
