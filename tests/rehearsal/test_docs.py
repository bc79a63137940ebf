"""The commands of the documents that a sandbox can run, in the order of the pages, in one copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.paths import HOME_VARIABLE, REPOSITORY
from sandbox.stack_file import merged
from tests.support.documents import Block, blocks, pages

STACK = "dev"
NOT_IN_GIT = shutil.ignore_patterns(".git", ".venv", ".sandbox", ".*_cache", "__pycache__", ".hypothesis")
IN_THE_SANDBOX = ("pulumi", "kubectl", "helm")
"""Programs that are on its PATH; a block that calls one is run in its environment, as in `make shell`."""


def to_run() -> list[Block]:
    """The blocks that are run here, and the settings that stand above them. The page that tears down comes last."""
    last = sorted(pages(), key=lambda page: page.name == "operations.md")
    marked = [block for page in last for block in blocks(page, "sh", "yaml")]
    ran: list[Block] = []
    for above, block in zip([None, *marked], marked, strict=False):
        if block.mark == "run: sandbox":
            if above and above.page == block.page and above.kind == "settings":
                ran.append(above)
            ran.append(block)
    return ran


def virtual_environment(clone: Path) -> None:
    """This interpreter's environment under the clone's own path, complete by the clone's own word."""
    (clone / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "complete":
            (clone / ".venv" / part.name).symlink_to(part)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stamp = f"from sandbox.toolchain.bootstrap import STAMP, stamp; STAMP.write_text(stamp('{version}'))"
    subprocess.run([sys.executable, "-c", stamp], cwd=clone, check=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    clone = shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("docs") / "clone", ignore=NOT_IN_GIT)
    virtual_environment(clone)
    yield clone
    run(clone, "make down")


def run(clone: Path, script: str) -> str:
    command = ["sh", "-euc", script]
    if any(line.split()[:1] == [program] for line in script.splitlines() for program in IN_THE_SANDBOX):
        confirmed = ["env", "PULUMI_SKIP_CONFIRMATIONS=true", *command]
        command = [".venv/bin/python", "-m", "sandbox", "exec", "--stack", STACK, "--", *confirmed]
    env = {name: value for name, value in os.environ.items() if name != HOME_VARIABLE}
    env |= {"PYTHON": sys.executable, "PATH": os.pathsep.join([str(clone / ".venv" / "bin"), env["PATH"]])}
    done = subprocess.run(
        command,
        cwd=clone,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def write(clone: Path, block: Block) -> None:
    """Put settings into the stack file, as a reader would, and let the sandbox read it."""
    file = clone / f"Pulumi.{block.what}.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(merged(content, {"config": yaml.safe_load(block.text)})))
    run(clone, "make preview")


def test_something_is_run_first() -> None:
    assert to_run()[0].text.startswith("make up")
    assert {block.what for block in to_run() if block.kind == "settings"} <= {STACK}


@pytest.mark.parametrize("block", to_run(), ids=str)
def test_commands(clone: Path, block: Block) -> None:
    if block.kind == "settings":
        write(clone, block)
    else:
        run(clone, block.text.replace("<stack>", STACK))
