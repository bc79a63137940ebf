"""Go programs that no sandbox runs: each is built once, when a command asks for it, from a manifest of its own."""

from __future__ import annotations

from pathlib import Path

from sandbox.toolchain.build import check_build
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace
from sandbox.toolchain.commands import run
from sandbox.toolchain.golang import go_command


def ensure(name: str, manifest: str) -> Path:
    """The path of the program whose Go manifest is the folder `manifest`; where this machine has none, it is built: seconds.

    Raises SandboxError.
    """
    folder = Path(__file__).resolve().parent / manifest
    program = cache() / name / fingerprint(*((folder / file).read_text() for file in ("go.mod", "go.sum")))
    if not program.exists():
        with locked(program.parent), workspace(program.parent) as work:
            go, environment = go_command()
            command = [*go, "build", "-o", f"{work}/{name}", "tool"]
            check_build("Building", run(command, environment | {"CGO_ENABLED": "0"}, folder))
            Path(work, name).rename(program)
    return program
