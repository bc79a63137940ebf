"""Which environments a change affects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.paths import REPOSITORY
from tests.support.driver import PROGRAM
from tools.review.stacks import STAGES, environments, program, touched

KNOWN = ["dev", "prod"]


def test_environments_are_those_with_settings() -> None:
    assert environments(REPOSITORY) == KNOWN


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("prod\ntest # not a comment\n", "does not name test: when to deploy it would be a guess"),
        ("test\n", "does not name prod"),
        ("test\nprod\nold\n", "names old twice, or without a file Pulumi.old.yaml"),
        ("test\nprod\ntest\n", "names test, test twice"),
    ],
)
def test_every_environment_has_its_stage(tmp_path: Path, stages: str, said: str) -> None:
    for stack in ("prod", "test"):
        (tmp_path / f"Pulumi.{stack}.yaml").touch()
    (tmp_path / ".github").mkdir()
    file = tmp_path / STAGES
    file.write_text("# First the one that nobody misses.\ntest\n\nprod\n")
    assert environments(tmp_path) == ["test", "prod"]
    file.write_text(stages)
    with pytest.raises(ValueError, match=re.escape(said)):
        environments(tmp_path)


@pytest.mark.parametrize(
    "file", sorted({*PROGRAM, "policy", "requirements.txt"} - {f"Pulumi.{name}.yaml" for name in KNOWN})
)
def test_the_program_is_everyones(file: str) -> None:
    changed = f"{file}/x.py" if (REPOSITORY / file).is_dir() else file
    assert touched([changed], KNOWN, REPOSITORY) == KNOWN


def test_the_program_is_what_its_entry_points_import(tmp_path: Path) -> None:
    files = {
        "__main__.py": "from a.b import c",
        "a/b.py": "import pulumi\ndef f():\n    import d",
        "d.py": "from . import unused",
        "policy/__main__.py": "import e.f, g",
        **dict.fromkeys(("e/f.py", "g.py", "unused.py", "tools/x.py", "docs/y.md"), ""),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    parts = {"__main__.py", "a", "d.py", "policy", "e", "g.py"}
    assert program(tmp_path) == {"Pulumi.yaml", "requirements.txt", *parts}


def test_settings_are_one_environments() -> None:
    assert touched(["Pulumi.prod.yaml"], KNOWN, REPOSITORY) == ["prod"]
    assert touched(["Pulumi.prod.yaml", "Pulumi.dev.yaml"], KNOWN, REPOSITORY) == KNOWN
    assert touched(["Pulumi.gone.yaml"], KNOWN, REPOSITORY) == []


def test_what_no_environment_runs_is_no_ones() -> None:
    beside = ("docs/network.md", "tests/support/edges.py", "sandbox/google/cloud.py", "tools/report/page.py")
    beside += (".github/workflows/preview.yml", "README.md", "Makefile", "")
    assert touched(beside, KNOWN, REPOSITORY) == []
