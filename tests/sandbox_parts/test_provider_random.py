"""RandomBytes as pulumi-random makes, keeps, replaces and imports it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckRequest, CreateRequest, ReadRequest

from sandbox.errors import SandboxError
from sandbox.plugins.random import BYTES, ID, RandomProvider
from sandbox.plugins.server import DiffRequest
from sandbox.plugins.values import UNKNOWN, plain_map, property_map

URN = f"urn:pulumi:dev::p::{BYTES}::key"


def check(inputs: dict[str, Any], urn: str = URN) -> list[str]:
    request = CheckRequest(urn, {}, property_map(inputs), b"")
    answer = asyncio.run(RandomProvider().check(request))
    return [failure.property for failure in answer.failures or []]


def test_create_makes_secret_outputs_of_the_length_asked_for() -> None:
    request = CreateRequest(URN, property_map({"length": 24}), 0, preview=False)
    answer = asyncio.run(RandomProvider().create(request))
    values = plain_map(answer.properties)
    assert len(values["hex"]) == 48
    assert base64.b64decode(values["base64"]).hex() == values["hex"]
    assert answer.properties["hex"].is_secret
    assert answer.properties["base64"].is_secret
    assert answer.resource_id == ID


def test_preview_knows_no_value() -> None:
    request = CreateRequest(URN, property_map({"length": 24}), 0, preview=True)
    answer = asyncio.run(RandomProvider().create(request))
    assert plain_map(answer.properties)["hex"] is UNKNOWN


def diff(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    request = DiffRequest(URN, ID, property_map(old), property_map(new), [])
    request.old_inputs = property_map(old)
    return asyncio.run(RandomProvider().diff(request)).replaces


def test_a_changed_input_replaces_and_an_unchanged_one_does_not() -> None:
    assert diff({"length": 24}, {"length": 24}) == []
    assert diff({"length": 24}, {"length": 32}) == ["length"]
    assert diff({"length": 24, "keepers": {"g": "1"}}, {"length": 24, "keepers": {"g": "2"}}) == ["keepers.g"]


def test_refresh_keeps_the_state() -> None:
    state = {"hex": PropertyValue("aa", is_secret=True)}
    answer = asyncio.run(RandomProvider().read(ReadRequest(URN, ID, state, {"length": PropertyValue(1.0)})))
    assert answer.properties == state


def test_import_takes_the_base64_value_and_keeps_it_out_of_the_id() -> None:
    answer = asyncio.run(
        RandomProvider().read(ReadRequest(URN, base64.b64encode(b"\x01\xff").decode(), {}, {}))
    )
    assert plain_map(answer.properties) == {"length": 2, "base64": "Af8=", "hex": "01ff"}
    assert plain_map(answer.inputs) == {"length": 2}
    assert answer.resource_id == ID


def test_import_refuses_what_is_not_base64() -> None:
    with pytest.raises(SandboxError, match="base64"):
        asyncio.run(RandomProvider().read(ReadRequest(URN, "not base64!", {}, {})))


def test_bad_inputs_and_other_types_are_refused_by_name() -> None:
    assert check({"length": 0}) == ["length"]
    assert check({"length": 8, "keeper": {}}) == ["keeper"]
    assert check({"length": UNKNOWN}) == []
    with pytest.raises(SandboxError, match="RandomPet"):
        check({}, "urn:pulumi:dev::p::random:index/randomPet:RandomPet::x")
