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


def event(kind: str, name: str, op: str) -> dict[str, Any]:
    state = {"parent": "", "custom": True}
    urn = f"urn:pulumi:dev::llm-gateway::{kind}::{name}"
    metadata = {"op": op, "urn": urn, "type": kind, "old": state, "new": None if op == "delete" else state}
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
def test_what_can_be_made_again_is_not(kind: str, name: str, op: str) -> None:
    assert guard.findings(operation(kind, name, op)) == []


def test_the_command_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "preview.jsonl"
    log.write_text(json.dumps(event(CLUSTER, "gateway-postgres-cluster", "delete")) + "\n")
    assert guard.report(log, ()) == 1
    assert "every virtual key" in capsys.readouterr().err
    assert guard.report(log, ["gateway-postgres-cluster"]) == 0
    assert capsys.readouterr().err == ""
