"""Stands in for pulumi-kubernetes 4.34 where that is not installed; talks to a loopback cluster only.

Any kind is made by POST, or by server-side apply with upsertExistingObjects, and changed by server-side apply, all
with strict field validation. The first real update, and no preview, gives that apply the fields of the POST.
helm.sh/v3 Release goes through the helm binary on PATH. Unlike the real provider it:
- compares inputs with inputs, and on refresh asks the server whether the old inputs would change anything;
- fails on unknown fields of custom resources, where the real one warns;
- keeps managedFields out of the state;
- does not drop ignored fields that another manager owns from an apply.
Refused by name: Patch and List kinds, generateName, helm.sh/v4, kustomize, yaml, every invoke, and every setting
of the provider but those of CONFIGURATION. Waits: see awaits.py.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import importlib.metadata
import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue

from sandbox.cluster.client import ApiError, Unreachable
from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes import objects, release
from sandbox.plugins.kubernetes.awaits import SKIP_AWAIT, annotation, timeout_seconds
from sandbox.plugins.kubernetes.cluster import Cluster, NoMatch, active_cluster
from sandbox.plugins.kubernetes.replacement import replaces
from sandbox.plugins.sdk import check_inputs, check_names, input_names
from sandbox.plugins.server import DiffRequest, InitFailed, serve, warn
from sandbox.plugins.values import UNKNOWN, detailed_diff, has_unknown, plain_map, property_map

RELEASE = "kubernetes:helm.sh/v3:Release"
PROVIDER = "pulumi:providers:kubernetes"
CONFIGURATION = frozenset({"clusterIdentifier", "enablePatchForce", "kubeconfig", "upsertExistingObjects"})
# Of these kinds pulumi.com/skipAwait skips the wait for deletion, too.
SKIPS_DELETION = frozenset({"DaemonSet", "Deployment", "Job", "Namespace", "Pod", "StatefulSet"})
_ENGINE_KEYS = frozenset({"version", "pluginDownloadURL"})
_NOT_EMULATED = ("kubernetes:helm.sh/v4", "kubernetes:kustomize", "kubernetes:yaml")
_NO_CRD = "reported that the apiVersion for this resource does not exist. Verify that any required CRDs have been created"
AUTONAMED = "pulumi.com/autonamed"
INPUTS = "__inputs"


class KubernetesProvider(provider.Provider):
    """Objects of one cluster."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._namespace = "default"
        self._on: frozenset[str] = frozenset()
        self._cancelled = threading.Event()

    async def check_config(self, request: provider.CheckRequest) -> provider.CheckResponse:
        config = {k: v for k, v in plain_map(request.new_inputs).items() if k not in _ENGINE_KEYS}
        failures = check_names("The kubernetes provider", config, input_names("kubernetes", PROVIDER))
        if not failures:
            failures = [
                provider.CheckFailure(
                    key, f'the sandbox does not emulate the kubernetes provider\'s "{key}"; leave it out.'
                )
                for key in sorted(config.keys() - CONFIGURATION)
            ]
        kubeconfig = _kubeconfig(config)
        if kubeconfig is None:
            reason = (
                "no kubeconfig: neither the setting nor KUBECONFIG names a file, so nothing could be reached."
            )
            failures.append(provider.CheckFailure("kubeconfig", reason))
        elif kubeconfig is not UNKNOWN:
            try:
                active_cluster(kubeconfig)
            except SandboxError as error:
                failures.append(provider.CheckFailure("kubeconfig", str(error)))
        return provider.CheckResponse(request.new_inputs, failures)

    async def diff_config(self, request: DiffRequest) -> provider.DiffResponse:  # type: ignore[override]
        old, new = plain_map(request.old_inputs), plain_map(request.new_inputs)
        before, after = old.get("clusterIdentifier"), new.get("clusterIdentifier")
        moved = "clusterIdentifier" if before and after else "kubeconfig"
        replace = before != after if before and after else _cluster_entry(old) != _cluster_entry(new)
        changes = detailed_diff(old, new, lambda path: replace and path[0] == moved)
        return provider.DiffResponse(
            bool(changes), replaces=[moved] if replace else [], detailed_diff=changes
        )

    async def configure(self, request: provider.ConfigureRequest) -> provider.ConfigureResponse:
        config = plain_map(request.args)
        kubeconfig = _kubeconfig(config)
        if kubeconfig is not None and kubeconfig is not UNKNOWN:
            self._cluster = Cluster(kubeconfig)
            self._namespace = self._cluster.namespace
        self._on = frozenset(key for key, value in config.items() if value in ("true", True))
        return provider.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def cancel(self) -> None:
        self._cancelled.set()

    async def check(self, request: provider.CheckRequest) -> provider.CheckResponse:
        _emulated(request.type)
        return await asyncio.to_thread(self._check, request)

    async def diff(self, request: DiffRequest) -> provider.DiffResponse:  # type: ignore[override]
        old, new = plain_map(request.old_inputs), plain_map(request.new_inputs)
        if request.type == RELEASE:
            return release.diff(old, new)
        changes = detailed_diff(_namespaced(old), _namespaced(new), replaces(new))
        replacing = [path for path, change in changes.items() if "REPLACE" in change.kind.name]
        before, after = _metadata(old), _metadata(new)
        same_place = before.get("name") == after.get("name") and _place(old) == _place(new)
        autonamed = (after.get("annotations") or {}).get(AUTONAMED) == "true"
        return provider.DiffResponse(
            bool(changes),
            replaces=replacing,
            delete_before_replace=bool(replacing) and same_place and not autonamed,
            detailed_diff=changes,
        )

    async def create(self, request: provider.CreateRequest) -> provider.CreateResponse:
        return await asyncio.to_thread(self._create, request)

    async def update(self, request: provider.UpdateRequest) -> provider.UpdateResponse:
        return await asyncio.to_thread(self._update, request)

    async def read(self, request: provider.ReadRequest) -> provider.ReadResponse:
        return await asyncio.to_thread(self._read, request)

    async def delete(self, request: provider.DeleteRequest) -> None:
        await asyncio.to_thread(self._delete, request)

    @property
    def _connected(self) -> Cluster:
        if self._cluster is None:
            raise SandboxError("the kubernetes provider has no kubeconfig yet.")
        return self._cluster

    def _check(self, request: provider.CheckRequest) -> provider.CheckResponse:
        old, new = plain_map(request.old_inputs), plain_map(request.new_inputs)
        if request.type == RELEASE:
            checked, failures = release.check(
                request.type, request.name, request.random_seed, old, new, self._namespace
            )
            return provider.CheckResponse(property_map(checked, request.new_inputs), failures)
        try:
            failures = check_inputs("kubernetes", request.type, new)
        except LookupError:
            failures = []
        api_version, kind = objects.kind_of(request.type)
        body = {"apiVersion": api_version, "kind": kind, **copy.deepcopy(new)}
        metadata: Any = body.setdefault("metadata", {})
        if metadata is UNKNOWN:
            return provider.CheckResponse(property_map(body, request.new_inputs), failures)
        if "generateName" in metadata:
            failures.append(
                provider.CheckFailure(
                    "metadata.generateName", "not supported with server-side apply; use metadata.name."
                )
            )
        if "name" not in metadata:
            _autoname(metadata, request, old)
        if "namespace" not in metadata and self._is_namespaced(body["apiVersion"], body["kind"]):
            metadata["namespace"] = self._namespace
        return provider.CheckResponse(property_map(body, request.new_inputs), failures)

    def _is_namespaced(self, api_version: str, kind: str) -> bool:
        if self._cluster is None:
            return True
        try:
            return self._cluster.resource(api_version, kind).namespaced
        except (NoMatch, Unreachable):
            # Probably a custom resource whose definition is still to come.
            return True

    def _create(self, request: provider.CreateRequest) -> provider.CreateResponse:
        inputs = plain_map(request.properties)
        if request.preview:
            with _worded(lambda error: _not_created(request.urn, inputs, error)):
                return provider.CreateResponse(
                    "", self._preview(request.type, request.properties, inputs, None)
                )
        if request.type == RELEASE:
            identifier = release.identifier(inputs)
            live, problem = release.install(self._connected, inputs, self._cancelled)
            if problem:
                warn(request.urn, release.warning(inputs, problem))
                problem = release.failure(inputs, problem, "was created, but ")
        else:
            manager = objects.manager(inputs, {}, request.urn)
            with _worded(lambda error: _not_created(request.urn, inputs, error)):
                live, problem = objects.create(
                    self._connected,
                    inputs,
                    manager,
                    timeout_seconds(inputs, request.timeout),
                    upsert="upsertExistingObjects" in self._on,
                    force="enablePatchForce" in self._on,
                    cancelled=self._cancelled,
                )
            identifier = objects.identifier(live)
            problem = problem and (
                f'resource "{request.urn}" was successfully created, but the Kubernetes API server '
                f"reported that it failed to fully initialize or become live: {problem}"
            )
        properties = self._outputs(request.type, live, inputs, request.properties)
        if problem:
            raise InitFailed(identifier, properties, [problem])
        return provider.CreateResponse(identifier, properties)

    def _update(self, request: provider.UpdateRequest) -> provider.UpdateResponse:
        inputs, state = plain_map(request.news), plain_map(request.olds)
        if request.preview:
            with _worded(lambda error: _not_updated(request.urn, request.resource_id, error)):
                return provider.UpdateResponse(self._preview(request.type, request.news, inputs, state))
        if request.type == RELEASE:
            live, problem = release.upgrade(self._connected, inputs, self._cancelled)
            if problem:
                problem = release.failure(inputs, problem, "")
        else:
            with _worded(lambda error: _not_updated(request.urn, request.resource_id, error)):
                live, problem = objects.update(
                    self._connected,
                    inputs,
                    objects.manager(inputs, state, request.urn),
                    timeout_seconds(inputs, request.timeout),
                    force="enablePatchForce" in self._on,
                    cancelled=self._cancelled,
                )
            problem = problem and (
                f'the Kubernetes API server reported that "{request.resource_id}" failed to fully initialize '
                f"or become live: {problem}"
            )
        properties = self._outputs(request.type, live, inputs, request.news)
        if problem:
            raise InitFailed(request.resource_id, properties, [problem])
        return provider.UpdateResponse(properties)

    def _preview(
        self,
        token: str,
        given: Mapping[str, PropertyValue],
        inputs: dict[str, Any],
        state: dict[str, Any] | None,
    ) -> dict[str, PropertyValue]:
        if token == RELEASE:
            return {**given, **property_map({"status": UNKNOWN, "resourceNames": UNKNOWN})}
        if self._cluster is None or has_unknown(inputs):
            return dict(given)
        manager = objects.manager(inputs, state or {}, token)
        would_be = objects.dry_run(
            self._cluster, inputs, manager, new=state is None, force="enablePatchForce" in self._on
        )
        return dict(given) if would_be is None else self._outputs(token, would_be, inputs, given)

    def _read(self, request: provider.ReadRequest) -> provider.ReadResponse:
        inputs, state = plain_map(request.inputs), plain_map(request.properties)
        if request.type == RELEASE:
            found = release.read(self._connected, request.resource_id, inputs)
        else:
            kind = objects.kind_of(request.type)
            found = objects.read(self._connected, kind, request.resource_id, inputs, state)
        if found is None:
            return provider.ReadResponse("")
        live, live_inputs, problem = found
        properties = self._outputs(request.type, live, live_inputs, request.properties, request.inputs)
        new_inputs = property_map(live_inputs, request.inputs)
        if problem:
            raise InitFailed(request.resource_id, properties, [problem], new_inputs)
        return provider.ReadResponse(request.resource_id, properties, new_inputs)

    def _delete(self, request: provider.DeleteRequest) -> None:
        state = plain_map(request.properties)
        if request.type == RELEASE:
            release.uninstall(self._connected, state, self._cancelled)
            return
        skip = annotation(state, SKIP_AWAIT) == "true" and state["kind"] in SKIPS_DELETION
        timeout = 0.0 if skip else timeout_seconds(state, request.timeout)
        objects.delete(self._connected, state, timeout, self._cancelled)

    def _outputs(
        self, token: str, live: dict[str, Any], inputs: dict[str, Any], *like: Mapping[str, PropertyValue]
    ) -> dict[str, PropertyValue]:
        """What the state keeps. The real provider compares a program's inputs with those in `__inputs`.

        It keeps a Release's as a secret, and ends with a panic where they are none.
        """
        properties, given = property_map(live, *like), property_map(inputs, *like)
        if (live.get("apiVersion"), live.get("kind")) == ("v1", "Secret"):
            for shown in (properties, given):
                for key in shown.keys() & {"data", "stringData"}:
                    shown[key] = shown[key].with_secret(True)
        return {**properties, INPUTS: PropertyValue(given, is_secret=token == RELEASE)}


@contextmanager
def _worded(words: Callable[[SandboxError], str]) -> Generator[None]:
    """Have what the API server refuses while the block runs said in other words."""
    try:
        yield
    except (ApiError, NoMatch, Unreachable) as error:
        raise SandboxError(words(error)) from error


def _not_created(urn: str, inputs: Mapping[str, Any], error: SandboxError) -> str:
    """The real provider's words for an object that the API server did not take."""
    if isinstance(error, NoMatch):
        return (
            f'creation of resource "{urn}" with kind {inputs["apiVersion"]}/{inputs["kind"]} failed because the Kubernetes '
            f"API server {_NO_CRD}: {error}"
        )
    return f'resource "{urn}" was not successfully created by the Kubernetes API server: {error}'


def _not_updated(urn: str, identifier: str, error: SandboxError) -> str:
    """The real provider's words for a change that the API server did not take."""
    if isinstance(error, NoMatch):
        return f'update of resource "{urn}" failed because the Kubernetes API server {_NO_CRD}: {error}'
    if not isinstance(error, ApiError) or error.status == 404:
        return f'update of resource "{urn}" failed: {error}\nunable to get cluster state: {error}'
    return f'the Kubernetes API server reported that "{identifier}" failed to fully initialize or become live: {error}'


def _emulated(token: str) -> None:
    kind = token.rpartition(":")[2]
    if token.startswith(_NOT_EMULATED) or (kind.endswith(("Patch", "List")) and token != RELEASE):
        raise SandboxError(
            f"{token} is not emulated in the sandbox; see the head of sandbox/plugins/kubernetes/provider.py."
        )


def _autoname(metadata: dict[str, Any], request: provider.CheckRequest, old: dict[str, Any]) -> None:
    earlier: dict[str, Any] = old.get("metadata", {})
    if (earlier.get("annotations") or {}).get(AUTONAMED) == "true":
        metadata["name"] = earlier["name"]
    else:
        metadata["name"] = f"{request.name}-{hashlib.sha256(request.random_seed).hexdigest()[:8]}"
    metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}


def _kubeconfig(config: Mapping[str, Any]) -> Any:
    """The setting, or the text of the file that KUBECONFIG names; UNKNOWN in a preview, None where there is none."""
    if (given := config.get("kubeconfig")) is not None:
        return given
    file = Path(os.environ.get("KUBECONFIG", ""))
    return file.read_text() if file.is_file() else None


def _cluster_entry(config: dict[str, Any]) -> Any:
    kubeconfig = config.get("kubeconfig")
    if kubeconfig is None or kubeconfig is UNKNOWN:
        return kubeconfig
    return active_cluster(kubeconfig)[1]["cluster"]


def _metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _place(body: Mapping[str, Any]) -> str:
    return _metadata(body).get("namespace") or "default"


def _namespaced(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("metadata") is UNKNOWN:
        return body
    return {**body, "metadata": {**_metadata(body), "namespace": _place(body)}}


if __name__ == "__main__":
    serve(KubernetesProvider(), importlib.metadata.version("pulumi-kubernetes"))
