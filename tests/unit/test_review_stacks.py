"""Which environments a change is of."""

from __future__ import annotations

import pytest

from sandbox.paths import REPOSITORY
from tests.support.driver import PROGRAM
from tools.review.stacks import environments, touched

KNOWN = ["dev", "prod"]


def test_environments_are_those_with_settings() -> None:
    assert environments(REPOSITORY) == KNOWN


@pytest.mark.parametrize("file", [name for name in PROGRAM if not name.startswith("Pulumi.")])
def test_the_program_is_everyones(file: str) -> None:
    changed = f"{file}/x.py" if (REPOSITORY / file).is_dir() else file
    assert touched([changed], KNOWN) == KNOWN


@pytest.mark.parametrize("file", ["Pulumi.yaml", "requirements.txt", "policy/iam.py", "a_new_module/x.py"])
def test_what_is_not_known_is_everyones(file: str) -> None:
    assert touched([file], KNOWN) == KNOWN


def test_settings_are_one_environments() -> None:
    assert touched(["Pulumi.prod.yaml"], KNOWN) == ["prod"]
    assert touched(["Pulumi.prod.yaml", "Pulumi.dev.yaml"], KNOWN) == KNOWN
    assert touched(["Pulumi.gone.yaml"], KNOWN) == []


def test_what_no_environment_runs_is_no_ones() -> None:
    beside = [
        "docs/network.md",
        "tests/support/edges.py",
        "sandbox/google/cloud.py",
        ".github/workflows/preview.yml",
    ]
    assert touched([*beside, "README.md", "Makefile", ""], KNOWN) == []
