"""The gcp provider plugin of the sandbox: always emulated, on the cloud store of this sandbox's home.

What it does not do: talk to Google, and any resource, lookup or provider setting but those listed here;
everything else is refused by name. Property names are those of the installed pulumi_gcp.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.google.gke_cluster import Cluster
from sandbox.google.gke_node_pool import NodePool
from sandbox.google.lookups import LOOKUPS
from sandbox.google.network import Firewall, Network, Router, RouterNat, Subnetwork
from sandbox.google.project import Account, AccountIAMMember, IAMMember, Service
from sandbox.google.resource import Json, Made, Resource, Settings
from sandbox.google.secret_manager import Secret, SecretIamMember, SecretVersion
from sandbox.google.storage import Bucket, BucketIAMMember
from sandbox.latency import pause
from sandbox.paths import Home
from sandbox.plugins.sdk import check_inputs, check_names, input_names
from sandbox.plugins.server import DiffRequest, InitFailed, serve
from sandbox.plugins.values import UNKNOWN, detailed_diff, has_unknown, plain_map, property_map, under

_PROVIDER = "pulumi:providers:gcp"
_RESOURCES: dict[str, type[Resource]] = {
    resource.kind: resource
    for resource in (
        Account,
        AccountIAMMember,
        Bucket,
        BucketIAMMember,
        Cluster,
        Firewall,
        IAMMember,
        Network,
        NodePool,
        Router,
        RouterNat,
        Secret,
        SecretIamMember,
        SecretVersion,
        Service,
        Subnetwork,
    )
}
_DEFAULT_TIMEOUT_SECONDS = 30 * 60.0
# Settings that mean something here, or whose absence changes nothing.
_SETTINGS = frozenset(
    {
        "addPulumiAttributionLabel",
        "batching",
        "billingProject",
        "defaultLabels",
        "deletionPolicy",
        "disableGooglePartnerName",
        "googlePartnerName",
        "pollInterval",
        "project",
        "pulumiAttributionLabelAdditionStrategy",
        "region",
        "requestReason",
        "requestTimeout",
        "scopes",
        "userProjectOverride",
        "version",
        "zone",
    }
)
_CREDENTIALS = frozenset(
    {
        "accessToken",
        "credentials",
        "externalCredentials",
        "impersonateServiceAccount",
        "impersonateServiceAccountDelegates",
    }
)
Values = Mapping[str, PropertyValue]


class Gcp(provider.Provider):
    """Checks names and references as the provider and the APIs do; keeps resources in the cloud store."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._settings = Settings()

    async def check_config(self, request: provider.CheckRequest) -> provider.CheckResponse:
        inputs = plain_map(request.new_inputs)
        failures = check_names(_PROVIDER, inputs, input_names("gcp", _PROVIDER) | {"version"})
        if given := sorted(_CREDENTIALS & set(inputs)):
            # Not a CheckFailure: the engine shows the value with it.
            raise SandboxError(
                f"the sandbox never talks to a real project and needs no credentials: leave {given} of the gcp "
                "provider out, here and in the environment."
            )
        known = input_names("gcp", _PROVIDER)
        failures += [
            provider.CheckFailure(name, f"the sandbox does not emulate the gcp provider's {name}.")
            for name in inputs
            if name in known and name not in _SETTINGS
        ]
        return provider.CheckResponse(inputs=request.new_inputs, failures=failures)

    async def diff_config(self, request: provider.DiffRequest) -> provider.DiffResponse:
        old, new = plain_map(request.old_state), plain_map(request.new_inputs)
        return provider.DiffResponse(detailed_diff=detailed_diff(old, new, lambda path: False))

    async def configure(self, request: provider.ConfigureRequest) -> provider.ConfigureResponse:
        self._settings = Settings.read(plain_map(request.args))
        return await super().configure(request)

    async def check(self, request: provider.CheckRequest) -> provider.CheckResponse:
        resource = self._resource(request.type)
        inputs = plain_map(request.new_inputs)
        failures = check_inputs("gcp", request.type, inputs)
        failures += [
            provider.CheckFailure(name, f"Missing required property '{name}'")
            for name in resource.required
            if name not in inputs
        ]
        checked = {key: value for key, value in request.new_inputs.items() if value.value is not None}
        if resource.auto_named and "name" not in inputs:
            inputs["name"] = _auto_name(request)
            checked |= property_map({"name": inputs["name"], "__defaults": ["name"]})
        if not failures:
            failures = list(resource.check(inputs))
        return provider.CheckResponse(inputs=checked, failures=failures)

    async def diff(self, request: provider.DiffRequest) -> provider.DiffResponse:
        resource = self._resource(request.type)
        old_inputs = cast(DiffRequest, request).old_inputs
        new_inputs = plain_map(request.new_inputs)
        old, new = resource.normal(plain_map(old_inputs)), resource.normal(new_inputs)
        differences = {
            path: found
            for path, found in detailed_diff(old, new, under(*resource.force_new)).items()
            if not path.startswith("__defaults")
            and not (path in resource.computed_inputs and found.kind.name.startswith("DELETE"))
        }
        replaces = [path for path, found in differences.items() if found.kind.name.endswith("REPLACE")]
        return provider.DiffResponse(
            detailed_diff=differences,
            replaces=replaces,
            diffs=list(differences),
            delete_before_replace=bool(replaces)
            and resource.auto_named
            and "name" not in new_inputs.get("__defaults", []),
        )

    async def create(self, request: provider.CreateRequest) -> provider.CreateResponse:
        resource = self._resource(request.type)
        inputs = _without_marks(request.properties)
        if request.preview:
            state = {**resource.normal(inputs), **dict.fromkeys(resource.outputs, UNKNOWN)}
            return provider.CreateResponse("", _outputs(resource, state, request.properties))
        await self._pause(resource, inputs)
        made = await asyncio.to_thread(resource.create, inputs, request.timeout or _DEFAULT_TIMEOUT_SECONDS)
        return provider.CreateResponse(made.id, _finished(resource, made, request.properties))

    async def read(self, request: provider.ReadRequest) -> provider.ReadResponse:
        resource = self._resource(request.type)
        old = _without_marks(request.inputs)
        made = await asyncio.to_thread(resource.read, request.resource_id, old)
        if made is None:
            return provider.ReadResponse(resource_id="")
        inputs = _refreshed(resource, made.state, old) if old else _imported(resource, made.state)
        if "__defaults" in request.inputs:
            inputs["__defaults"] = ["name"]
        return provider.ReadResponse(
            made.id,
            _outputs(resource, made.state, request.properties, request.inputs),
            _outputs(resource, inputs, request.inputs),
        )

    async def update(self, request: provider.UpdateRequest) -> provider.UpdateResponse:
        resource = self._resource(request.type)
        inputs, state = _without_marks(request.news), plain_map(request.olds)
        if request.preview:
            return provider.UpdateResponse(
                _outputs(resource, {**state, **resource.normal(inputs)}, request.news, request.olds)
            )
        await self._pause(resource, inputs)
        timeout = request.timeout or _DEFAULT_TIMEOUT_SECONDS
        made = await asyncio.to_thread(resource.update, request.resource_id, state, inputs, timeout)
        return provider.UpdateResponse(_finished(resource, made, request.news))

    async def delete(self, request: provider.DeleteRequest) -> None:
        resource = self._resource(request.type)
        await asyncio.to_thread(resource.delete, request.resource_id, plain_map(request.properties))

    async def invoke(self, request: provider.InvokeRequest) -> provider.InvokeResponse:
        lookup = LOOKUPS.get(request.tok)
        if lookup is None:
            raise SandboxError(f"the sandbox does not emulate {request.tok}.")
        args = plain_map(request.args)
        failures = check_names(request.tok, args, input_names("gcp", request.tok))
        if failures:
            return provider.InvokeResponse(failures=failures)
        if has_unknown(args):
            raise SandboxError(f"{request.tok} was called with an argument that is not known yet.")
        found = await asyncio.to_thread(lookup, self._cloud, self._settings, args)
        return provider.InvokeResponse(property_map(found))

    def _resource(self, token: str) -> Resource:
        if token not in _RESOURCES:
            raise SandboxError(f"the sandbox does not emulate {token}.")
        return _RESOURCES[token](self._cloud, self._settings)

    async def _pause(self, resource: Resource, inputs: Json) -> None:
        kind = resource.latency(inputs)
        if kind:
            await pause(kind)


def _without_marks(values: Values) -> Json:
    return {key: value for key, value in plain_map(values).items() if not key.startswith("__")}


def _auto_name(request: provider.CheckRequest) -> str:
    old = plain_map(request.old_inputs)
    if "name" in old.get("__defaults", []):
        return old["name"]
    suffix = request.random_seed.hex()[:7] if request.random_seed else secrets.token_hex(4)[:7]
    return f"{request.name}-{suffix}"


def _refreshed(resource: Resource, state: Json, old: Json) -> Json:
    """The old inputs with the values that are in force now, and any default that no longer is."""
    found = {key: _within(state[key], value) for key, value in old.items() if key in state}
    found |= {key: state[key] for key, value in resource.defaults.items() if state[key] != value}
    before, after = resource.normal(old), resource.normal(found)
    return {
        key: old[key] if key in old and before[key] == after[key] else value for key, value in found.items()
    }


def _imported(resource: Resource, state: Json) -> Json:
    """All inputs that a program would have to give for this state."""
    return {
        key: value
        for key, value in state.items()
        if key in input_names("gcp", resource.kind) and value not in (resource.defaults.get(key), "", {}, [])
    }


def _within(found: Any, old: Any) -> Any:
    """What was found, without the parts of nested objects that nobody configured."""
    if isinstance(found, dict) and isinstance(old, dict):
        return {key: _within(value, old[key]) for key, value in found.items() if key in old}
    return found


def _outputs(resource: Resource, state: Json, *like: Values) -> dict[str, PropertyValue]:
    return {
        key: value.with_secret(True) if key in resource.secret_outputs else value
        for key, value in property_map(state, *like).items()
    }


def _finished(resource: Resource, made: Made, *like: Values) -> dict[str, PropertyValue]:
    outputs = _outputs(resource, made.state, *like)
    if made.problem:
        raise InitFailed(made.id, outputs, [made.problem])
    return outputs


if __name__ == "__main__":
    serve(Gcp(Cloud(Home.from_env().cloud)), version("pulumi_gcp"))
