"""Failover: which standby takes over, and the labels by which the Services find the primary.

The most advanced ready standby is chosen once no standby receives WAL any more, as with failoverDelay 0: one that went on
would be ahead of a new primary, and could not follow it. What it does not do: look at zones, or fence the old primary,
which is made a standby again when it comes back.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.cluster.client import Json
from sandbox.cluster.status import holds
from sandbox.cluster.watched import Watched
from sandbox.network.addresses import runs
from sandbox.operators.cloudnativepg.instances import ask
from sandbox.operators.cloudnativepg.objects import INSTANCE_ROLE


def failing_over(cluster: Json, pods: Sequence[Json]) -> str | None:
    """The standby that is to take over from a primary that is not ready; None where all is well or there is none."""
    status = cluster.get("status", {})
    primary = status.get("currentPrimary")
    if not primary or status.get("targetPrimary") != primary:
        return None  # there is no primary yet, or a failover is under way
    ready = {
        pod["metadata"]["name"]: pod
        for pod in pods
        if holds(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
    }
    if primary in ready:
        return None
    asked = {
        name: ask(pod, "/pg/status") for name, pod in ready.items() if runs(pod["status"].get("podIP", ""))
    }
    standbys = {name: answer for name, answer in asked.items() if answer}
    if not standbys or any(answer["receives"] for answer in standbys.values()):
        return None
    return max(standbys, key=lambda name: (standbys[name]["position"], name))


def label_roles(api: Watched, cluster: Json, pods: Sequence[Json]) -> None:
    """Label instances as primary and replica."""
    primary = cluster.get("status", {}).get("currentPrimary")
    for pod in pods if primary else ():
        role = "primary" if pod["metadata"]["name"] == primary else "replica"
        if pod["metadata"].get("labels", {}).get(INSTANCE_ROLE) != role:
            api.patch("Pod", pod, {"metadata": {"labels": {INSTANCE_ROLE: role, "role": role}}})
