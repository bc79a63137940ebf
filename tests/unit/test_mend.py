"""The mending of a state whose engine was killed, up to the commands that it runs."""

from __future__ import annotations

from typing import Any

from tools.mend import import_command, pending_creates

URN = "urn:pulumi:dev::llm-gateway::"
PROVIDER = f"{URN}pulumi:providers:gcp::google"


def resource(type_: str, logical: str, **inputs: Any) -> dict[str, Any]:
    urn = f"{URN}llmgateway:llm_gateway:LlmGateway${type_}::{logical}"
    return {
        "urn": urn,
        "type": type_,
        "inputs": inputs,
        "parent": f"{URN}llmgateway:llm_gateway:LlmGateway::gateway",
        "provider": f"{PROVIDER}::3f2b",
    }


def test_only_creates_are_mended() -> None:
    made, changed = resource("a:b:C", "made"), resource("a:b:C", "changed")
    operations = [{"type": "creating", "resource": made}, {"type": "updating", "resource": changed}]
    assert pending_creates({"pending_operations": operations}) == [made]
    assert pending_creates({}) == []


def test_what_google_makes_once_is_imported_into_its_place() -> None:
    secret = resource("gcp:secretmanager/secret:Secret", "salt", project="p", secretId="s") | {
        "protect": True
    }
    command = import_command(secret)
    assert command
    assert command[:4] == ["import", secret["type"], "salt", "projects/p/secrets/s"]
    assert command[command.index("--parent") + 1] == f"parent={secret['parent']}"
    assert command[command.index("--provider") + 1] == f"provider={PROVIDER}"
    assert "--protect=true" in command
    pool = resource(
        "gcp:container/nodePool:NodePool", "pool", cluster="projects/p/locations/l/clusters/c", name="n"
    )
    assert "projects/p/locations/l/clusters/c/nodePools/n" in (import_command(pool) or [])
    assert "b" in (import_command(resource("gcp:storage/bucket:Bucket", "bucket", name="b")) or [])


def test_what_the_next_up_takes_over_or_makes_again_is_not() -> None:
    for type_ in ("kubernetes:helm.sh/v3:Release", "gcp:secretmanager/secretVersion:SecretVersion"):
        assert import_command(resource(type_, "x")) is None
