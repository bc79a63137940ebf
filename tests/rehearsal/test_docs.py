"""The commands of the documents that a sandbox can run: each page's in its order, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.network.addresses import available
from sandbox.paths import HOME_VARIABLE, REPOSITORY
from sandbox.stack_file import merged
from tests.support.documents import Block, blocks, pages
from tests.support.driver import NOT_COPIED, NOT_IN_GIT
from tests.support.sandboxes import Sandboxes

STACK = "dev"
README = REPOSITORY / "README.md"
IN_THE_SANDBOX = ("pulumi", "kubectl", "helm")
"""Programs that are on its PATH; a block that calls one is run in its environment, as in `make shell`."""


def to_run() -> dict[Path, list[Block]]:
    """The blocks that are run here, the settings that stand above them, and what they print, by page."""
    ran: dict[Path, list[Block]] = {}
    for page in pages():
        marked = list(blocks(page, "sh", "yaml", "text"))
        for above, block, below in zip([None, *marked], marked, [*marked[1:], None], strict=False):
            if block.mark == "run: sandbox" or (block.mark == "run: where pods run" and available()):
                settings = [above] if above and above.kind == "settings" else []
                printed = [below] if below and below.mark == "printed" and available() else []
                first = README if block.mark == "run: where pods run" else page
                ran.setdefault(first, []).extend([*settings, block, *printed])
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


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    clone = shutil.copytree(REPOSITORY, tmp_path / "clone", ignore=NOT_IN_GIT)
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


def alike(text: str) -> str:
    """A text without what differs from run to run: numbers, and the length of lines and gaps."""
    text = re.sub(r"\d[\d.]*(e-\d+)?", "0", text)
    return re.sub(r"\s+", " ", re.sub(r"([━─])+", r"\1", text)).strip()


def write(clone: Path, block: Block) -> None:
    """Put settings into the stack file, as a reader would, and let the sandbox read it."""
    file = clone / f"Pulumi.{block.what}.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(merged(content, {"config": yaml.safe_load(block.text)})))
    run(clone, "make preview")


def test_the_readme_brings_a_stack_up() -> None:
    ran = to_run()
    assert ran[README][0].text.startswith("make up")
    assert {block.what for page in ran.values() for block in page if block.kind == "settings"} <= {STACK}


@pytest.mark.parametrize("page", to_run(), ids=lambda page: page.name)
def test_commands(sandboxes: Sandboxes, clone: Path, page: Path) -> None:
    """Every page but the README begins where the README's `make up` ends."""
    if page != README:
        up = sandboxes.origin(STACK).home.root
        shutil.copytree(up, clone / ".sandbox" / STACK, symlinks=True, ignore=NOT_COPIED)
    printed = ""
    for block in to_run()[page]:
        if block.kind == "settings":
            write(clone, block)
        elif block.mark == "printed":
            expected = ".*".join(map(re.escape, re.split(" ?… ?", alike(block.text))))
            assert re.search(expected, alike(printed)), f"{block}: it printed\n{printed}"
        else:
            printed = run(clone, block.text.replace("<stack>", STACK))
