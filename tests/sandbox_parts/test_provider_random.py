"""RandomPassword and RandomBytes as pulumi-random makes, keeps, replaces and imports them."""

from __future__ import annotations

import asyncio
import base64
import string
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckRequest, CreateRequest, CreateResponse, ReadRequest

from sandbox.errors import SandboxError
from sandbox.plugins.random import BYTES, PASSWORD, RandomProvider
from sandbox.plugins.server import DiffRequest
from sandbox.plugins.values import UNKNOWN, plain_map, property_map

URN = f"urn:pulumi:dev::p::{PASSWORD}::key"
BYTES_URN = f"urn:pulumi:dev::p::{BYTES}::key"


def check(inputs: dict[str, Any], urn: str = URN) -> list[str]:
    request = CheckRequest(urn, {}, property_map(inputs), b"")
    answer = asyncio.run(RandomProvider().check(request))
    return [failure.property for failure in answer.failures or []]


def create(inputs: dict[str, Any], urn: str = URN, *, preview: bool = False) -> CreateResponse:
    request = CreateRequest(urn, property_map(inputs), 0, preview=preview)
    return asyncio.run(RandomProvider().create(request))


def secret(properties: dict[str, PropertyValue]) -> set[str]:
    return {name for name, value in properties.items() if value.is_secret}


def test_a_password_is_secret_and_its_id_says_nothing() -> None:
    answer = create({"length": 33, "special": False, "keepers": {"generation": "1"}})
    values = plain_map(answer.properties)
    assert len(values["result"]) == 33
    assert set(values["result"]) <= set(string.ascii_letters + string.digits)
    assert values["result"] != plain_map(create({"length": 33, "special": False}).properties)["result"]
    assert secret(answer.properties) == {"result", "bcryptHash"}
    assert answer.resource_id == "none"
    assert len(values["bcryptHash"]) == 60
    del values["result"], values["bcryptHash"]
    assert values == {
        **dict.fromkeys(("lower", "upper", "numeric", "number"), True),
        **dict.fromkeys(("minLower", "minUpper", "minNumeric", "minSpecial"), 0),
        "special": False,
        "length": 33,
        "keepers": {"generation": "1"},
    }


def test_a_password_has_the_characters_asked_for() -> None:
    def result(**inputs: Any) -> str:
        return plain_map(create(inputs).properties)["result"]

    assert set(result(length=200, lower=False, upper=False, numeric=False)) <= set("!@#$%&*()-_=+[]{}<>:?")
    assert set(result(length=200, lower=False, upper=False, number=False, overrideSpecial="_.")) == {"_", "."}
    assert result(length=4, minNumeric=4).isdigit()
    assert sorted(result(length=2, minUpper=1, minSpecial=1, overrideSpecial="!"))[0] == "!"


def test_random_bytes_are_secret_and_their_id_is_their_value() -> None:
    answer = create({"length": 24}, BYTES_URN)
    values = plain_map(answer.properties)
    assert len(values["hex"]) == 48
    assert base64.b64decode(values["base64"]).hex() == values["hex"]
    assert secret(answer.properties) == {"hex", "base64"}
    assert answer.resource_id == values["base64"]


@pytest.mark.parametrize(
    ("urn", "unknown"), [(URN, {"result", "bcryptHash"}), (BYTES_URN, {"hex", "base64"})]
)
def test_preview_knows_no_value(urn: str, unknown: set[str]) -> None:
    answer = create({"length": 24}, urn, preview=True)
    assert {name for name, value in plain_map(answer.properties).items() if value is UNKNOWN} == unknown
    assert answer.resource_id == ""


def diff(old: dict[str, PropertyValue], new: dict[str, Any], urn: str = URN) -> list[str]:
    request = DiffRequest(urn, "none", old, property_map(new), [])
    return asyncio.run(RandomProvider().diff(request)).replaces


@pytest.mark.parametrize("urn", [URN, BYTES_URN])
def test_a_changed_input_replaces_and_an_unchanged_one_does_not(urn: str) -> None:
    inputs = {"length": 24, "keepers": {"g": "1"}}
    made = create(inputs, urn).properties
    assert diff(made, inputs, urn) == []
    assert diff(made, {**inputs, "length": 32}, urn) == ["length"]
    assert diff(made, {**inputs, "keepers": {"g": "2"}}, urn) == ["keepers.g"]
    assert diff(made, {"length": 24}, urn) == ["keepers"]


def test_a_default_that_is_written_down_replaces_nothing() -> None:
    made = create({"length": 24}).properties
    assert diff(made, {"length": 24, "special": True, "minLower": 0}) == []
    assert diff(made, {"length": 24, "special": False}) == ["special"]


def test_refresh_keeps_the_state() -> None:
    state = create({"length": 24}).properties
    answer = asyncio.run(
        RandomProvider().read(ReadRequest(URN, "none", state, {"length": PropertyValue(24.0)}))
    )
    assert answer.properties == state


def imported(urn: str, value: str) -> tuple[str, dict[str, PropertyValue], dict[str, Any]]:
    answer = asyncio.run(RandomProvider().read(ReadRequest(urn, value, {}, {})))
    assert answer.resource_id is not None
    return answer.resource_id, dict(answer.properties or {}), plain_map(answer.inputs or {})


def test_a_password_is_imported_by_its_value_with_special_characters() -> None:
    resource_id, properties, inputs = imported(URN, "hunter2")
    assert resource_id == "none"
    assert plain_map(properties)["result"] == "hunter2"
    assert secret(properties) == {"result", "bcryptHash"}
    assert inputs == {"length": 7}
    # So a program that has none makes another one.
    assert diff(properties, {"length": 7, "special": False}) == ["special"]


def test_bytes_are_imported_by_their_base64_value() -> None:
    resource_id, properties, inputs = imported(BYTES_URN, base64.b64encode(b"\x01\xff").decode())
    assert resource_id == "Af8="
    assert plain_map(properties) == {"length": 2, "base64": "Af8=", "hex": "01ff"}
    assert secret(properties) == {"hex", "base64"}
    assert inputs == {"length": 2}
    with pytest.raises(SandboxError, match="base64"):
        imported(BYTES_URN, "not base64!")


def test_bad_inputs_and_other_types_are_refused_by_name() -> None:
    for urn in (URN, BYTES_URN):
        assert check({"length": 0}, urn) == ["length"]
        assert check({"length": 8, "keeper": {}}, urn) == ["keeper"]
        assert check({"length": UNKNOWN}, urn) == []
    assert check({"length": 3, "minLower": 2, "minUpper": 2}) == ["length"]
    assert check({"length": 3, **dict.fromkeys(("lower", "upper", "numeric", "special"), False)}) == [
        "special"
    ]
    assert check({"length": 8, "special": False}, BYTES_URN) == ["special"]
    with pytest.raises(SandboxError, match="RandomPet"):
        check({}, "urn:pulumi:dev::p::random:index/randomPet:RandomPet::x")
