"""The guard over what a preview would delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policy.database import CLUSTER
from policy.gpu import NODE_POOL
from tools.review import guard
from tools.review.events import Operation, parse

PASSWORD = "random:index/randomPassword:RandomPassword"
SECRET = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
LOST = {
    "gateway-secrets-litellm-salt-key": (PASSWORD, SECRET, VERSION),
    "gateway-secrets-litellm-master-key": (SECRET,),
    "gateway-postgres-cluster": (CLUSTER,),
    "gateway-backups-bucket": ("gcp:storage/bucket:Bucket",),
    "gateway-backups-object-store": ("kubernetes:barmancloud.cnpg.io/v1:ObjectStore",),
    "gateway-gpu-pool-nodes": (NODE_POOL,),
    "gateway-namespaces-gateway": ("kubernetes:core/v1:Namespace",),
}


ENDED = {"sequence": 2, "timestamp": 1, "summaryEvent": {"isPreview": True, "result": "succeeded"}}


def event(kind: str, name: str, op: str, *, protect: bool = False) -> dict[str, Any]:
    state = {"parent": "", "custom": True, "protect": protect}
    urn = f"urn:pulumi:dev::llm-gateway::{kind}::{name}"
    metadata = {"op": op, "urn": urn, "type": kind, "old": state, "new": None if op == "delete" else state}
    if op == "create":
        metadata["old"] = None
    return {"sequence": 1, "timestamp": 1, "resourcePreEvent": {"metadata": metadata, "planning": True}}


def operation(kind: str, name: str, op: str) -> Operation:
    return parse([event(kind, name, op)])


@pytest.mark.parametrize("op", ["delete", "replace"])
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in LOST.items() for kind in kinds])
def test_what_cannot_be_made_again_is_found(name: str, kind: str, op: str) -> None:
    planned = operation(kind, name, op)
    (found,) = guard.findings(planned)
    assert (found.name, found.urn) == (name, planned.steps[0].urn)
    assert f"would be {op}d" in found.message
    assert f"ALLOW={name}" in found.message
    assert guard.findings(planned, [name]) == guard.findings(planned, [found.urn]) == []
    assert guard.findings(planned, [f"another {name}"]) == []
    assert guard.findings(planned, ["another", ""]) == [found]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("kubernetes:helm.sh/v3:Release", "gateway-external-secrets-release"),
        ("kubernetes:core/v1:Namespace", "gateway-namespaces-serving"),
        ("gcp:secretmanager/secretIamMember:SecretIamMember", "gateway-secrets-litellm-salt-key-reader"),
        ("gcp:storage/bucketIAMMember:BucketIAMMember", "gateway-backups-litellm-pg-objects"),
        ("gcp:projects/iAMMember:IAMMember", "gateway-litellm-vertex-ai-example-ai"),
    ],
)
def test_a_replacement_of_what_may_be_switched_off_is_found(kind: str, name: str) -> None:
    (found,) = guard.findings(operation(kind, name, "replace"))
    assert "would be replaced. Lost: " in found.message
    assert guard.findings(operation(kind, name, "delete")) == []


@pytest.mark.parametrize(
    ("kind", "name", "op"),
    [
        (PASSWORD, "gateway-secrets-litellm-master-key", "replace"),
        (VERSION, "gateway-secrets-litellm-master-key", "replace"),
        (CLUSTER, "gateway-postgres-cluster", "update"),
        (SECRET, "gateway-secrets-litellm-salt-key", "create"),
        ("kubernetes:core/v1:Namespace", "gateway-namespaces-cert-manager", "delete"),
        ("kubernetes:apps/v1:Deployment", "gateway-valkey-server", "delete"),
        (SECRET, "gateway-secrets-litellm-key-search-app", "delete"),
    ],
)
def test_what_can_be_made_again_is_no_finding(kind: str, name: str, op: str) -> None:
    assert guard.findings(operation(kind, name, op)) == []


def test_the_command_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "preview.jsonl"
    lines = [event(CLUSTER, "gateway-postgres-cluster", "delete"), ENDED]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert guard.report(log, ()) == 1
    assert "every virtual key" in capsys.readouterr().err
    assert guard.report(log, ["gateway-postgres-cluster"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "\n",
        json.dumps(event(CLUSTER, "gateway-postgres-cluster", "same")) + "\n",
        json.dumps(ENDED)[:-3],
        json.dumps({**ENDED, "summaryEvent": {"isPreview": True, "result": "failed"}}) + "\n",
        "no event log\n",
    ],
    ids=["missing", "empty", "blank", "cut after a step", "cut in the last line", "failed", "another file"],
)
def test_a_log_that_is_not_whole_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    log = tmp_path / "preview.jsonl"
    if text is not None:
        log.write_text(text)
    assert guard.report(log, ()) == 1
    assert "is no whole preview" in capsys.readouterr().err


SALT = "gateway-secrets-litellm-salt-key"


@pytest.mark.parametrize("op", ["delete", "replace"])
@pytest.mark.parametrize("name", ["gateway-secrets-litellm-master-key", SALT])
def test_what_the_state_protects_is_found_even_if_it_is_allowed(name: str, op: str) -> None:
    (found,) = guard.findings(parse([event(SECRET, name, op, protect=True)]), [name])
    assert "the state protects it" in found.message


@pytest.mark.parametrize("kind", [PASSWORD, VERSION])
@pytest.mark.parametrize("there", [(SECRET, SALT), (CLUSTER, "gateway-postgres-cluster")])
@pytest.mark.parametrize("op", ["same", "import", "update"])
def test_a_salt_beside_what_exists_is_found(kind: str, there: tuple[str, str], op: str) -> None:
    planned = parse([event(*there, op), event(kind, SALT, "create")])
    (found,) = guard.findings(planned)
    assert "a second salt" in found.message
    assert guard.findings(planned, [SALT]) == []


def test_the_first_salt_is_no_finding() -> None:
    planned = [(SECRET, SALT), (VERSION, SALT), (CLUSTER, "gateway-postgres-cluster")]
    assert guard.findings(parse([event(kind, name, "create") for kind, name in planned])) == []
