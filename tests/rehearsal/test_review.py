"""What reviewers see, from real previews: comments for pull requests, plans that bind an `up`, drift."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.paths import REPOSITORY
from tests.support.driver import Sandbox
from tests.support.engine import SETTINGS
from tests.support.sandboxes import Sandboxes

LOCAL: dict[str, Any] = SETTINGS["models"][0]
ROTATED: dict[str, Any] = {"llm-gateway:secrets": {"masterKeyGeneration": 2}}


@pytest.fixture(scope="module")
def dev(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox of this file's own: each preview leaves its log in it."""
    with sandboxes.forked("dev") as sandbox:
        # A fork's control plane has another address: the provider's change is to be in no preview.
        sandbox.up().succeeded()
        yield sandbox


def comment(log: Path, kind: str = "preview") -> list[str]:
    """The comment of a log, as `make comment` and the workflows render it."""
    command = [sys.executable, "-m", "tools.review", "comment", str(log), "--stack", "dev", "--kind", kind]
    diff = log.with_suffix(".diff")
    command += ["--diff", str(diff)] if diff.exists() else []
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def previewed(dev: Sandbox) -> list[str]:
    """The comment of the last preview, none of whose lines holds the value of a secret."""
    lines = comment(dev.home.event_log("dev", "preview"))
    assert dev.secret("litellm-master-key") not in "\n".join(lines)
    return lines


def rows(lines: list[str]) -> list[list[str]]:
    """The cells of the table, without its head."""
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| **")]


def test_no_change(dev: Sandbox) -> None:
    dev.run("preview").succeeded()
    marker, line = previewed(dev)
    assert marker == "<!-- llm-gateway preview: dev -->"
    assert line.startswith("**Preview of `dev`: no changes, ")


def test_a_new_model(dev: Sandbox) -> None:
    second = LOCAL | {"alias": "second", "vllm": {"model": "Qwen/Qwen2.5-1.5B-Instruct"}}
    config = {"llm-gateway:models": [LOCAL, second], "llm-gateway:gpuPool": {"maxNodes": 2}}
    shown = dev.run("preview", config=config).succeeded().text
    lines = previewed(dev)
    assert "**Preview of `dev`: 3 to update, 1 output changed, " in lines[1]
    changes = {name: (op, what) for op, name, _, what in rows(lines)}
    assert changes["`gateway-gpu-pool-nodes`"] == ("**update**", "`autoscaling.totalMaxNodeCount` `1` → `2`")
    op, what = changes["`gateway-litellm-release`"]
    assert op == "**update**"
    assert what.startswith("`values.proxy_config.model_list[1]` + `{")
    op, what = changes["`gateway-vllm-release`"]
    assert op == "**update**"
    assert what.startswith("`values.servingEngineSpec.modelSpec[1]` + `{")
    assert changes["`modelAliases`"] == ("**update**", "`modelAliases[1]` + `second`")
    assert len(changes) == 4
    assert any(line.startswith("Policies: ") and line.endswith(" checked, none violated") for line in lines)
    # The diff below is the engine's own.
    assert lines.index("<details><summary>Full diff</summary>") < lines.index("Resources:")
    assert '+ model_name    : "second"' in "\n".join(lines)
    # The terminal says the same.
    assert "Preview: 3 to update, 1 output changed, " in shown
    assert "autoscaling.totalMaxNodeCount 1 -> 2" in shown


def test_a_rotated_key(dev: Sandbox) -> None:
    dev.run("preview", config=ROTATED).succeeded()
    lines = previewed(dev)
    assert "**Preview of `dev`: 2 to replace, " in lines[1]
    replaced = [row[1:] for row in rows(lines) if row[0] == "**replace**"]
    name, change = "`gateway-secrets-litellm-master-key`", "`secretData` `[secret]` → `[known after up]`"
    assert replaced == [
        [name, "`random:index/randomPassword:RandomPassword`", "`keepers.generation` `1` → `2`"],
        [name, "`gcp:secretmanager/secretVersion:SecretVersion`", change],
    ]
    assert ["**update**", "`gateway-secret-sync-litellm-secrets`"] in [row[:2] for row in rows(lines)]


def test_a_budget(dev: Sandbox) -> None:
    dev.run("preview", config={"llm-gateway:teams": [{"name": "search", "budget": 80}]}).succeeded()
    changes = {name: what for _, name, _, what in rows(previewed(dev))}
    assert changes["`gateway-tenants-team-search`"] == "`budget` `50` → `80`"
    declared = '`data["declared.json"].teams[0].max_budget` `50.0` → `80.0`'
    assert changes["`gateway-tenants-declared`"] == declared


def test_a_replaced_database_is_stopped(dev: Sandbox) -> None:
    config = {"llm-gateway:postgres": {"name": "other"}}
    stopped = dev.run("up", config=config).failed()
    lines = previewed(dev)
    assert ["**replace**", "`gateway-postgres-cluster`"] in [row[:2] for row in rows(lines)]
    reason = lines[lines.index("**Stopped by the guard**") + 3]
    database = "gateway-postgres-cluster (kubernetes:postgresql.cnpg.io/v1:Cluster)"
    assert reason.startswith(f"{database} would be replaced. ")
    assert f"guard: {reason}" in stopped.text
    assert dev.namespaced("clusters", "llm-gateway", "litellm-pg", "postgresql.cnpg.io/v1")
    dev.run("preview", "--allow", "gateway-postgres-cluster", config=config).succeeded()


def test_an_up_does_what_was_planned_and_nothing_else(dev: Sandbox, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    dev.run("preview").succeeded()
    dev.run("exec", "--", "pulumi", "preview", "--save-plan", str(plan)).succeeded()
    assert dev.secret("litellm-master-key") not in plan.read_text()
    up = ("exec", "--", "pulumi", "up", "--yes", "--skip-preview", "--plan", str(plan))
    dev.run(*up).succeeded()
    dev.run("preview", config=ROTATED).succeeded()
    assert "gateway-secrets-litellm-master-key violates plan" in dev.run(*up).failed().text


def test_a_first_up_may_be_planned(empty: Sandbox, tmp_path: Path) -> None:
    """As the workflow deploys. Of the values that the stack makes, no preview knows one."""
    plan = tmp_path / "plan.json"
    without_gpu = LOCAL | {"vllm": None, "endpoint": {"url": "http://models.models.svc/v1", "model": "a"}}
    model = {key: value for key, value in without_gpu.items() if value is not None}
    empty.run("preview", config={"llm-gateway:models": [model]}).succeeded()
    empty.run("exec", "--", "pulumi", "preview", "--save-plan", str(plan)).succeeded()
    empty.run("exec", "--", "pulumi", "up", "--yes", "--skip-preview", "--plan", str(plan)).succeeded()
    assert len(empty.secret("litellm-salt-key")) == 43


def test_drift(dev: Sandbox, tmp_path: Path) -> None:
    log = tmp_path / "drift.jsonl"
    look = ("exec", "--", "pulumi", "preview", "--refresh", "--expect-no-changes", "--event-log", str(log))
    dev.run("preview").succeeded()
    dev.run(*look).succeeded()
    assert "**Drift of `dev`: no changes, " in comment(log, "drift")[1]
    log.unlink()
    label = ("exec", "--", "kubectl", "label", "namespace", "llm-gateway", "--overwrite")
    name = "pod-security.kubernetes.io/enforce"
    was = dev.get("/api/v1/namespaces/llm-gateway")["metadata"]["labels"][name]
    dev.run(*label, f"{name}=privileged").succeeded()
    dev.run(*look).failed()
    lines = comment(log, "drift")
    dev.run(*label, f"{name}={was}").succeeded()
    assert lines[0] == "<!-- llm-gateway drift: dev -->"
    assert any(f"`privileged` → `{was}`" in row[3] for row in rows(lines)), lines
