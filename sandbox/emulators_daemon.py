"""Starts the process that plays what runs inside the cluster on GKE (`python -m sandbox.emulators`)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.errors import SandboxError
from sandbox.paths import Home
from sandbox.processes import fork_command, running, start_daemon

MODULE = "sandbox.emulators"


def is_up(home: Home) -> bool:
    """Whether the emulators run and have said that they serve."""
    return home.daemon_ready.exists() and MODULE in running(home).values()


def start(home: Home, environment: Mapping[str, str]) -> None:
    """Start the emulators; returns once they serve. Raises SandboxError with the end of their log if they end instead."""
    home.daemon_ready.unlink(missing_ok=True)
    command = fork_command(home, MODULE)
    if not start_daemon(home, command, environment, home.daemon_log, home.daemon_ready.exists):
        tail = home.daemon_log.read_text()[-1500:]
        raise SandboxError(f"the emulators did not start; the end of {home.daemon_log}:\n{tail}")
