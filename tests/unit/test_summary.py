"""The table at the end of an operation, from the engine's event log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sandbox.summary import Row, read, summarise

# Recorded from an `up` whose ExternalSecrets did not sync, with the settings and properties taken out.
FAILED_UP = Path(__file__).parent / "data" / "failed-up.jsonl"

STACK = "urn:pulumi:dev::llm-gateway::pulumi:pulumi:Stack::llm-gateway-dev"
POOL = "urn:pulumi:dev::llm-gateway::llmgateway:gpu_node_pool:GpuNodePool::gpu-pool"
NODES = "urn:pulumi:dev::llm-gateway::llmgateway:gpu_node_pool:GpuNodePool$gcp:container/nodePool:NodePool::gpu-pool-nodes"


def step(kind: str, time: int, op: str, urn: str, parent: str, **outputs: Any) -> dict[str, Any]:
    type_ = urn.split("::")[2].rpartition("$")[2]
    state = {"parent": parent, "outputs": outputs} | ({"custom": True} if type_.startswith("gcp:") else {})
    return {
        "timestamp": time,
        kind: {"metadata": {"op": op, "urn": urn, "type": type_, "old": None, "new": state}},
    }


def run(op: str, *extra: dict[str, Any], preview: bool = False, **outputs: Any) -> list[dict[str, Any]]:
    return [
        {"timestamp": 100, "preludeEvent": {}},
        step("resourcePreEvent", 100, op, STACK, ""),
        step("resourcePreEvent", 100, op, POOL, STACK),
        step("resOutputsEvent", 100, op, POOL, STACK),
        *extra,
        step("resOutputsEvent", 195, op, STACK, "", **outputs),
        {"timestamp": 195, "summaryEvent": {"isPreview": preview, "result": "succeeded"}},
    ]


def test_a_recorded_failure() -> None:
    summary = read(FAILED_UP)
    assert not summary.succeeded
    assert {row.name: (row.outcome, row.changes, row.seconds) for row in summary.rows} == {
        "secrets": ("ready", {"create": 1}, 0),
        "gpu-pool": ("ready", {"create": 1}, 0),
        "secret-sync": ("failed", {"create": 1, "fail": 3}, 180),
        "vllm": ("not reached", {}, 0),
    }


def test_a_components_time_is_that_of_its_resources() -> None:
    pre = step("resourcePreEvent", 105, "create", NODES, POOL)
    done = step("resOutputsEvent", 190, "create", NODES, POOL)
    assert summarise(run("create", pre, done)).rows == [
        Row("gpu-pool", "GpuNodePool", "ready", {"create": 1}, 85)
    ]


def test_a_second_up_changes_nothing() -> None:
    pre = step("resourcePreEvent", 100, "same", NODES, POOL)
    done = step("resOutputsEvent", 100, "same", NODES, POOL)
    assert summarise(run("same", pre, done)).rows == [Row("gpu-pool", "GpuNodePool", "unchanged", {}, 0)]


def test_a_preview_only_would() -> None:
    pre = step("resourcePreEvent", 100, "update", NODES, POOL)
    done = step("resOutputsEvent", 100, "update", NODES, POOL)
    (row,) = summarise(run("same", pre, done, preview=True)).rows
    assert (row.outcome, row.changes) == ("would change", {"update": 1})


def test_the_steps_of_a_replacement_are_one_change() -> None:
    events = [
        step(kind, 100, op, NODES, POOL)
        for op in ("create-replacement", "replace", "delete-replaced")
        for kind in ("resourcePreEvent", "resOutputsEvent")
    ]
    (row,) = summarise(run("same", *events)).rows
    assert row.changes == {"replace": 1}


def test_a_resource_its_provider_refuses_fails_its_component() -> None:
    refused = {
        "timestamp": 100,
        "diagnosticEvent": {"severity": "error", "urn": NODES, "message": "no such property"},
    }
    (row,) = summarise(run("create", refused)).rows
    assert row.outcome == "failed"


def test_an_operation_that_previews_first_is_its_last_run() -> None:
    pre = step("resourcePreEvent", 100, "delete", NODES, POOL)
    done = step("resOutputsEvent", 100, "delete", NODES, POOL)
    summary = summarise([*run("create", preview=True), *run("delete", pre, done)])
    assert [row.outcome for row in summary.rows] == ["deleted"]


def test_outputs_are_shown_without_secrets() -> None:
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "ciphertext": "[secret]",
    }
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    outputs = summarise(run("create", url="http://a", key=secret, nested=[{"host": unknown}])).outputs
    assert outputs == {"url": "http://a", "key": "[secret]", "nested": [{"host": "[known after up]"}]}
    assert "ciphertext" not in json.dumps(outputs)
