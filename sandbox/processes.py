"""The processes of one sandbox: told by their command line, so that a stale pid never hits someone else's process.

Every binary runs from a link inside the home; Python processes carry the home in a `-X sandbox=` option (see
`python_command`); the processes of containers carry it in their environment. Nothing else is ever signalled: not the
user's shell, not an editor open on a log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import IO

from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY, Home

CONTAINER = "LLM_GATEWAY_CONTAINER"
"""Variable of every process of a container: the sandbox's home, a colon, pod and container."""
_START_TIMEOUT = 120.0  # seconds: with ten times as much to do as a machine has cores, imports take a minute
PODS = "sandbox.nodes.pods"
"""The node runtime's module."""
_STOP_TIMEOUT = 5.0  # seconds, before and after the kill


def python_command(home: Home, module: str) -> list[str]:
    """The command that runs `module` as a process of the sandbox; PYTHONPATH must be the repository.

    `-P`: a copy of the repository in the current folder must not come before it.
    """
    return [sys.executable, "-X", f"sandbox={home.root}", "-P", "-m", module]


def fork_command(home: Home, module: str) -> list[str]:
    """The command that runs `module` as a process of the sandbox, forked off the home's fork server where there is one."""
    client = REPOSITORY / "sandbox" / "plugins" / "fork_client.py"
    return [sys.executable, "-X", f"sandbox={home.root}", "-IS", str(client), str(home.fork_socket), module]


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path, output: IO[str] | None = None) -> int:
    """Run a command in the foreground; it decides what an interrupt means, we wait for it."""
    program = shutil.which(command[0], path=env["PATH"])
    if not program:
        raise SandboxError(f"{command[0]} is not on the sandbox's PATH, {env['PATH']}")
    errors = output and subprocess.STDOUT
    with subprocess.Popen([program, *command[1:]], env=env, cwd=cwd, stdout=output, stderr=errors) as process:
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            return process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def start_daemon(
    home: Home, command: list[str], environment: Mapping[str, str], log: Path, ready: Callable[[], bool]
) -> bool:
    """Start a process of this repository's Python that outlives this one; whether it was `ready` in time."""
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_ours(command: Sequence[str], home: Home) -> bool:
    """Whether a command line belongs to the sandbox at `home`."""
    return bool(command) and (
        command[0].startswith(f"{home.root}{os.sep}") or f"sandbox={home.root}" in command[1:3]
    )


def running(home: Home) -> dict[int, str]:
    """The sandbox's live processes: pid to program name."""
    commands = _commands_linux() if Path("/proc/self/cmdline").exists() else _commands_ps()
    found = {
        pid: Path(command[0]).name if Path(command[0]).is_relative_to(home.root) else command[-1]
        for pid, command in commands.items()
        if is_ours(command, home)
    }
    return found | _containers(home)


def began_at(pid: int) -> str:
    """When a process began, in the kernel's own count. Raises OSError where none of that number runs."""
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state == "Z":
        raise ProcessLookupError(pid)
    return rest[18]


def stop_containers(home: Home) -> None:
    """Kill what is left of containers' processes."""
    for pid in _containers(home):
        _signal(pid, signal.SIGKILL)


def _containers(home: Home) -> dict[int, str]:
    """The processes of containers: pid to pod and container. Linux alone runs any.

    By their environment, which their children have, too; the first of each also by the note of its start, as some programs
    write over their environment.
    """
    found: dict[int, str] = {}
    for note in home.pods.glob("*/*/process"):
        with contextlib.suppress(OSError, ValueError):
            pid, began, name = note.read_text().split()
            if began == began_at(int(pid)):
                found[int(pid)] = name
    mark = f"{CONTAINER}={home.root}:".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            for variable in entry.read_bytes().split(b"\0"):
                if variable.startswith(mark):
                    found[int(entry.parent.name)] = variable.removeprefix(mark).decode()
    return found


def stop(home: Home, names: Set[str] | None = None) -> list[str]:
    """Terminate the sandbox's processes, kill those that stay, and verify that none is left.

    `names` are programs as `running` calls them; None is all. Returns the names of what was stopped. Raises
    SandboxError when something survives.
    """

    def wanted(name: str) -> bool:
        return names is None or name in names

    stopped = sorted(filter(wanted, running(home).values()))
    # The node runtime first: it stops its containers. etcd last: an API server that lost it takes long to stop.
    for chosen in (
        lambda name: wanted(name) and name == PODS,
        lambda name: wanted(name) and name != "etcd",
        wanted,
    ):
        if survivors := _stop(home, chosen):
            listed = ", ".join(f"{name} (pid {pid})" for pid, name in survivors.items())
            raise SandboxError(f"could not stop {listed}: end them by hand, then run `make down` again.")
    return stopped


def _stop(home: Home, chosen: Callable[[str], bool]) -> dict[int, str]:
    survivors: dict[int, str] = {}
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _STOP_TIMEOUT
        signalled: set[int] = set()
        while survivors := {pid: name for pid, name in running(home).items() if chosen(name)}:
            for pid in survivors.keys() - signalled:
                _signal(pid, sign)
            signalled |= survivors.keys()
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            break
    return survivors


def _signal(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


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
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): command for pid, *command in rows if command}
