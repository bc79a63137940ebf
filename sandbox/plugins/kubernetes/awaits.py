"""When is a Kubernetes object ready, as pulumi-kubernetes sees it.

The errors are the real provider's, which name no cause: the texts of `unready` and `waited_for` are in none of them.
For a Deployment, a StatefulSet or a Job the real provider adds what it saw of the pods; this one does not.

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
from collections.abc import Callable
from typing import Any

from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes.cluster import Cluster, Object

WAIT_FOR = "pulumi.com/waitFor"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
DEFAULT_TIMEOUT_SECONDS = 600.0

_TIMED_OUT = "timed out waiting for the condition"


class NotReady(SandboxError):
    """The object did not become ready, in the real provider's words (pkg/await/error.go)."""


def initialized(live: Object) -> str:
    """What a refresh, or a Job that has failed, says of an object that is not ready."""
    return f"Resource '{live['metadata']['name']}' was created but failed to initialize"


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
            name = live["metadata"]["name"]
            raise NotReady("context canceled" if check else f'Resource operation was cancelled for "{name}"')
        metadata = live["metadata"]
        if time.monotonic() > deadline:
            raise NotReady(_TIMED_OUT if check else f"'{metadata['name']}' timed out waiting to be Ready")
        pause = min(pause * 1.5, 1.0)
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
            return _job(live, status)
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


def _job(live: Object, status: Object) -> str | None:
    if _condition(status, "Failed") == "True":
        raise NotReady(initialized(live))
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
