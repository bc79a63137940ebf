"""Stands in for pulumi-random 4.21 where that is not installed.

Emulates RandomBytes (create, replace on any changed input, refresh, import by base64 value) and refuses every
other type by name. Kinder in one thing: the real provider's id of a RandomBytes is its base64 value, which a
state holds in plain text; here the id says nothing of it.
"""

from __future__ import annotations

import base64
import importlib.metadata
import secrets
from typing import Any

from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue

from sandbox.errors import SandboxError
from sandbox.plugins.sdk import check_inputs
from sandbox.plugins.server import DiffRequest, serve
from sandbox.plugins.values import UNKNOWN, detailed_diff, plain_map, property_map

BYTES = "random:index/randomBytes:RandomBytes"
ID = "none"


def outputs(value: bytes | None) -> dict[str, PropertyValue]:
    """What RandomBytes puts out, both secret; None is a value that a preview cannot know."""
    texts: dict[str, Any] = {"base64": UNKNOWN, "hex": UNKNOWN}
    if value is not None:
        texts = {"base64": base64.b64encode(value).decode(), "hex": value.hex()}
    return {name: text.with_secret(True) for name, text in property_map(texts).items()}


class RandomProvider(provider.Provider):
    """RandomBytes."""

    async def check(self, request: provider.CheckRequest) -> provider.CheckResponse:
        if request.type != BYTES:
            raise SandboxError(
                f"{request.type} is not emulated in the sandbox; it knows {BYTES} (hex or base64)."
            )
        inputs = plain_map(request.new_inputs)
        failures = check_inputs("random", BYTES, inputs)
        length = inputs.get("length")
        if length is not UNKNOWN and not (isinstance(length, int) and length >= 1):
            failures.append(
                provider.CheckFailure(
                    "length", f"length is {length!r}; give a number of bytes of at least 1."
                )
            )
        return provider.CheckResponse(request.new_inputs, failures)

    async def diff(self, request: DiffRequest) -> provider.DiffResponse:  # type: ignore[override]
        changes = detailed_diff(
            plain_map(request.old_inputs), plain_map(request.new_inputs), lambda path: True
        )
        return provider.DiffResponse(bool(changes), replaces=list(changes), detailed_diff=changes)

    async def create(self, request: provider.CreateRequest) -> provider.CreateResponse:
        if request.preview:
            return provider.CreateResponse("", {**request.properties, **outputs(None)})
        value = secrets.token_bytes(plain_map(request.properties)["length"])
        return provider.CreateResponse(ID, {**request.properties, **outputs(value)})

    async def read(self, request: provider.ReadRequest) -> provider.ReadResponse:
        if request.properties:
            return provider.ReadResponse(request.resource_id, request.properties, request.inputs)
        try:
            value = base64.b64decode(request.resource_id, validate=True)
        except ValueError as error:
            raise SandboxError(
                f"import id of {request.name}: {error}; RandomBytes is imported by its base64 value."
            ) from error
        inputs = property_map({"length": len(value)})
        return provider.ReadResponse(ID, {**inputs, **outputs(value)}, inputs)

    async def delete(self, request: provider.DeleteRequest) -> None:
        return None


if __name__ == "__main__":
    serve(RandomProvider(), importlib.metadata.version("pulumi-random"))
