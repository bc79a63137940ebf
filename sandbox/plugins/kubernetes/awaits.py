"""When is a Kubernetes object ready, as pulumi-kubernetes sees it, and what keeps it from being so.

Waited for: Deployment, StatefulSet, DaemonSet, Job, Pod, PersistentVolumeClaim, Service, and whatever the
annotation pulumi.com/waitFor asks for. Not waited for, though the real provider does: Ingress,
PersistentVolume, ReplicationController, ResourceQuota, service account token Secrets. JSONPath: fields,
indexes, ['x'], [?(@.x=="y")].
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes.cluster import Cluster, Object

WAIT_FOR = "pulumi.com/waitFor"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
DEFAULT_TIMEOUT_SECONDS = 600.0

_GOOD_WHEN_FALSE = re.compile("Failure|Failed|Pressure|Unavailable|Degraded|Stalled")


class NotReady(SandboxError):
    """The object did not become ready; the text says what kept it."""


def annotation(body: Object, name: str) -> str | None:
    """An annotation of an object, or None."""
    return (body["metadata"].get("annotations") or {}).get(name)


def timeout_seconds(body: Object, custom: float) -> float:
    """Seconds to wait: the resource's custom timeout, else its annotation, else ten minutes."""
    text = annotation(body, TIMEOUT) or ""
    return custom or (float(text) if text.isdigit() else DEFAULT_TIMEOUT_SECONDS)


def wait_ready(
    cluster: Cluster, live: Object, inputs: Object, timeout: float, cancelled: threading.Event
) -> Object:
    """The live object once it is ready; raises NotReady when it has failed or `timeout` seconds are over."""
    if annotation(inputs, SKIP_AWAIT) == "true":
        return live
    custom = annotation(inputs, WAIT_FOR)
    check = waited_for(custom) if custom else None
    deadline = time.monotonic() + timeout
    pause = 0.1
    while True:
        missing = check(live) if check else unready(cluster, live)
        if missing is None:
            return live
        if cancelled.wait(pause):
            raise NotReady("the wait was cancelled.")
        if time.monotonic() > deadline:
            raise NotReady(f"not ready after {timeout:g} s: {missing}{lines(causes(cluster, live))}")
        pause = min(pause * 1.5, 1.0)
        metadata = live["metadata"]
        current = cluster.get(live["apiVersion"], live["kind"], metadata.get("namespace"), metadata["name"])
        if current is None:
            raise NotReady("it was deleted while it was waited for.")
        live = current


def unready(cluster: Cluster, live: Object) -> str | None:
    """What a workload still lacks; None when it is ready or not waited for. Raises NotReady if it failed."""
    spec, status = live.get("spec") or {}, live.get("status") or {}
    match live["apiVersion"], live["kind"]:
        case "apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" as kind:
            return _rollout(kind, live, spec, status)
        case "batch/v1", "Job":
            return _job(cluster, live, status)
        case "v1", "Pod":
            ready = status.get("phase") == "Succeeded" or _condition(status, "Ready") == "True"
            return None if ready else f"the pod is {status.get('phase', 'new')} and not ready"
        case "v1", "PersistentVolumeClaim":
            bound = status.get("phase") == "Bound" or _waits_for_consumer(cluster, spec)
            return None if bound else "the claim is not bound to a volume"
        case "v1", "Service":
            return _service(cluster, live, spec, status)
    return None


def _rollout(kind: str, live: Object, spec: Object, status: Object) -> str | None:
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return "the controller has not seen this generation yet"
    if kind == "DaemonSet":
        wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        available = status.get("numberAvailable", 0)
    else:
        wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        available = status.get("availableReplicas", 0)
    if updated < wanted or available < wanted:
        return f"{updated} of {wanted} replicas updated, {available} available"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} replicas of an earlier version are still there"
    if kind == "Deployment" and wanted and _condition(status, "Available") != "True":
        return "the Deployment is not Available"
    return None


def _job(cluster: Cluster, live: Object, status: Object) -> str | None:
    if _condition(status, "Failed") == "True":
        raise NotReady(f"the Job has failed{lines(causes(cluster, live))}")
    return None if _condition(status, "Complete") == "True" else "the Job has not completed"


def _service(cluster: Cluster, live: Object, spec: Object, status: Object) -> str | None:
    if spec.get("type") == "ExternalName":
        return None
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return "the load balancer has no address"
    if not spec.get("selector") or spec.get("clusterIP") == "None":
        return None
    metadata = live["metadata"]
    slices = cluster.list(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        metadata["namespace"],
        labelSelector=f"kubernetes.io/service-name={metadata['name']}",
    )
    ready = any(e.get("conditions", {}).get("ready", True) for s in slices for e in s.get("endpoints") or [])
    return None if ready else "the Service does not target any ready Pod"


def _waits_for_consumer(cluster: Cluster, spec: Object) -> bool:
    name = spec.get("storageClassName")
    for storage_class in cluster.list("storage.k8s.io/v1", "StorageClass", None):
        default = annotation(storage_class, "storageclass.kubernetes.io/is-default-class") == "true"
        if storage_class["metadata"]["name"] == name or (name is None and default):
            return storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
    return False


def _condition(status: Object, kind: str) -> str | None:
    return next((c["status"] for c in status.get("conditions") or [] if c["type"] == kind), None)


def waited_for(text: str) -> Callable[[Object], str | None]:
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = text
    expressions: list[str] = wanted if isinstance(wanted, list) else [text]
    checks = [_expression(expression) for expression in expressions]
    return lambda live: next((missing for check in checks if (missing := check(live)) is not None), None)


def _expression(expression: str) -> Callable[[Object], str | None]:
    kind, _, rest = expression.partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return lambda live: _lacks_condition(live, name, value or "True")
    if kind == "jsonpath" and (match := re.fullmatch(r"\{(.*)\}(?:=(.+))?", rest)):
        select, value = json_path(match[1]), match[2]

        def lacks(live: Object) -> str | None:
            found = select(live)
            text = str(found).lower() if isinstance(found, bool) else str(found)
            met = found is not None and (value is None or text == value)
            return None if met else f"{{{match[1]}}} is {found!r}, waited for {value or 'any value'}"

        return lacks
    raise SandboxError(
        f'annotation {WAIT_FOR}: "{expression}" is not understood; write "condition=Ready", "condition=X=False", '
        '"jsonpath={.status.phase}=Value", or a JSON array of these.'
    )


def _lacks_condition(live: Object, name: str, value: str) -> str | None:
    status = live.get("status") or {}
    if status.get("observedGeneration", live["metadata"].get("generation", 0)) < live["metadata"].get(
        "generation", 0
    ):
        return "the controller has not seen this generation yet"
    if _condition(status, name) == value:
        return None
    return f"condition {name} is {_condition(status, name) or 'not set'}, waited for {value}"


_STEP = re.compile(r"""\.([\w-]+)|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]""")


def json_path(path: str) -> Callable[[Any], Any]:
    """A function from a value to what `path` (without braces) names in it, or None. Raises SandboxError."""
    path = path.removeprefix("$")
    steps = list(_STEP.finditer(path))
    if not steps or "".join(step[0] for step in steps) != path:
        raise SandboxError(
            f"jsonpath {path!r} uses syntax that the sandbox does not emulate; see sandbox/plugins/kubernetes/awaits.py."
        )

    def select(value: Any) -> Any:
        for step in steps:
            field, index, key, filter_field, filter_value = step.groups()
            if index is not None:
                value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
            elif filter_field is not None:
                items = value if isinstance(value, list) else []
                value = next((item for item in items if str(item.get(filter_field)) == filter_value), None)
            else:
                value = value.get(field or key) if isinstance(value, dict) else None
        return value

    return select


def lines(texts: list[str]) -> str:
    """Texts as indented lines after a first one."""
    return "".join(f"\n    {text}" for text in texts)


def causes(cluster: Cluster, live: Object) -> list[str]:
    """What the cluster says about an object that is not ready, as far as it can be read."""
    try:
        pods = _pods(cluster, live)
        found = [*_bad_conditions(live), *(text for pod in pods for text in pod_problems(pod))]
        found += [text for subject in [live, *pods] for text in _warnings(cluster, subject)]
    except Exception as error:
        # Whatever is wrong here must not hide the failure that is being explained.
        found = [f"(the cause could not be read: {error!r})"]
    return list(dict.fromkeys(found))


def _bad_conditions(live: Object) -> Iterator[str]:
    for condition in (live.get("status") or {}).get("conditions") or []:
        good = "False" if _GOOD_WHEN_FALSE.search(condition["type"]) else "True"
        if condition["status"] != good:
            reason, message = condition.get("reason", ""), condition.get("message", "")
            yield f"{live['kind']} {live['metadata']['name']}: {condition['type']}={condition['status']} {reason}: {message}"


def _pods(cluster: Cluster, live: Object) -> list[Object]:
    selector = ((live.get("spec") or {}).get("selector") or {}) if live["kind"] != "Service" else {}
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    if live["kind"] == "Pod":
        return [live]
    if not labels:
        return []
    text = ",".join(f"{key}={value}" for key, value in labels.items())
    return cluster.list("v1", "Pod", live["metadata"].get("namespace"), labelSelector=text)


def pod_problems(pod: Object) -> Iterator[str]:
    """Why a pod is not running: scheduling, waiting and failed containers."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            yield f"Pod {name}: {condition.get('reason', 'not scheduled')}: {condition.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = container.get("state", {}).get("waiting")
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get(
            "terminated"
        )
        where = f"Pod {name}, container {container['name']}"
        if waiting:
            yield f"{where}: {waiting.get('reason', 'waiting')}: {waiting.get('message', '')}"
        if ended and ended.get("exitCode"):
            yield f"{where}: exit code {ended['exitCode']} {ended.get('reason', '')} {ended.get('message', '')}".rstrip()
    if status.get("reason"):
        yield f"Pod {name}: {status['reason']}: {status.get('message', '')}"


def _warnings(cluster: Cluster, subject: Object) -> list[str]:
    metadata = subject["metadata"]
    events = cluster.list(
        "v1",
        "Event",
        metadata.get("namespace", "default"),
        fieldSelector=f"involvedObject.uid={metadata['uid']}",
    )
    texts = [
        f"{subject['kind']} {metadata['name']}: {event.get('reason', '')}: {event.get('message', '')}"
        for event in events
        # The autoscaler reports its refusal as Normal; FailedScheduling only repeats the pod's condition.
        if event.get("reason") == "NotTriggerScaleUp"
        or (event.get("type") == "Warning" and event.get("reason") != "FailedScheduling")
    ]
    return list(dict.fromkeys(texts))[-3:]
