"""What becomes of a Kubernetes object: create, update, dry run, read, delete, each with its wait."""

from __future__ import annotations

import base64
import copy
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.cluster.client import ApiError, Unreachable
from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes import awaits
from sandbox.plugins.kubernetes.cluster import Cluster, NoMatch, Object
from sandbox.plugins.values import UNKNOWN

FIELD_MANAGER = "__fieldManager"
_CREATOR = "pulumi-kubernetes"
"""The field manager, with operation Update, of what the real provider POSTs."""
_CONFLICTS = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/"
    "managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources"
)
_INTERNAL = (FIELD_MANAGER, "__initialApiVersion")
# The real provider tries a create five more times where a namespace or a kind is missing: 31 s in all.
_RETRY_PAUSES = (1, 2, 4, 8, 16)
_SERVER_MADE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "selfLink")
_SERVER_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def kind_of(token: str) -> tuple[str, str]:
    """(apiVersion, kind) that a type token such as kubernetes:core/v1:Secret stands for."""
    _, api_version, kind = token.split(":")
    return api_version.removeprefix("core/"), kind


def identifier(body: Object) -> str:
    """Pulumi's id of an object: namespace/name, or name."""
    metadata = body["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


def manager(inputs: Object, state: Mapping[str, Any], urn: str) -> str:
    """The field manager of a resource: its annotation's, the one it was made with, or a new one."""
    chosen = awaits.annotation(inputs, "pulumi.com/patchFieldManager") or state.get(FIELD_MANAGER)
    return chosen or f"pulumi-kubernetes-{hashlib.sha256(f'{urn}{time.time_ns()}'.encode()).hexdigest()[:8]}"


def create(
    cluster: Cluster,
    inputs: Object,
    manager: str,
    timeout: float,
    *,
    upsert: bool,
    force: bool,
    cancelled: threading.Event,
) -> tuple[Object, str | None]:
    """The created object's outputs and, where it did not become ready in `timeout` seconds, why not.

    Raises ApiError when it exists already (unless `upsert`), when another manager has its fields (unless
    `force`) or the server refuses it, NoMatch when its kind is not served.
    """

    def attempt() -> Object:
        if upsert:
            return _apply(cluster, inputs, manager, force=force or _forced(inputs), dry_run=False)
        return cluster.create(inputs, _CREATOR)

    live = _patiently(attempt, cancelled)
    return _settle(cluster, live, inputs, manager, timeout, cancelled)


def update(
    cluster: Cluster, inputs: Object, manager: str, timeout: float, *, force: bool, cancelled: threading.Event
) -> tuple[Object, str | None]:
    """The updated object's outputs and, if the server refused it or it is not ready in `timeout` seconds, why.

    Raises ApiError with the status 404 for an object that is gone, and NoMatch.
    """
    live = _live(cluster, inputs)
    if live is None:
        raise ApiError(404, "NotFound", f'{cluster.plural(inputs)} "{inputs["metadata"]["name"]}" not found')
    _take_ownership(cluster, live, manager)
    try:
        live = _apply(cluster, inputs, manager, force=force or _forced(inputs), dry_run=False)
    except ApiError as refused:
        if (kept := _live(cluster, inputs)) is None:
            raise
        return _outputs(kept, manager), str(refused)
    return _settle(cluster, live, inputs, manager, timeout, cancelled)


def dry_run(cluster: Cluster, inputs: Object, manager: str, *, new: bool, force: bool) -> Object | None:
    """The outputs an apply would lead to, or None where only the inputs can tell.

    That is when the kind, the namespace or the cluster is still to come, or the name is taken.
    """
    try:
        live = _live(cluster, inputs)
        if new and live:
            return None
        # What was POSTed keeps its owner until a real update: a field that the inputs lack now stays.
        force = force or _forced(inputs) or live is None or any(map(_created, _managers(live)))
        live = _apply(cluster, inputs, manager, force=force, dry_run=True)
    except (NoMatch, Unreachable):
        return None
    except ApiError as error:
        if error.status == 403 or (error.status == 404 and error.kind == "namespaces"):
            return None
        raise
    live.pop("status", None)
    if new:
        live["metadata"] |= dict.fromkeys(("uid", "resourceVersion", "creationTimestamp"), UNKNOWN)
    return _outputs(live, manager)


def read(
    cluster: Cluster, kind: tuple[str, str], resource_id: str, inputs: Object, state: Object
) -> tuple[Object, Object, str | None] | None:
    """Outputs, inputs as the cluster has them, and what is not ready; None when the object is gone.

    With neither inputs nor state (an import) the inputs are the live object's.
    """
    namespace, _, name = resource_id.rpartition("/")
    api_version = inputs.get("apiVersion") or state.get("apiVersion") or kind[0]
    try:
        live = cluster.get(api_version, kind[1], namespace or None, name)
    except NoMatch:
        return None
    if live is None:
        return None
    field_manager = state.get(FIELD_MANAGER) or manager(live, {}, resource_id)
    if not inputs:
        return _outputs(live, field_manager), _as_inputs(live), None
    problem = None
    if not (awaits.annotation(inputs, awaits.SKIP_AWAIT) or awaits.annotation(inputs, awaits.WAIT_FOR)):
        try:
            problem = awaits.initialized(live) if awaits.unready(cluster, live) else None
        except awaits.NotReady as failure:
            problem = str(failure)
    would_be = _made_of(cluster, inputs, field_manager)
    live_inputs = as_live(inputs, _readable(would_be), _readable(live))
    return _outputs(live, field_manager), live_inputs, problem


def delete(cluster: Cluster, state: Object, timeout: float, cancelled: threading.Event) -> None:
    """Deletes an object and waits until it is gone, `timeout` seconds at most; 0 does not wait.

    Raises SandboxError when it is still there afterwards.
    """
    metadata = state["metadata"]
    place = (state["apiVersion"], state["kind"], metadata.get("namespace"), metadata["name"])
    policy = (awaits.annotation(state, "pulumi.com/deletionPropagationPolicy") or "foreground").capitalize()
    try:
        cluster.delete(cluster.path(*place), policy)
    except NoMatch:
        return
    except ApiError as error:
        if error.status != 404:
            raise
        return
    deadline = time.monotonic() + timeout
    pause = 0.1
    while timeout and (live := cluster.get(*place)) and live["metadata"]["uid"] == metadata.get("uid"):
        if cancelled.wait(pause) or time.monotonic() > deadline:
            finalizers = ", ".join(live["metadata"].get("finalizers") or []) or "none"
            raise SandboxError(
                f"timed out waiting for the condition: finalizers might be preventing deletion ({finalizers})"
            )
        pause = min(pause * 1.5, 1.0)


def as_live(inputs: Any, would_be: Any, live: Any) -> Any:
    """The inputs, with the cluster's value wherever it has another one.

    `would_be` is what the server makes of the inputs, so that a quantity written another way is no
    difference.
    """
    if would_be == live:
        return inputs
    if isinstance(inputs, dict) and isinstance(live, dict):
        made = would_be if isinstance(would_be, dict) else {}
        return {key: as_live(value, made.get(key), live[key]) for key, value in inputs.items() if key in live}
    lists = isinstance(inputs, list) and isinstance(live, list) and isinstance(would_be, list)
    if lists and len(inputs) == len(would_be) == len(live):
        return [as_live(*places) for places in zip(inputs, would_be, live, strict=True)]
    return live


def _live(cluster: Cluster, inputs: Object) -> Object | None:
    metadata = inputs["metadata"]
    return cluster.get(inputs["apiVersion"], inputs["kind"], metadata.get("namespace"), metadata["name"])


def _managers(live: Object) -> list[Object]:
    return live["metadata"].get("managedFields") or []


def _created(entry: Object) -> bool:
    return (entry["manager"], entry["operation"], entry.get("subresource")) == (_CREATOR, "Update", None)


def _take_ownership(cluster: Cluster, live: Object, manager: str) -> None:
    """Give the fields that a POST set to the server-side apply manager, as the real provider's first update does."""
    entries = _managers(live)
    created = [entry for entry in entries if _created(entry)]
    if not created:
        return
    applied = [entry for entry in entries if (entry["manager"], entry["operation"]) == (manager, "Apply")]
    fields: Object = {}
    for entry in (*created, *applied):
        _merge(fields, entry["fieldsV1"])
    own = {**created[0], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    cluster.set_managers(live, [own, *(entry for entry in entries if entry not in (*created, *applied))])


def _merge(into: Object, more: Object) -> None:
    for key, value in more.items():
        _merge(into.setdefault(key, {}), value)


def _forced(inputs: Object) -> bool:
    return awaits.annotation(inputs, "pulumi.com/patchForce") == "true"


def _apply(cluster: Cluster, inputs: Object, manager: str, *, force: bool, dry_run: bool) -> Object:
    try:
        return cluster.apply(inputs, manager, force=force, dry_run=dry_run)
    except ApiError as error:
        if error.reason != "Conflict":
            raise
        raise ApiError(
            error.status,
            error.reason,
            f"Server-Side Apply field conflict detected. See {_CONFLICTS} for troubleshooting help.\n"
            f'The resource managed by field manager "{manager}" had an apply conflict: {error}',
        ) from error


def _patiently(attempt: Callable[[], Object], cancelled: threading.Event) -> Object:
    for pause in _RETRY_PAUSES:
        try:
            return attempt()
        except NoMatch:
            pass
        except ApiError as error:
            if error.status != 404:
                raise
        if cancelled.wait(pause):
            break
    return attempt()


def _settle(
    cluster: Cluster, live: Object, inputs: Object, manager: str, timeout: float, cancelled: threading.Event
) -> tuple[Object, str | None]:
    try:
        return _outputs(awaits.wait_ready(cluster, live, inputs, timeout, cancelled), manager), None
    except SandboxError as failure:
        return _outputs(_live(cluster, inputs) or live, manager), str(failure)


def _outputs(live: Object, manager: str) -> Object:
    live["metadata"].pop("managedFields", None)
    return {**live, FIELD_MANAGER: manager, "__initialApiVersion": live["apiVersion"]}


def _as_inputs(live: Object) -> Object:
    inputs = {key: copy.deepcopy(value) for key, value in live.items() if key not in ("status", *_INTERNAL)}
    for key in _SERVER_MADE:
        inputs["metadata"].pop(key, None)
    annotations = inputs["metadata"].get("annotations") or {}
    for key in _SERVER_ANNOTATIONS:
        annotations.pop(key, None)
    if not annotations:
        inputs["metadata"].pop("annotations", None)
    return inputs


def _readable(live: Object) -> Object:
    """An object, with a Secret's data as stringData, too: that field is write-only."""
    if live["kind"] != "Secret":
        return live
    texts = {
        key: base64.b64decode(value).decode(errors="replace")
        for key, value in (live.get("data") or {}).items()
    }
    return {**live, "stringData": texts | (live.get("stringData") or {})}


def _made_of(cluster: Cluster, inputs: Object, manager: str) -> Object:
    """What the server makes of the inputs, or the inputs where it would not take them now."""
    try:
        return cluster.apply(inputs, manager, force=True, dry_run=True)
    except (ApiError, NoMatch):
        return inputs
