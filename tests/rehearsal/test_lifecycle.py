"""The sandbox itself: it starts, stops, keeps to itself, and stands beside another one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes


def processes_of(sandbox: Sandbox) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(sandbox.home.root) in line]


def test_two_sandboxes_stop_clean_and_start_again(sandboxes: Sandboxes) -> None:
    with sandboxes.forked("empty") as one, sandboxes.forked("empty") as other:
        for sandbox in (one, other):
            sandbox.run("start").succeeded()
        assert {sandbox.get("/version")["gitVersion"] for sandbox in (one, other)} == {"v1.36.3"}
        assert processes_of(one)
        one.run("down").succeeded()
        assert processes_of(one) == []
        assert other.run("status").succeeded()
        one.run("start").succeeded()
        assert len(one.get("/api/v1/nodes")["items"]) == 3


def test_cluster_is_named_by_another_stacks_outputs(empty: Sandbox) -> None:
    file = empty.root / "Pulumi.dev.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["config"]["llm-gateway:cluster"] = {"stack": "organization/gke-cluster/dev"}
    file.write_text(yaml.safe_dump(settings))
    empty.run("preview").succeeded()
    steps = [event["resourcePreEvent"] for event in empty.events("preview") if "resourcePreEvent" in event]
    made = [step["metadata"] for step in steps if step["metadata"]["type"].endswith(":NodePool")]
    (pool,) = [step["new"]["inputs"] for step in made]
    assert (pool["location"], pool["cluster"]) == ("europe-west4", "of-another-stack")


def test_preview_comes_before_any_up(empty: Sandbox) -> None:
    empty.run("preview").succeeded()
    assert {step.op for step in empty.steps("preview")} == {"create", "read"}
    assert empty.get("/api/v1/namespaces?fieldSelector=metadata.name=llm-gateway")["items"] == []
    assert empty.cloud.list("secret") == []


def test_the_users_own_login_and_cluster_are_neither_used_nor_touched(
    empty: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    (user / ".pulumi").mkdir(parents=True)
    (user / ".pulumi/credentials.json").write_text('{"current": "https://pulumi.example.com"}')
    (user / ".kube").mkdir()
    (user / ".kube/config").write_text("current-context: production")
    before = {path: path.read_bytes() for path in user.rglob("*") if path.is_file()}
    for name, value in {
        "HOME": str(user),
        "KUBECONFIG": str(user / ".kube/config"),
        "PULUMI_ACCESS_TOKEN": "pul-0123456789",
        "PULUMI_BACKEND_URL": "https://pulumi.example.com",
        "GOOGLE_APPLICATION_CREDENTIALS": str(user / "key.json"),
        "GOOGLE_CLOUD_PROJECT": "production",
        "LLM_GATEWAY_CACHE": os.environ.get("LLM_GATEWAY_CACHE") or str(Path.home() / ".cache/llm-gateway"),
    }.items():
        monkeypatch.setenv(name, value)
    stack_file = (empty.root / "Pulumi.dev.yaml").read_bytes()
    environment = empty.run("exec", "--", "env").succeeded().text
    assert "pul-0123456789" not in environment
    assert "production" not in environment
    empty.run("preview").succeeded()
    assert {path: path.read_bytes() for path in user.rglob("*") if path.is_file()} == before
    assert (empty.root / "Pulumi.dev.yaml").read_bytes() == stack_file


def test_an_upgraded_operator_is_proven_again_and_its_objects_stay(own_dev: Sandbox) -> None:
    own_dev.patch("components/operators.py", '_resources("100m", ', '_resources("110m", ')
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {
        ("Release", "gateway-cnpg-release"): "update",
        ("ConfigMap", "gateway-cnpg-webhook-open"): "update",
    }


def test_a_live_stack_is_not_moved_nor_recovered(own_dev: Sandbox) -> None:
    """Refused by the preview of `up`, with the key, and with nothing touched."""
    own_dev.run("start").succeeded()
    before = own_dev.resources()
    for key in ("gateway", "serving", "cnpg", "externalSecrets"):
        text = own_dev.run("up", config={"llm-gateway:namespaces": {key: "other"}}).failed().text
        assert "These settings cannot be changed in place" in text
        assert f"llm-gateway:namespaces.{key}: made with " in text
    text = own_dev.run("up", config={"llm-gateway:recover": True}).failed().text
    assert "llm-gateway:recover: this stack's state is not lost" in text
    assert own_dev.resources() == before
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {}
