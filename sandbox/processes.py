"""The processes of one sandbox: told by their command line, so that a stale pid never hits someone else's process.

The control plane's binaries run from links inside the home; Python processes carry the home in a `-X sandbox=` option
(see `python_command`). Nothing else is ever signalled: not the user's shell, not an editor open on a log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence, Set
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import Home

_PATIENCE = 5.0


def python_command(home: Home, module: str) -> list[str]:
    """The command that runs `module` as a process of the sandbox; PYTHONPATH must be the repository.

    `-P`: a copy of the repository in the current folder must not come before it.
    """
    return [sys.executable, "-X", f"sandbox={home.root}", "-P", "-m", module]


def is_ours(command: Sequence[str], home: Home) -> bool:
    """Whether a command line belongs to the sandbox at `home`."""
    return bool(command) and (
        command[0].startswith(f"{home.kwok}{os.sep}") or f"sandbox={home.root}" in command[1:3]
    )


def running(home: Home) -> dict[int, str]:
    """The sandbox's live processes: pid to program name."""
    commands = _commands_linux() if Path("/proc/self/cmdline").exists() else _commands_ps()
    return {
        pid: Path(command[0]).name if command[0].startswith(str(home.kwok)) else command[-1]
        for pid, command in commands.items()
        if is_ours(command, home)
    }


def stop_all(home: Home) -> list[str]:
    """Terminate every process of the sandbox, kill those that stay, and verify that none is left.

    Returns the names of what was stopped. Raises SandboxError when something survives.
    """
    stopped = sorted(running(home).values())
    # etcd last: an API server that lost it takes long to stop.
    for later in ({"etcd"}, set()):
        if survivors := _stop(home, later):
            names = ", ".join(f"{name} (pid {pid})" for pid, name in survivors.items())
            raise SandboxError(f"could not stop {names}: end them by hand, then run `make down` again.")
    return stopped


def _stop(home: Home, spared: Set[str]) -> dict[int, str]:
    left: dict[int, str] = {}
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _PATIENCE
        signalled: set[int] = set()
        while left := {pid: name for pid, name in running(home).items() if name not in spared}:
            for pid in left.keys() - signalled:
                _signal(pid, sign)
            signalled |= left.keys()
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            break
    return left


def _signal(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        pass


def _commands_linux() -> dict[int, list[str]]:
    commands: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            raw = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if raw:
            commands[int(entry.name)] = os.fsdecode(raw.rstrip(b"\0")).split("\0")
    return commands


def _commands_ps() -> dict[int, list[str]]:
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): command for pid, *command in rows if command}
