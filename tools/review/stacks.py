"""Which environments a change is of: those whose settings it touches, or all when it touches the program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

# What no environment runs. Everything else is taken for the program, so that a new module is not forgotten.
_BESIDE = frozenset(
    {".ci", ".github", "docs", "examples", "report", "review", "sandbox", "tests", "validate"}
    | {".gitignore", "LICENSE", "Makefile", "renovate.json", "requirements-dev.txt", "stack.schema.json"}
)


def environments(root: Path) -> list[str]:
    """The stacks that have settings in the repository, by name."""
    return sorted(path.name.removeprefix("Pulumi.")[: -len(".yaml")] for path in root.glob("Pulumi.*.yaml"))


def touched(files: Iterable[str], known: list[str]) -> list[str]:
    """The stacks of `known` that changed files (paths from the repository's root) are of."""
    stacks: set[str] = set()
    for file in filter(None, files):
        path = PurePosixPath(file)
        if settings := re.fullmatch(r"Pulumi\.(.+)\.yaml", file):
            stacks.add(settings[1])
        elif path.parts[0] not in _BESIDE and path.suffix != ".md":
            return known
    return [stack for stack in known if stack in stacks]
