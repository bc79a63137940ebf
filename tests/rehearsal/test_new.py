"""`pulumi new` on a copy of the repository: what it asks for is what a new environment needs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import settings
from sandbox import stack_file
from sandbox.environment import environment, make_directories
from sandbox.paths import REPOSITORY, Home
from sandbox.plugins.shims import write_shims
from sandbox.toolchain.build import ensure
from tests.support.driver import NOT_IN_GIT

NEEDED = {"gcp.project": "team-llm", "cluster.name": "platform", "cluster.location": "europe-west1"}


@pytest.mark.parametrize("stack", ["staging", "dev"])
def test_a_new_projects_settings_load(tmp_path: Path, stack: str) -> None:
    template = shutil.copytree(REPOSITORY, tmp_path / "template", ignore=NOT_IN_GIT)
    home = Home(tmp_path / "home")
    make_directories(home)
    write_shims(home, ensure())
    env = environment(home, stack)
    # The sandbox's choice of stack and of its file: this project is to have its own.
    del env["PULUMI_STACK"], env["PULUMI_OPTION_CONFIG_FILE"]
    made = tmp_path / "made"
    made.mkdir()

    def pulumi(*arguments: str) -> str:
        command = [str(home.bin / "pulumi"), *arguments]
        done = subprocess.run(command, cwd=made, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    answers = [part for key, value in NEEDED.items() for part in ("--config", f"llm-gateway:{key}={value}")]
    pulumi("new", str(template), "--yes", "--offline", "--stack", stack, *answers)

    # As the engine hands it to the program.
    config = {key: entry["value"] for key, entry in json.loads(pulumi("config", "--json")).items()}
    loaded = settings.parse(config, stack)
    assert loaded.gcp.project == "team-llm"
    assert (loaded.cluster.name, loaded.cluster.location) == ("platform", "europe-west1")
    assert [model.alias for model in loaded.models] == ["qwen-local"]
    assert loaded.models[0].input_cost_per_token == 0.00000005

    # As the sandbox rehearses it.
    copy = stack_file.prepare(stack_file.read_stack_file(made, stack), charts=None, overlay={})
    assert stack_file.cluster(copy) == stack_file.Cluster("team-llm", "platform", "europe-west1")
    rehearsed = {key: json.dumps(value) for key, value in copy["config"].items()}
    assert settings.parse(rehearsed, stack) == loaded


def test_every_setting_without_a_default_is_asked_for() -> None:
    asked = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())["template"]["config"]
    defaults = {key: entry["default"] for key, entry in asked.items() if "default" in entry}
    needed = {f"llm-gateway:{key}": value for key, value in NEEDED.items()}
    assert asked.keys() == defaults.keys() | needed.keys()
    entries = defaults | needed
    settings.parse(entries, "staging")
    for key in needed:
        with pytest.raises(settings.SettingsError, match="the key is missing"):
            settings.parse({other: value for other, value in entries.items() if other != key}, "staging")
