"""Starts the process that plays what runs inside the cluster on GKE (`python -m sandbox.emulators`)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping

from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY, Home
from sandbox.processes import fork_command, running

MODULE = "sandbox.emulators"
_START_TIMEOUT = 30.0  # seconds


def is_up(home: Home) -> bool:
    """Whether the emulators run and have said that they serve."""
    return home.daemon_ready.exists() and MODULE in running(home).values()


def start(home: Home, environment: Mapping[str, str]) -> None:
    """Start the emulators; returns once they serve. Raises SandboxError with the end of their log if they end instead."""
    home.daemon_ready.unlink(missing_ok=True)
    with home.daemon_log.open("a") as log:
        process = subprocess.Popen(
            fork_command(home, MODULE),
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT
    while not home.daemon_ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = home.daemon_log.read_text()[-1500:]
            raise SandboxError(f"the emulators did not start; the end of {home.daemon_log}:\n{tail}")
        time.sleep(0.05)
