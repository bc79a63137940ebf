"""Starts the process that runs pods (`python -m sandbox.nodes.pods`), in sandboxes that run them."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.errors import SandboxError
from sandbox.network.addresses import available
from sandbox.paths import Home, write_atomically
from sandbox.processes import PODS, python_command, running, start_daemon
from sandbox.toolchain.cache import cache

_RUN, _PLAYED = "run", "played"


def runs(home: Home) -> bool:
    """Whether this home's pods run rather than being played."""
    return home.pods_mode.exists() and home.pods_mode.read_text() == _RUN


def choose(home: Home, played: bool | None) -> None:
    """Settle at a home's first start whether its pods are run or played; None is what it is, or run where that can be.

    Raises SandboxError where it is the other already: what pods left behind is of no use to the other kind.
    """
    wanted = None if played is None else _PLAYED if played else _RUN
    if home.pods_mode.exists():
        known = home.pods_mode.read_text()
        if wanted not in (None, known):
            raise SandboxError(
                f"the pods of {home.root} are {known}, from its first start on: for the other kind `make down`, remove that "
                "folder, and start again."
            )
        return
    write_atomically(home.pods_mode, wanted or (_RUN if available() else _PLAYED))


def is_up(home: Home) -> bool:
    """Whether the node runtime runs and has said that it serves."""
    return home.pods_ready.exists() and PODS in running(home).values()


def start(home: Home, environment: Mapping[str, str]) -> None:
    """Start the node runtime; returns once it serves. Raises SandboxError with the end of its log if it ends instead."""
    home.pods_ready.unlink(missing_ok=True)
    command = python_command(home, PODS)
    # HOME is the sandbox's there: what containers run is in the user's cache.
    environment = {**environment, "LLM_GATEWAY_CACHE": str(cache())}
    if not start_daemon(home, command, environment, home.pods_log, home.pods_ready.exists):
        tail = home.pods_log.read_text()[-1500:]
        raise SandboxError(f"the node runtime did not start; the end of {home.pods_log}:\n{tail}")
