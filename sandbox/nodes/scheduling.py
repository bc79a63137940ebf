"""Would a pod fit a node? The scheduler's filters that a cluster autoscaler's simulation turns on.

Looks at requests, node selector, required node affinity, taints and the zones of volumes. Does not look at pod
(anti-)affinity, topology spread, host ports or priorities. Pure functions on the API's JSON.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

Json = dict[str, Any]
Resources = dict[str, Decimal]

_NONE = Decimal(0)


def quantities(amounts: Mapping[str, str]) -> Resources:
    """Resource quantities ("500m", "1Gi") as numbers."""
    return {name: parse_quantity(amount) for name, amount in amounts.items()}


def requests(pod: Json) -> Resources:
    """What a pod asks of a node: containers and sidecars together, or a larger init step."""
    running: Resources = {}
    peak: Resources = {}
    for container in pod["spec"].get("initContainers", []):
        step = _sum(running, _asked(container))
        peak = {name: max(amount, peak.get(name, _NONE)) for name, amount in (peak | step).items()}
        if container.get("restartPolicy") == "Always":
            running = step
    for container in pod["spec"]["containers"]:
        running = _sum(running, _asked(container))
    total = {name: max(running.get(name, _NONE), peak.get(name, _NONE)) for name in peak | running}
    return {**_sum(total, quantities(pod["spec"].get("overhead", {}))), "pods": Decimal(1)}


def why_not(
    pod: Json,
    labels: Mapping[str, str],
    taints: list[Json],
    free: Resources,
    volume_zones: Collection[str] = (),
) -> list[str]:
    """Why the pod would not fit a node with these labels, taints and free resources; empty when it would.

    `volume_zones` are the zones that its volumes lie in, nothing where it may go anywhere. The words are the scheduler's.
    """
    reasons = [
        f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
        for taint in taints
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerated(pod, taint)
    ][:1]
    if not _selected(pod, labels):
        reasons.append("node(s) didn't match Pod's node affinity/selector")
    if set(volume_zones) - {labels.get("topology.kubernetes.io/zone")}:
        reasons.append("node(s) had volume node affinity conflict")
    reasons += [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, amount in sorted(requests(pod).items())
        if amount > free.get(name, _NONE)
    ]
    return reasons


def _asked(container: Json) -> Resources:
    resources = container.get("resources", {})
    return quantities({**resources.get("limits", {}), **resources.get("requests", {})})


def _sum(one: Resources, other: Resources) -> Resources:
    return {name: one.get(name, _NONE) + other.get(name, _NONE) for name in one | other}


def _tolerated(pod: Json, taint: Json) -> bool:
    return any(
        toleration.get("effect", taint["effect"]) in (taint["effect"], "")
        and toleration.get("key", taint["key"]) in (taint["key"], "")
        and (
            toleration.get("operator", "Equal") == "Exists"
            or toleration.get("value", "") == taint.get("value", "")
        )
        for toleration in pod["spec"].get("tolerations", [])
    )


def _selected(pod: Json, labels: Mapping[str, str]) -> bool:
    spec = pod["spec"]
    if any(labels.get(key) != value for key, value in spec.get("nodeSelector", {}).items()):
        return False
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    if required is None:
        return True
    return any(
        not term.get("matchFields") and all(_matches(rule, labels) for rule in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
        if term.get("matchExpressions")
    )


def _matches(rule: Json, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values", [])
    match rule["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
        case "Lt":
            return value is not None and int(value) < int(values[0])
    raise ValueError(f"Node affinity operator {rule['operator']!r} is none the API allows.")
