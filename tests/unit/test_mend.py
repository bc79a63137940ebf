"""The mending of a state that does not know what Google has, up to the commands that it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools import mend, pulumi_cli

URN = "urn:pulumi:dev::llm-gateway::"
PROVIDER = f"{URN}pulumi:providers:gcp::google"
SECRET = "gcp:secretmanager/secret:Secret"
POOL = "gcp:container/nodePool:NodePool"
BUCKET = "gcp:storage/bucket:Bucket"


def resource(type_: str, logical: str, **inputs: Any) -> dict[str, Any]:
    return {
        "urn": f"{URN}llmgateway:llm_gateway:LlmGateway${type_}::{logical}",
        "type": type_,
        "inputs": inputs,
        "parent": f"{URN}llmgateway:llm_gateway:LlmGateway::gateway",
        "provider": f"{PROVIDER}::3f2b",
        "protect": True,
    }


def test_what_google_makes_once_is_imported_into_its_place() -> None:
    secret = resource(SECRET, "master", project="p", secretId="s")
    command = mend.import_command(secret)
    assert command[:4] == ["import", SECRET, "master", "projects/p/secrets/s"]
    assert command[command.index("--parent") + 1] == f"parent={secret['parent']}"
    assert command[command.index("--provider") + 1] == f"provider={PROVIDER}"
    assert "--protect=true" in command
    pool = resource(POOL, "pool", project="p", location="l", cluster="c", name="n")
    assert "projects/p/locations/l/clusters/c/nodePools/n" in mend.import_command(pool)
    assert "b" in mend.import_command(resource(BUCKET, "bucket", name="b"))


class Pulumi:
    """A `pulumi` whose stack would create some resources, of which Google has some."""

    def __init__(self, created: list[dict[str, Any]], exist: set[str], pending: list[str]) -> None:
        known = {"op": "same", "newState": resource(BUCKET, "known", name="known")}
        self._preview = {"steps": [known, *({"op": "create", "newState": state} for state in created)]}
        self._exist = {"known", *exist}
        self._pending = [{"type": type_, "resource": {}} for type_ in pending]
        self.imported: list[str] = []
        self.left_pending: list[str] | None = None

    def __call__(self, _: str, *arguments: str, given: str | None = None) -> str:
        match arguments:
            case ["preview", *_]:
                return json.dumps(self._preview)
            case ["stack", "export"]:
                return json.dumps({"deployment": {"pending_operations": self._pending}})
            case ["stack", "import"]:
                operations = json.loads(given or "")["deployment"]["pending_operations"]
                self.left_pending = [operation["type"] for operation in operations]
                return ""
            case _:
                if arguments[3] not in self._exist:
                    raise pulumi_cli.PulumiError(f"resource '{arguments[3]}' does not exist")
                if "--preview-only" not in arguments:
                    self.imported.append(arguments[3])
                return ""


def test_only_what_exists_is_imported_and_creates_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    created = [
        resource(BUCKET, "bucket", name="there"),
        resource(BUCKET, "other", name="not-there"),
        resource("gcp:secretmanager/secretVersion:SecretVersion", "version"),
    ]
    pulumi = Pulumi(created, {"there"}, ["creating", "updating"])
    monkeypatch.setattr(pulumi_cli, "run", pulumi)
    mend.mend("dev")
    assert pulumi.imported == ["there"]
    assert pulumi.left_pending == ["updating"]


def test_a_secret_whose_value_the_state_lost_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    created = [resource(SECRET, name, project="p", secretId=name) for name in ("with", "without")]
    secret = "projects/p/secrets/"
    pulumi = Pulumi(created, {f"{secret}with", f"{secret}with/versions/1", f"{secret}without"}, [])
    monkeypatch.setattr(pulumi_cli, "run", pulumi)
    mend.mend("dev")
    assert pulumi.imported == [f"{secret}without"]
    assert "with: left alone" in capsys.readouterr().out
    assert pulumi.left_pending is None


def test_without_pulumi_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mend.main(["--stack", "dev"]) == 1
    assert "pulumi is not on PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    "said",
    [
        json.dumps({"steps": [{}], "diagnostics": [{"severity": "error", "message": "no such cluster\n"}]}),
        "no such cluster",
    ],
)
def test_a_preview_that_fails_is_told_by_its_errors(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 255\n")
    pulumi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert mend.main(["--stack", "dev"]) == 1
    assert capsys.readouterr().err == "`pulumi preview --json` failed:\nno such cluster\n\n"
