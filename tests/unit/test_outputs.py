"""The contract that other stacks read."""

import json
from pathlib import Path
from typing import Any

import pytest

import outputs
from tests.support.engine import EVERYTHING, Recording, run_program

DATA = Path(__file__).with_name("data")
FROZEN: dict[str, dict[str, Any]] = json.loads((DATA / "outputs.json").read_text())
"""The outputs that other stacks rely on: entries are added, never changed or removed."""


def kind(value: object) -> str:
    match value:
        case str():
            return "string"
        case list() if all(isinstance(item, str) for item in value):
            return "list of strings"
        case dict() if all(isinstance(item, str) for item in value.values()):
            return "map of strings"
        case _:
            return f"unknown: {value!r}"


def test_contract_keeps_what_was_promised_and_what_is_new_is_promised_too() -> None:
    assert {output.name: output.type for output in outputs.contract()} == {
        name: promise["type"] for name, promise in FROZEN.items()
    }, "an output may be added, here and in outputs.json; none may go, or change its type"


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["dev", "everything"])
def test_stack_exports_what_was_promised(changes: dict[str, Any]) -> None:
    recording = run_program(changes)
    assert set(recording.outputs) == set(FROZEN)
    for name, promise in FROZEN.items():
        assert kind(recording.outputs[name]) == promise["type"], name
        assert (name in recording.secret_outputs) == promise["secret"], name
        assert set(promise.get("keys", [])) <= set(recording.outputs[name]), name


def test_outputs_say_where_things_are(program: Recording) -> None:
    exported = program.outputs
    assert exported["gatewayUrl"] == "http://litellm.llm-gateway.svc.cluster.local:4000"
    assert exported["databaseHost"] == "litellm-pg-rw.llm-gateway.svc.cluster.local"
    assert exported["modelAliases"] == ["qwen-local"]
    assert exported["secretNames"]["saltKey"] == "projects/example-llm-dev/secrets/litellm-salt-key"
    assert exported["chartVersions"]["litellm-helm"] == "1.89.2"
    assert all(":latest" not in image and ":" in image for image in exported["images"])


def test_outputs_are_known_to_a_preview() -> None:
    assert run_program(preview=True).outputs["gatewayUrl"].startswith("http://litellm.")
