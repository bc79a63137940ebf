"""What the engine's event log says about an operation and about each component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.review.components import Row, rows
from tools.review.events import Change, Diagnostic, PolicyResult, parse, read
from tools.review.model import review

# Recorded from an `up` whose ExternalSecrets did not sync, without the settings and properties.
FAILED_UP = Path(__file__).parent / "data" / "failed-up.jsonl"
# Recorded in the same way from a preview that rotates the master key.
ROTATED_KEY = FAILED_UP.with_name("preview-rotated-key.jsonl")

SIGNATURE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
STACK = "urn:pulumi:dev::llm-gateway::pulumi:pulumi:Stack::llm-gateway-dev"
POOL = "urn:pulumi:dev::llm-gateway::llmgateway:gpu_node_pool:GpuNodePool::gpu-pool"
NODES = "urn:pulumi:dev::llm-gateway::llmgateway:gpu_node_pool:GpuNodePool$gcp:container/nodePool:NodePool::gpu-pool-nodes"


def step(kind: str, time: int, op: str, urn: str, parent: str, **outputs: Any) -> dict[str, Any]:
    type_ = urn.split("::")[2].rpartition("$")[2]
    state = {"parent": parent, "outputs": outputs} | ({"custom": True} if type_.startswith("gcp:") else {})
    metadata = {"op": op, "urn": urn, "type": type_, "old": None, "new": state}
    return {"timestamp": time, kind: {"metadata": metadata}}


def nodes(op: str, start: int = 100, end: int = 100) -> list[dict[str, Any]]:
    """A step of the pool's nodes, from its start to its end."""
    times = (("resourcePreEvent", start), ("resOutputsEvent", end))
    return [step(kind, time, op, NODES, POOL) for kind, time in times]


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


def tenant(op: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    urn = "urn:pulumi:dev::llm-gateway::llmgateway:tenants:Team::tenants-team-search"
    event = step("resOutputsEvent", 101, op, urn, POOL)
    states = {"old": old, "new": new}
    event["resOutputsEvent"]["metadata"] |= {
        side: inputs if inputs is None else {"parent": POOL, "inputs": inputs}
        for side, inputs in states.items()
    }
    return event


@pytest.mark.parametrize(
    ("op", "old", "new", "changed"),
    [
        ("update", {"name": "search", "budget": 50}, {"name": "search", "budget": 80}, [("budget", 50, 80)]),
        ("create", None, {"name": "search"}, [("name", None, "search")]),
        ("delete", {"name": "search"}, None, [("name", "search", None)]),
    ],
)
def test_a_component_that_declares_something_changes_by_name(
    op: str, old: dict[str, Any] | None, new: dict[str, Any] | None, changed: list[tuple[str, Any, Any]]
) -> None:
    operation = parse(run("same", tenant(op, old, new), preview=True))
    (line,) = review(operation).lines
    assert (line.op, line.name) == (op, "tenants-team-search")
    assert [(change.path, change.old, change.new) for change in line.changed] == changed
    assert rows(operation) == [Row("gpu-pool", "GpuNodePool", "would change", {op: 1}, 0)]


def test_a_recorded_failure() -> None:
    operation = read(FAILED_UP)
    assert not operation.succeeded
    assert {row.name: (row.outcome, row.changes, row.seconds) for row in rows(operation)} == {
        "secrets": ("ready", {"create": 1}, 0),
        "gpu-pool": ("ready", {"create": 1}, 0),
        "secret-sync": ("failed", {"create": 1, "fail": 3}, 180),
        "vllm": ("not reached", {}, 0),
    }


def test_a_components_time_is_that_of_its_resources() -> None:
    assert rows(parse(run("create", *nodes("create", 105, 190)))) == [
        Row("gpu-pool", "GpuNodePool", "ready", {"create": 1}, 85)
    ]


def test_a_second_up_changes_nothing() -> None:
    (row,) = rows(parse(run("same", *nodes("same"))))
    assert row == Row("gpu-pool", "GpuNodePool", "unchanged", {}, 0)


def test_a_preview_only_would() -> None:
    (row,) = rows(parse(run("same", *nodes("update"), preview=True)))
    assert (row.outcome, row.changes) == ("would change", {"update": 1})


def test_the_steps_of_a_replacement_are_one_change() -> None:
    events = [*nodes("create-replacement"), *nodes("replace"), *nodes("delete-replaced")]
    (row,) = rows(parse(run("same", *events)))
    assert row.changes == {"replace": 1}


def test_a_resource_its_provider_refuses_fails_its_component() -> None:
    refusal = {"severity": "error", "urn": NODES, "message": "no such property"}
    (row,) = rows(parse(run("create", {"timestamp": 100, "diagnosticEvent": refusal})))
    assert row.outcome == "failed"


def test_an_operation_that_previews_first_is_its_last_run() -> None:
    operation = parse([*run("create", preview=True), *run("delete", *nodes("delete"))])
    assert [row.outcome for row in rows(operation)] == ["deleted"]


def test_outputs_are_shown_without_secrets() -> None:
    secret = SIGNATURE | {"ciphertext": "[secret]"}
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    outputs = parse(run("create", url="http://a", key=secret, nested=[{"host": unknown}])).outputs
    assert outputs == {"url": "http://a", "key": "[secret]", "nested": [{"host": "[known after up]"}]}
    assert "ciphertext" not in json.dumps(outputs)


def test_what_changes_in_a_resource() -> None:
    steps = {(step.type.rpartition(":")[2], step.name): step for step in read(ROTATED_KEY).steps}
    key = steps["SecretVersion", "secrets-litellm-master-key"]
    assert (key.op, key.protected, key.done, key.component) == ("replace", False, True, False)
    assert key.changed == [Change("secretData", "update-replace", "[secret]", "[known after up]")]
    secret = steps["ExternalSecret", "secret-sync-litellm-secrets"]
    assert secret.changed == [Change("spec.data[0].remoteRef.version", "update", "2", "[known after up]")]
    assert steps["Secret", "secrets-litellm-salt-key"].protected


def test_what_the_engine_wrote_before_it_was_killed(tmp_path: Path) -> None:
    whole = ROTATED_KEY.read_text()
    log = tmp_path / "preview.jsonl"
    log.write_text(whole[: whole.index("SecretVersion") + 200])
    operation = read(log)
    assert (operation.result, operation.preview, operation.succeeded) == ("interrupted", True, False)
    assert operation.steps


def test_a_log_that_is_none_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "preview.jsonl"
    log.write_text("Previewing update (dev):\n")
    with pytest.raises(json.JSONDecodeError):
        read(log)


def changed(old: Any, new: Any, **diffs: Any) -> list[Change]:
    event = step("resOutputsEvent", 100, "update", NODES, POOL)
    meta = event["resOutputsEvent"]["metadata"]
    meta |= {"old": {"parent": POOL, "custom": True, "inputs": old}, "new": meta["new"] | {"inputs": new}}
    (only,) = parse([event | {"resOutputsEvent": {"metadata": meta | diffs}}]).steps
    return only.changed


def test_changes_are_told_down_to_single_values() -> None:
    old = {"values": {"models": [{"a.b": 1, "gone": True}], "same": 1}}
    new = {"values": {"models": [{"a.b": 2}, "more"], "same": 1}}
    assert changed(old, new, diffs=["values"]) == [
        Change('values.models[0]["a.b"]', "update", 1, 2),
        Change("values.models[0].gone", "delete", True, None),
        Change("values.models[1]", "add", None, "more"),
    ]


def test_changes_inside_json_are_told_too() -> None:
    old, new = ({"data": {"teams.json": json.dumps([{"budget": budget}])}} for budget in (50, 80))
    assert changed(old, new, diffs=["data"]) == [Change('data["teams.json"][0].budget', "update", 50, 80)]
    assert changed({"data": "[1] of many"}, {"data": "[2] of many"}, diffs=["data"]) == [
        Change("data", "update", "[1] of many", "[2] of many")
    ]


def test_paths_of_the_provider_are_followed() -> None:
    detailed = {'labels["a.b/c"][0]': {"diffKind": "update-replace", "inputDiff": True}}
    old, new = {"labels": {"a.b/c": ["x"]}}, {"labels": {"a.b/c": ["y"]}}
    assert changed(old, new, detailedDiff=detailed) == [
        Change('labels["a.b/c"][0]', "update-replace", "x", "y")
    ]


def test_what_is_inside_a_secret_stays_secret() -> None:
    secret = SIGNATURE | {"ciphertext": "v1:abc"}
    detailed = {"data.password": {"diffKind": "update", "inputDiff": True}}
    assert changed({"data": secret}, {"data": secret}, detailedDiff=detailed) == [
        Change("data.password", "update", "[secret]", "[secret]")
    ]


def test_policies_and_diagnostics() -> None:
    violated = {
        "policyPackName": "pack",
        "policyName": "pinned",
        "resourceUrn": NODES,
        "enforcementLevel": "mandatory",
        "message": "<{%fg 1%}>latest is no version<{%reset%}>\n",
    }
    summary = {"policyPackName": "pack", "passed": ["bounded"], "failed": ["pinned"]}
    events = [
        {"timestamp": 100, "policyEvent": violated},
        {"timestamp": 100, "policyAnalyzeSummaryEvent": summary},
        {"timestamp": 100, "diagnosticEvent": {"severity": "warning", "message": "  careful\n"}},
        {"timestamp": 100, "diagnosticEvent": {"severity": "debug", "message": "noise"}},
    ]
    operation = parse(events)
    assert operation.policies == [PolicyResult("pack", "pinned", NODES, "mandatory", "latest is no version")]
    assert operation.policies_checked == {("pack", "bounded"), ("pack", "pinned")}
    assert operation.diagnostics == [Diagnostic("", "warning", "  careful")]
