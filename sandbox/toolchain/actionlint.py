"""`python -m sandbox.toolchain.actionlint`: checks .github/workflows with actionlint."""

from __future__ import annotations

import subprocess
import sys

from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY
from sandbox.toolchain.extra import ensure


def main() -> int:
    """Lint the workflows; returns the exit code."""
    # Other linters that it would start where they happen to be installed: the result is the same everywhere.
    options = ["-shellcheck=", "-pyflakes="]
    try:
        linter = ensure("actionlint", "go-lint")
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run([str(linter), *options], cwd=REPOSITORY, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
