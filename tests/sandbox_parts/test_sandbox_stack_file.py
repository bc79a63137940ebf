"""The sandbox's copy of a stack's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import other_stack, stack_file
from sandbox.errors import SandboxError
from sandbox.paths import Home

DEV = """\
secretsprovider: gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k
encryptedkey: c2VjcmV0
encryptionsalt: v1:own
config:
  llm-gateway:gcp: {project: example-llm-dev}
  llm-gateway:cluster: {name: platform-dev, location: europe-west4}
  llm-gateway:postgres: {instances: 3, size: 20Gi}
"""


def program(folder: Path, dev: str = DEV) -> Path:
    (folder / "Pulumi.dev.yaml").write_text(dev)
    return folder


def test_the_copy_has_the_settings_but_not_the_secrets_provider(tmp_path: Path) -> None:
    content = stack_file.read_stack_file(program(tmp_path), "dev")
    prepared = stack_file.prepare(content, charts=None, overlay={})
    assert prepared == {"config": yaml.safe_load(DEV)["config"]}
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == DEV


def test_numbers_are_read_as_the_engine_writes_them(tmp_path: Path) -> None:
    costs = "config:\n  llm-gateway:models: [{a: 5e-08, b: 2E+3, c: 1.5e-7, d: 3, e: 4e, f: '5e-08'}]\n"
    content = stack_file.read_stack_file(program(tmp_path, costs), "dev")
    (model,) = content["config"]["llm-gateway:models"]
    assert model == {"a": 5e-08, "b": 2e3, "c": 1.5e-7, "d": 3, "e": "4e", "f": "5e-08"}


def test_settings_by_their_path_are_in_their_section(tmp_path: Path) -> None:
    new = program(tmp_path, f"{DEV}  llm-gateway:gcp.project: team-llm\n  other:a.b: '1'\n")
    config = stack_file.read_stack_file(new, "dev")["config"]
    assert config["llm-gateway:gcp"] == {"project": "team-llm"}
    assert config["other:a.b"] == "1"


def test_contract_charts_are_a_setting_of_the_copy() -> None:
    content = {"config": {"llm-gateway:charts": {"mirror": "oci://registry.test/charts"}}}
    prepared = stack_file.prepare(content, charts=Path("/repo/sandbox/charts"), overlay={})
    assert prepared["config"]["llm-gateway:charts"] == {"mirror": "/repo/sandbox/charts"}
    assert stack_file.prepare(content, charts=None, overlay={}) == content


def test_an_overlay_is_merged_key_by_key() -> None:
    content = {"config": {"llm-gateway:postgres": {"instances": 3, "size": "20Gi"}}}
    overlay = {"llm-gateway:postgres": {"instances": 1}, "llm-gateway:models": [1]}
    assert stack_file.prepare(content, None, overlay)["config"] == {
        "llm-gateway:postgres": {"instances": 1, "size": "20Gi"},
        "llm-gateway:models": [1],
    }


def test_an_overlay_is_read_as_a_stack_file_is(tmp_path: Path) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text("llm-gateway:models: [{inputCostPerToken: 5e-08}]\nllm-gateway:vllm: null\n")
    assert stack_file.read_overlay(file) == {
        "llm-gateway:models": [{"inputCostPerToken": 5e-08}],
        "llm-gateway:vllm": None,
    }
    file.write_text("# nothing\n")
    assert stack_file.read_overlay(file) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("a: {b: 1\n", "not YAML"),
        ("[1]\n", "holds no settings"),
    ],
)
def test_an_overlay_without_settings_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "overlay.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SandboxError, match=f"--config-overlay {file}.*{words}"):
        stack_file.read_overlay(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config:\n  llm-gateway:secrets: [{key: {secure: AAAB}}]\n", "llm-gateway:secrets .* encrypted"),
        ("config: [1]\n", "not a stack file"),
        ("just text", "not a stack file"),
        ("config: {a: 1\n", "not YAML"),
        ("config: {a: 1, a: 2}\n", r"config\.a is there twice"),
    ],
)
def test_a_file_that_cannot_run_here_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SandboxError, match=words) as refused:
        stack_file.read_stack_file(program(tmp_path, text), "dev")
    assert str(tmp_path / "Pulumi.dev.yaml") in str(refused.value)


def test_a_missing_stack_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"no stack 'qa'.*Stacks here: dev\."):
        stack_file.read_stack_file(program(tmp_path), "qa")


def test_an_empty_config_is_no_settings(tmp_path: Path) -> None:
    assert stack_file.read_stack_file(program(tmp_path, "config:\n"), "dev")["config"] == {}


def test_the_emulated_cluster_needs_its_settings() -> None:
    content = {"config": {"llm-gateway:cluster": {"name": "platform-dev"}}}
    assert stack_file.section(content, "cluster", "name") == ("platform-dev",)
    with pytest.raises(SandboxError, match=r"llm-gateway:cluster\.location is missing"):
        stack_file.section(content, "cluster", "name", "location")
    with pytest.raises(SandboxError, match=r"llm-gateway:gcp\.project is missing"):
        stack_file.section(content, "gcp", "project")


def test_the_cluster_is_named_by_the_settings_or_by_a_stack() -> None:
    config: dict[str, Any] = {"llm-gateway:gcp": {"project": "secrets-project"}}

    def cluster(**named: str) -> stack_file.Cluster:
        return stack_file.cluster({"config": config | {"llm-gateway:cluster": named}})

    assert cluster(name="a", location="b") == stack_file.Cluster("secrets-project", "a", "b")
    assert cluster(name="a", location="b", project="c") == stack_file.Cluster("c", "a", "b")
    assert cluster(stack="organization/gke/dev").stack == "organization/gke/dev"
    with pytest.raises(SandboxError, match=r"llm-gateway:cluster\.location is missing"):
        cluster(name="a")
    with pytest.raises(SandboxError, match=r"llm-gateway:cluster\.stack is 'dev', which names no stack"):
        cluster(stack="dev")


def test_the_salt_is_the_one_of_the_state(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert stack_file.state_salt(home, "dev") is None
    state = tmp_path / "state" / ".pulumi" / "stacks" / "llm-gateway" / "dev.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"checkpoint": {"latest": {"secrets_providers": {"state": {"salt": "v1:sandbox"}}}}}')
    assert stack_file.state_salt(home, "dev") == "v1:sandbox"


def test_a_program_without_a_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"holds no Pulumi project.*--root"):
        stack_file.project_of(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: consumer\n")
    assert stack_file.project_of(tmp_path) == "consumer"


@pytest.mark.parametrize(
    ("config", "gateway", "projects"),
    [
        ({"llm-gateway:gcp": {"project": "one"}}, True, ["one"]),
        ({"llm-gateway-cluster:gcp": {"project": "two"}}, False, ["two"]),
        ({"consumer:namespace": "search"}, False, []),
    ],
)
def test_any_programs_settings_can_name_a_project(
    config: dict[str, Any], gateway: bool, projects: list[str]
) -> None:
    content = {"config": config}
    assert stack_file.is_gateway(content) is gateway
    assert stack_file.google_projects(content) == projects


def test_a_stack_that_was_run_speaks_for_itself(tmp_path: Path) -> None:
    home, stack = Home(tmp_path), "organization/cluster/dev"
    assert other_stack.is_ours(home, stack)
    other_stack.write_outputs(home, stack, {"clusterName": "found"})
    assert other_stack.is_ours(home, stack)
    other_stack.forget(home, stack)
    written = Home(tmp_path, "cluster").checkpoint("dev")
    assert not written.exists()
    written.write_text('{"checkpoint": {"latest": {"manifest": {"version": "v3.259.0"}}}}')
    other_stack.forget(home, stack)
    assert written.exists()
    assert not other_stack.is_ours(home, stack)
