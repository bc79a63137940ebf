"""Which environments a change affects: those whose settings it touches, or all when it touches the program.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

STAGES = ".github/stages"
"""Which stacks there are, one per line, in the order in which they are deployed."""


def environments(root: Path) -> list[str]:
    """The stacks that have settings in the repository, each after those that it is deployed after.

    Raises ValueError where STAGES and the files of settings do not name the same stacks.
    """
    lines = (root / STAGES).read_text().splitlines()
    stages = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    named = {path.name.removeprefix("Pulumi.")[: -len(".yaml")] for path in root.glob("Pulumi.*.yaml")}
    if unplaced := sorted(named - {*stages}):
        raise ValueError(
            f"{STAGES} does not name {', '.join(unplaced)}: when to deploy it would be a guess. "
            "Write each on a line of its own, below what is to be deployed before it."
        )
    if gone := [stage for stage in stages if stage not in named or stages.count(stage) > 1]:
        raise ValueError(
            f"{STAGES} names {', '.join(gone)} twice, or without a file Pulumi.{gone[0]}.yaml: nothing would be deployed "
            "there. Take the line out."
        )
    return stages


def program(root: Path) -> set[str]:
    """Files and folders at the root that the program consists of.

    What Pulumi reads itself, the program's and the policies' entry points, and everything that these import.
    """
    found = {"Pulumi.yaml", "requirements.txt"}
    todo = ["__main__.py", "policy"]
    while todo:
        name = todo.pop()
        if name not in found and (root / name).exists():
            found.add(name)
            packages = {module.partition(".")[0] for module in _imports(root / name)}
            todo += [*packages, *(f"{package}.py" for package in packages)]
    return found


def _imports(path: Path) -> Iterator[str]:
    """The modules that a file, or any file in a folder, imports."""
    for file in path.rglob("*.py") if path.is_dir() else [path]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module


def touched(files: Iterable[str], known: list[str], root: Path) -> list[str]:
    """The stacks of `known` that a change of files (paths relative to `root`) affects."""
    parts = program(root)
    stacks: set[str] = set()
    for file in filter(None, files):
        if settings := re.fullmatch(r"Pulumi\.(.+)\.yaml", file):
            stacks.add(settings[1])
        elif PurePosixPath(file).parts[0] in parts:
            return known
    return [stack for stack in known if stack in stacks]
