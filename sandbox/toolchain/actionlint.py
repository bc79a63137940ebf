"""`python -m sandbox.toolchain.actionlint`: checks .github/workflows with actionlint, built once from the Go manifest in go-lint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY
from sandbox.toolchain.build import check_build
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace
from sandbox.toolchain.commands import run
from sandbox.toolchain.golang import go_command

MANIFEST = Path(__file__).resolve().parent / "go-lint"


def ensure() -> Path:
    """The linter's path; it is built first where this machine has none: seconds. Raises SandboxError."""
    pins = [(MANIFEST / name).read_text() for name in ("go.mod", "go.sum")]
    program = cache() / "actionlint" / fingerprint(*pins)
    if not program.exists():
        with locked(program.parent), workspace(program.parent) as work:
            go, environment = go_command()
            command = [*go, "build", "-o", f"{work}/actionlint", "tool"]
            check_build("Building", run(command, environment | {"CGO_ENABLED": "0"}, MANIFEST))
            Path(work, "actionlint").rename(program)
    return program


def main() -> int:
    """Lint the workflows; returns the exit code."""
    # Other linters that it would start where they happen to be installed: the result is the same everywhere.
    options = ["-shellcheck=", "-pyflakes="]
    try:
        return subprocess.run([str(ensure()), *options], cwd=REPOSITORY, check=False).returncode
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
