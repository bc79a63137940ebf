"""Autopilot's node pools: one per kind of GPU that a pod asks for by the labels of GKE's nodes.

What it does not do: choose a machine by the pod's CPU and memory (the largest that carries the GPUs is taken, so that what fits
no machine at all stays Pending), add requests, limits or tolerations to pods, refuse what Autopilot refuses (privileged pods,
hostPath), evict for more than 1 GiB of the node's disk. A pod that names no count of GPUs gets no node.
https://cloud.google.com/kubernetes-engine/docs/how-to/autopilot-gpus
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sandbox.cluster.base_objects import zones_of
from sandbox.google.cloud import Cloud, CloudError
from settings.machines import MACHINES, machines_with

Json = dict[str, Any]
_ACCELERATOR, _COUNT = "cloud.google.com/gke-accelerator", "cloud.google.com/gke-accelerator-count"
_SPOT = "cloud.google.com/gke-spot"
_MOST_NODES = 1000


def bring_pools(cloud: Cloud, cluster: Json, pods: list[Json]) -> None:
    """Have a pool, at first without nodes, for each kind of GPU that pods of the cluster ask for."""
    there = {row["pool"] for row in cloud.list("nodePool", f"{cluster['name']}/nodePools/")}
    for pod in pods:
        asked = _asked(pod)
        machines = machines_with(asked.get(_ACCELERATOR, ""), int(asked.get(_COUNT, 0)))
        if not machines:
            continue
        spot = asked.get(_SPOT) == "true"
        name = f"nap-{asked[_ACCELERATOR].removeprefix('nvidia-')}-{asked[_COUNT]}{'-spot' if spot else ''}"
        if name in there:
            continue
        config = {
            "machineType": max(machines, key=lambda machine: MACHINES[machine].memory),
            "diskSizeGb": 100,
            "diskType": "pd-balanced",
            "imageType": "COS_CONTAINERD",
            "guestAccelerators": [{"type": asked[_ACCELERATOR], "count": int(asked[_COUNT])}],
            "workloadMetadataConfig": {"mode": "GKE_METADATA"},
            "spot": spot,
        }
        row = {
            **{key: cluster[key] for key in ("project", "location")},
            "cluster": cluster["clusterName"],
            "pool": name,
            "zones": zones_of(cluster["location"]),
            "spec": {"name": name, "nodeConfig": config, "autoscaling": {"totalMaxNodeCount": _MOST_NODES}},
            "status": "RUNNING",
            "statusMessage": "",
        }
        with suppress(CloudError):  # made since we looked
            cloud.create("nodePool", f"{cluster['name']}/nodePools/{name}", row)
        there.add(name)


def _asked(pod: Json) -> Mapping[str, str]:
    """The labels that a pod's node must have, as far as it names one value for each."""
    spec = pod["spec"]
    asked: dict[str, str] = dict(spec.get("nodeSelector") or {})
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    for term in terms[:1]:
        for rule in term.get("matchExpressions", []):
            if rule["operator"] == "In" and len(rule["values"]) == 1:
                asked[rule["key"]] = rule["values"][0]
    return asked
