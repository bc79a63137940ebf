"""A program that is not ours in the sandbox's shell, and what of our stack the real providers could go on with."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from components.ownership import FIELD_MANAGER
from tests.support.driver import Sandbox

PROGRAM = """
import pulumi
import pulumi_kubernetes as kubernetes

greeting = pulumi.Config().require("greeting")
kubernetes.core.v1.ConfigMap("greeting", metadata={"name": "greeting"}, data={"text": greeting})
pulumi.export("greeting", greeting)
"""


SECRET = "4dabf18193072939515e22adb298388d"
"""Key of a secret in a state, https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/sig/sig.go."""


def test_a_program_of_another_folder_has_its_own_stack_and_reaches_the_cluster(
    empty: Sandbox, tmp_path: Path
) -> None:
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "theirs", "runtime": runtime}))
    (tmp_path / "__main__.py").write_text(PROGRAM)
    commands = "pulumi stack init mine && pulumi config set greeting hello && pulumi up --yes --skip-preview"
    run = ("exec", "--", "sh", "-e", "-c")
    empty.run(*run, f"cd {tmp_path}; {commands}; pulumi stack output greeting").succeeded()
    assert yaml.safe_load((tmp_path / "Pulumi.mine.yaml").read_text())["config"] == {
        "theirs:greeting": "hello"
    }
    assert empty.namespaced("configmaps", "default", "greeting")["data"] == {"text": "hello"}
    # Ours is still selected in our program's folder.
    assert empty.run(*run, "pulumi stack --show-name").succeeded().text.strip().endswith("dev")
    assert "theirs:greeting" not in empty.home.stack_file("dev").read_text()


def test_the_state_keeps_what_the_real_kubernetes_provider_reads(first_up: Sandbox) -> None:
    """Without `__inputs` it would compare the program with nothing, and replace every object."""
    objects = [
        resource
        for resource in first_up.resources()
        if resource["type"].startswith("kubernetes:")
        and resource.get("custom")
        and not resource.get("external")  # what is only looked up has no inputs in the state
    ]
    assert len(objects) > 30
    for resource in objects:
        outputs = resource["outputs"]
        if resource["type"] == "kubernetes:helm.sh/v3:Release":
            assert SECRET in outputs["__inputs"], resource["urn"]  # it ends with a panic where they are none
        else:
            assert outputs["__inputs"] == resource["inputs"], resource["urn"]
            assert outputs["__initialApiVersion"] == outputs["apiVersion"]
            # The real one keeps the manager that pulumi.com/patchFieldManager names.
            assert outputs["__fieldManager"] == FIELD_MANAGER
