"""Stands in for pulumi-random 4.21 where that is not installed.

Emulates RandomPassword and RandomBytes (create, replace on any changed input, refresh, import by value) and refuses
every other type by name. As the real one: a RandomPassword's id is "none", a RandomBytes' id is its base64 value,
which nothing encrypts. A RandomPassword's bcryptHash has the form of a hash and is none of its result.
"""

from __future__ import annotations

import base64
import importlib.metadata
import secrets
import string
from collections.abc import Mapping
from typing import Any

from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue

from sandbox.errors import SandboxError
from sandbox.plugins.sdk import check_inputs, input_names
from sandbox.plugins.server import DiffRequest, serve
from sandbox.plugins.values import UNKNOWN, detailed_diff, plain_map, property_map

BYTES = "random:index/randomBytes:RandomBytes"
PASSWORD = "random:index/randomPassword:RandomPassword"
_SECRET = {BYTES: ("base64", "hex"), PASSWORD: ("result", "bcryptHash")}
_CLASSES = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "numeric": string.digits,
    "special": "!@#$%&*()-_=+[]{}<>:?",
}
_MINIMUM = {name: f"min{name.title()}" for name in _CLASSES}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    BYTES: {},
    PASSWORD: {**dict.fromkeys(_CLASSES, True), **dict.fromkeys(_MINIMUM.values(), 0)},
}


def _settings(token: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs among some properties, with the provider's defaults for the others."""
    inputs = {name: value for name, value in given.items() if name in input_names("random", token)}
    if "number" in inputs:  # the former name of numeric
        inputs.setdefault("numeric", inputs["number"])
    settings = {**_DEFAULTS[token], **inputs}
    return settings | ({"number": settings["numeric"]} if token == PASSWORD else {})


def _state(settings: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, PropertyValue]:
    made = {name: text.with_secret(True) for name, text in property_map(value).items()}
    return {**property_map(settings), **made}


def _of_bytes(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode(), "hex": value.hex()}


def _of_password(value: str) -> dict[str, str]:
    letters = f"./{string.ascii_letters}{string.digits}"
    return {"result": value, "bcryptHash": "$2a$10$" + "".join(secrets.choice(letters) for _ in range(53))}


def _password(settings: Mapping[str, Any]) -> str:
    classes = _CLASSES | {"special": settings.get("overrideSpecial") or _CLASSES["special"]}
    drawn = [secrets.choice(classes[name]) for name in classes for _ in range(settings[_MINIMUM[name]])]
    alphabet = "".join(letters for name, letters in classes.items() if settings[name])
    drawn += [secrets.choice(alphabet) for _ in range(settings["length"] - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)


class RandomProvider(provider.Provider):
    """RandomPassword and RandomBytes."""

    async def check(self, request: provider.CheckRequest) -> provider.CheckResponse:
        if request.type not in _SECRET:
            raise SandboxError(
                f"{request.type} is not emulated in the sandbox; it knows {PASSWORD} and {BYTES}."
            )
        inputs = plain_map(request.new_inputs)
        failures = check_inputs("random", request.type, inputs)
        settings = _settings(request.type, inputs)
        length, least = settings.get("length"), 1
        if request.type == PASSWORD:
            least = max(1, sum(each for name in _MINIMUM.values() if (each := settings[name]) is not UNKNOWN))
            if not any(settings[name] for name in _CLASSES):
                failures.append(
                    provider.CheckFailure("special", f"one of {', '.join(_CLASSES)} is to be true.")
                )
        if length is not UNKNOWN and not (isinstance(length, int) and length >= least):
            failures.append(
                provider.CheckFailure("length", f"length is {length!r}; give a number of at least {least}.")
            )
        return provider.CheckResponse(request.new_inputs, failures)

    async def diff(self, request: DiffRequest) -> provider.DiffResponse:  # type: ignore[override]
        old, new = (
            _settings(request.type, plain_map(values)) for values in (request.old_state, request.new_inputs)
        )
        changes = detailed_diff(old, new, lambda path: True)
        return provider.DiffResponse(bool(changes), replaces=list(changes), detailed_diff=changes)

    async def create(self, request: provider.CreateRequest) -> provider.CreateResponse:
        settings = _settings(request.type, plain_map(request.properties))
        if request.preview:
            unknown = dict.fromkeys(_SECRET[request.type], UNKNOWN)
            return provider.CreateResponse("", _state(settings, unknown))
        if request.type == BYTES:
            made = _of_bytes(secrets.token_bytes(settings["length"]))
            return provider.CreateResponse(made["base64"], _state(settings, made))
        return provider.CreateResponse("none", _state(settings, _of_password(_password(settings))))

    async def read(self, request: provider.ReadRequest) -> provider.ReadResponse:
        if request.properties:
            return provider.ReadResponse(request.resource_id, request.properties, request.inputs)
        if request.type == PASSWORD:
            inputs = {"length": len(request.resource_id)}
            made, resource_id = _of_password(request.resource_id), "none"
        else:
            try:
                value = base64.b64decode(request.resource_id, validate=True)
            except ValueError as error:
                raise SandboxError(
                    f"import id of {request.name}: {error}; RandomBytes is imported by its base64 value."
                ) from error
            inputs, made, resource_id = {"length": len(value)}, _of_bytes(value), request.resource_id
        state = _state(_settings(request.type, inputs), made)
        return provider.ReadResponse(resource_id, state, property_map(inputs))

    async def delete(self, request: provider.DeleteRequest) -> None:
        return None


if __name__ == "__main__":
    serve(RandomProvider(), importlib.metadata.version("pulumi-random"))
