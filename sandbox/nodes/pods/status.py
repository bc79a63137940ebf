"""A pod's status, as a kubelet makes it of its containers' states.

Source: k8s.io/kubernetes v1.36, pkg/kubelet/kubelet_pods.go (getPhase) and pkg/kubelet/status/generate.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.cluster.client import Json
from sandbox.cluster.status import timestamp
from sandbox.nodes.pods.process import Container

_OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


def status(
    pod: Json, inits: Sequence[Container], containers: Sequence[Container], address: str, host: str
) -> Json:
    """The status of a pod that runs, to be merged into the one it has."""
    initialized = all(_initialized(container) for container in inits)
    over = phase(pod, inits, containers)
    complete = over == "Succeeded"
    ready = all(container.ready for container in containers) and initialized and not complete
    unready = [container.name for container in containers if not container.ready]
    why = (
        {"reason": "PodCompleted"}
        if complete
        else {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
    )
    uninitialized = [container.name for container in inits if not _initialized(container)]
    incomplete = {
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(uninitialized)}]",
    }
    gates = _gates(pod)
    own = [
        _condition(pod, "PodReadyToStartContainers", True, {}),
        _condition(pod, "Initialized", initialized, {"reason": "PodCompleted"} if complete else incomplete),
        _condition(pod, "Ready", ready and gates is None, why if not ready else gates or {}),
        _condition(pod, "ContainersReady", ready, why),
    ]
    others = [condition for condition in pod["status"].get("conditions", []) if condition["type"] not in _OWN]
    return {
        "phase": over,
        "conditions": [*others, *own],
        **({"hostIP": host, "hostIPs": [{"ip": host}]} if host else {}),  # kwok's nodes have no address
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod["status"].get("startTime") or timestamp(),
        "initContainerStatuses": [_container(container) for container in inits] or None,
        "containerStatuses": [_container(container) for container in containers],
    }


def phase(pod: Json, inits: Sequence[Container], containers: Sequence[Container]) -> str:
    """Pending, Running, Succeeded or Failed."""
    policy = pod["spec"].get("restartPolicy", "Always")
    if any(container.exit_code for container in inits if not container.sidecar) and policy == "Never":
        return "Failed"
    if not all(_initialized(container) for container in inits):
        return "Pending"
    if any("waiting" in container.state and not container.last_state for container in containers):
        return "Pending"
    if any("terminated" not in container.state for container in containers):
        return "Running"
    if policy == "Always":
        return "Running"
    if all(container.exit_code == 0 for container in containers):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _initialized(container: Container) -> bool:
    if container.sidecar:  # one that has ended, or is to start again, has been there for the others
        return container.started if container.running else container.exit_code is not None
    return container.state.get("terminated", {}).get("exitCode") == 0


def _gates(pod: Json) -> Json | None:
    """Why a pod is not ready though its containers are; None where its gates are open."""
    open_ = {
        condition["type"]
        for condition in pod["status"].get("conditions", [])
        if condition["status"] == "True"
    }
    for gate in pod["spec"].get("readinessGates", []):
        if gate["conditionType"] not in open_:
            message = f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", but False'
            return {"reason": "ReadinessGatesNotReady", "message": message}
    return None


def _condition(pod: Json, kind: str, holds: bool, why: Json) -> Json:
    known = next(
        (condition for condition in pod["status"].get("conditions", []) if condition["type"] == kind), None
    )
    value = "True" if holds else "False"
    since = known["lastTransitionTime"] if known and known["status"] == value else timestamp()
    return {"type": kind, "status": value, "lastTransitionTime": since, **({} if holds else why)}


def _container(container: Container) -> Json:
    return {
        "name": container.name,
        "image": container.spec["image"],
        "imageID": container.spec["image"],
        "containerID": f"sandbox://{container.folder.parent.name}-{container.name}-{container.restarts}",
        "ready": container.ready or (container.exit_code == 0 and container.init),
        "started": container.started,
        "restartCount": container.restarts,
        "state": container.state,
        "lastState": container.last_state,
    }
