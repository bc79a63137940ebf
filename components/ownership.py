"""Marks the objects of this stack in the cluster, and lets a create take over what an interrupted one left.

The engine learns of an object when its create has ended. An object that it did not learn of, because it was killed
before, would be in the way of every further `up`; docs/decisions/ownership.md.
"""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
from kubernetes.config import new_client_from_config_dict
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.cluster import ClusterHandle

OWNER = "llm-gateway/owner"
"""Annotation with the stack, by its own mark, and the resource that an object belongs to."""
RECORDED = "llm-gateway/recorded"
"""Annotation of an object that the state knows."""
FIELD_MANAGER = "llm-gateway"
"""One name for all stacks and states: after a lost state, too, a field that the program drops is dropped."""
RELEASE = "kubernetes:helm.sh/v3:Release"
TOOLS = frozenset(
    {
        *(
            "argocd-controller",
            "argocd-application-controller",
            "kustomize-controller",
            "helm-controller",
            "helm",
        ),
        *(
            "kubectl",
            "kubectl-client-side-apply",
            "kubectl-create",
            "kubectl-edit",
            "kubectl-patch",
            "kubectl-replace",
        ),
        *("Terraform", "HashiCorp"),
    }
)
"""Field managers of what people deploy with: Argo CD, Flux, Helm, kubectl, Terraform. Operators have others."""
_DELETION_SECONDS = 60
_MERGE = "application/merge-patch+json"
_DISCOVERY = threading.Lock()  # the client's own discovery is not safe for threads
_Work = Callable[[DynamicClient, pulumi.ResourceHookArgs], str | None]


def marked(name: str, owner: str, cluster: ClusterHandle, recover: bool) -> pulumi.ResourceTransformation:
    """A transformation that marks Kubernetes objects and looks before each create whether it may take over what is there.

    A Release is this stack's where its namespace is.

    Args:
        name: prefix of the hooks' names, unique in the program.
        owner: this stack's mark.
        cluster: where the objects are.
        recover: also take over what the state must have known, and what carries no mark. What carries the mark of
            another resource is never taken over.
    """
    connection = Connection(cluster)

    def hook(what: str, work: _Work) -> pulumi.ResourceHook:
        async def run(args: pulumi.ResourceHookArgs) -> None:
            if said := await connection.use(lambda api: work(api, args)):
                pulumi.log.warn(said)

        return pulumi.ResourceHook(f"{name}-{what}", run)

    changed: dict[str, pulumi.ResourceHookArgs] = {}

    def note(args: pulumi.ResourceHookArgs) -> None:
        changed[args.urn] = args

    noted = [pulumi.ResourceHook(f"{name}-is-changed", note)]

    async def record(resource: pulumi.Resource, work: _Work) -> None:
        # The engine answers once it has written the state; a hook runs before.
        if args := changed.get(await resource.urn.future() or ""):
            try:
                await connection.use(lambda api: work(api, args))
            except Exception as error:  # what a client and its exec plugin raise
                pulumi.log.debug(f"{args.name} is not marked as recorded: {error}", resource)

    objects = pulumi.ResourceHookBinding(
        before_create=[hook("object-is-ours", lambda api, args: admit(api, args, owner, recover))],
        after_create=noted,
        after_update=noted,
    )
    releases = pulumi.ResourceHookBinding(
        before_create=[hook("release-is-ours", lambda api, args: admit_release(api, args, owner, recover))],
        after_create=noted,
        before_update=[hook("release-is-not-pending", end_pending)],
        after_update=noted,
    )

    def mark(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("kubernetes:") or args.opts.id:
            return None
        props = dict(args.props)
        if args.type_ != RELEASE:
            metadata: Any = copy.copy(props.get("metadata")) or ObjectMetaArgs()
            metadata.annotations = {
                **(metadata.annotations or {}),
                OWNER: f"{owner}/{args.name}",
                "pulumi.com/patchFieldManager": FIELD_MANAGER,
            }
            props["metadata"] = metadata
        hooks, work = (releases, _record_release) if args.type_ == RELEASE else (objects, _record)
        # Its output is what the program waits for before it ends; it runs once the resource is registered.
        pulumi.Output.from_input(record(args.resource, work))
        opts = pulumi.ResourceOptions(hooks=hooks)
        return pulumi.ResourceTransformationResult(props, pulumi.ResourceOptions.merge(args.opts, opts))

    return mark


class Connection:
    """A client of the cluster, shared by all hooks."""

    def __init__(self, cluster: ClusterHandle) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._made: DynamicClient | None = None

    async def use(self, work: Callable[[DynamicClient], str | None]) -> str | None:
        kubeconfig = json.loads(await self._cluster.kubeconfig.future() or "{}")
        return await asyncio.to_thread(lambda: work(self._client(kubeconfig)))

    def _client(self, kubeconfig: Mapping[str, Any]) -> DynamicClient:
        with self._lock:
            if self._made is None:
                self._made = DynamicClient(new_client_from_config_dict(dict(kubeconfig)))
            return self._made


def admit(api: DynamicClient, args: pulumi.ResourceHookArgs, owner: str, recover: bool) -> str | None:
    """Let a create go on where no object is in its way, or one that may be taken over.

    Returns a warning about what is taken over. Raises pulumi.RunError where the object may not be.
    """
    inputs = args.new_inputs or {}
    deadline = time.monotonic() + _DELETION_SECONDS
    while (live := live_object(api, inputs)) and live["metadata"].get("deletionTimestamp"):
        if time.monotonic() > deadline:
            raise pulumi.RunError(
                f"{_said(live)} is still being deleted. Run `pulumi up` again once it is gone."
            )
        time.sleep(1)
    if live is None:
        return None
    refuse_others(live, args.name, owner, recover)
    annotations = live["metadata"].get("annotations") or {}
    if RECORDED in annotations and not recover:
        raise pulumi.RunError(
            f"{_said(live)} already exists, and this stack made it. {_lost(live, RECORDED)}"
        )
    if OWNER not in annotations:
        take_fields(api, live)
        return f"{_said(live)} carried no mark of a stack: it is taken over."
    return f"{_said(live)} was left by an interrupted `up` of this stack: it is taken over."


def take_fields(api: DynamicClient, live: Mapping[str, Any], manager: str = FIELD_MANAGER) -> bool:
    """Make the fields that a tool of people's owns a manager's, so that its apply neither conflicts nor leaves any.

    As client-go's csaupgrade does: https://pkg.go.dev/k8s.io/client-go/util/csaupgrade. Returns whether there were any.
    """
    metadata = live["metadata"]
    managers: list[dict[str, Any]] = metadata.get("managedFields") or []
    theirs = [entry for entry in managers if entry.get("manager") in TOOLS and not entry.get("subresource")]
    if not theirs:
        return False
    fields: dict[str, Any] = {}
    for entry in theirs:
        fields = _union(fields, entry.get("fieldsV1") or {})
    ours = {**theirs[-1], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    kept = [entry for entry in managers if entry not in theirs]
    # The version has this fail, rather than forget what another client has written meanwhile.
    patch = {"metadata": {"managedFields": [*kept, ours], "resourceVersion": metadata["resourceVersion"]}}
    kind = _kind(api, live["apiVersion"], live["kind"])
    where = {"name": metadata["name"], "namespace": metadata.get("namespace")}
    kind.patch(body=patch, content_type=_MERGE, **where)
    return True


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _union(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}


def refuse_others(live: Mapping[str, Any], resource: str, owner: str, recover: bool) -> None:
    """Raise pulumi.RunError for an object of the cluster that is another stack's or resource's, or nobody's."""
    mark = (live["metadata"].get("annotations") or {}).get(OWNER)
    if mark not in (None, f"{owner}/{resource}"):
        raise pulumi.RunError(
            f"{_said(live)} belongs to {mark} and is not taken over. Destroy that stack or give this one another "
            "namespace and name; if that resource was only renamed, give it an alias."
        )
    if mark is None and not recover:
        raise pulumi.RunError(
            f"{_said(live)} already exists and carries no mark of a stack. If nobody else uses it, delete it, or take "
            "it over with one `pulumi up` with llm-gateway:recover: true. If another tool installed it, see "
            "docs/from-gitops.md."
        )


def _record(api: DynamicClient, args: pulumi.ResourceHookArgs) -> None:
    live = args.new_outputs or {}
    if RECORDED not in (live["metadata"].get("annotations") or {}):
        _annotate(api, live, RECORDED, "true")


def admit_release(api: DynamicClient, args: pulumi.ResourceHookArgs, owner: str, recover: bool) -> str | None:
    """Delete Helm's records of an install that was interrupted, so that the next install adopts the objects.

    Returns a warning where there were any. Raises pulumi.RunError where the release may not be taken over.
    """
    inputs = args.new_inputs or {}
    records = _records(api, inputs)
    if not records:
        return None
    namespace = live_object(api, _namespace(inputs)) or _namespace(inputs)
    annotations = namespace["metadata"].get("annotations") or {}
    release = f"release {inputs['namespace']}/{inputs['name']}"
    mark = annotations.get(OWNER)
    if (mark or "").rpartition("/")[0] != owner and (mark or not recover):
        raise pulumi.RunError(
            f"{release} exists in a namespace that is not this stack's. Uninstall it, or choose another namespace. If an `up` of "
            "this stack was interrupted in a namespace of somebody else's, run it with llm-gateway:recover: true."
        )
    if annotations.get(_recorded(inputs)) == records[0]["metadata"]["uid"] and not recover:
        raise pulumi.RunError(
            f"{release} already exists, and this stack made it. {_lost(namespace, _recorded(inputs))}"
        )
    secrets = _kind(api, "v1", "Secret")
    for record in records:
        secrets.delete(name=record["metadata"]["name"], namespace=inputs["namespace"])
    status = records[-1]["metadata"]["labels"]["status"]
    return f"{release} was left {status} by an interrupted `up`: it is installed over its objects."


def _record_release(api: DynamicClient, args: pulumi.ResourceHookArgs) -> None:
    inputs = args.new_inputs or {}
    if records := _records(api, inputs):
        _annotate(api, _namespace(inputs), _recorded(inputs), records[0]["metadata"]["uid"])


def end_pending(api: DynamicClient, args: pulumi.ResourceHookArgs) -> str | None:
    """Set an interrupted revision to failed, as Helm itself would have left it: Helm upgrades from a failed one.

    Returns a warning where there was one.
    """
    inputs = args.new_inputs or {}
    newest = (_records(api, inputs) or [None])[-1]
    if newest is None or not newest["metadata"]["labels"]["status"].startswith("pending"):
        return None
    status = newest["metadata"]["labels"]["status"]
    packed = base64.b64decode(base64.b64decode(newest["data"]["release"]))
    revision = json.loads(gzip.decompress(packed))
    revision["info"] |= {"status": "failed", "description": f"interrupted while {status}"}
    packed = base64.b64encode(gzip.compress(json.dumps(revision).encode()))
    body = {
        "metadata": {"labels": {"status": "failed"}},
        "data": {"release": base64.b64encode(packed).decode()},
    }
    _kind(api, "v1", "Secret").patch(
        body=body,
        name=newest["metadata"]["name"],
        namespace=inputs["namespace"],
        content_type=_MERGE,
    )
    return f"release {inputs['namespace']}/{inputs['name']} was left {status} by an interrupted `up`: it is upgraded anew."


def _records(api: DynamicClient, release: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Helm's records of a release, a Secret per revision, oldest first."""
    secrets = _kind(api, "v1", "Secret")
    found = secrets.get(namespace=release["namespace"], label_selector=f"owner=helm,name={release['name']}")
    return sorted(found.to_dict()["items"], key=lambda record: int(record["metadata"]["labels"]["version"]))


def _recorded(release: Mapping[str, Any]) -> str:
    """Annotation of a namespace with the uid of the first record of a release whose create has ended."""
    return f"{RECORDED}-{release['name']}"


def _namespace(release: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release["namespace"]}}


def live_object(api: DynamicClient, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object of this kind, namespace and name as the cluster has it; None where there is none, or no such kind."""
    metadata = body["metadata"]
    try:
        kind = _kind(api, body["apiVersion"], body["kind"])
        return kind.get(name=metadata["name"], namespace=metadata.get("namespace")).to_dict()
    except (NotFoundError, ResourceNotFoundError):
        return None


def _annotate(api: DynamicClient, body: Mapping[str, Any], key: str, value: str) -> None:
    metadata = body["metadata"]
    kind = _kind(api, body["apiVersion"], body["kind"])
    kind.patch(
        body={"metadata": {"annotations": {key: value}}},
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        content_type=_MERGE,
    )


def _kind(api: DynamicClient, api_version: str, kind: str) -> Any:
    with _DISCOVERY:
        return api.resources.get(api_version=api_version, kind=kind)


def _said(live: Mapping[str, Any]) -> str:
    where = "/".join(part for part in (live["metadata"].get("namespace"), live["metadata"]["name"]) if part)
    return f"{live['kind']} {where}"


def _lost(live: Mapping[str, Any], annotation: str) -> str:
    metadata = live["metadata"]
    namespace = f" --namespace {metadata['namespace']}" if metadata.get("namespace") else ""
    group = live["apiVersion"].rpartition("/")[0]
    kind = live["kind"].lower() + (f".{group}" if group else "")
    return (
        "If its state was lost, run `pulumi up` with llm-gateway:recover: true. If this `up` is to replace it: it cannot be "
        "replaced under its own name. If it was deleted from the state of a stack that is otherwise complete: kubectl "
        f"annotate{namespace} {kind} {metadata['name']} {annotation}-"
    )
