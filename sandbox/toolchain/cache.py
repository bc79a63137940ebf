"""The folder of built and downloaded programs that the clones on a machine share, and how processes share it.

Standard library only, and readable by old Pythons: bootstrap.py uses it before a supported one is found.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from sandbox.phases import say


def cache() -> Path:
    """`LLM_GATEWAY_CACHE`, or `llm-gateway` in the user's cache folder."""
    chosen = os.environ.get("LLM_GATEWAY_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-gateway"


def fingerprint(*parts: str) -> str:
    """Sixteen hex digits that stand for the parts and for this machine's platform."""
    return hashlib.sha256("\0".join([*parts, sys.platform, platform.machine()]).encode()).hexdigest()[:16]


@contextlib.contextmanager
def locked(directory: Path) -> Generator[None]:
    """Make a folder and hold it alone; another process that holds it is waited for, with a message."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is filling {directory}; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def workspace(directory: Path) -> Generator[str]:
    """A temporary folder in a `locked` one, from which the caller renames what is complete into its place.

    What killed processes left in theirs is removed first.
    """
    for stale in directory.glob(".unfinished-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=".unfinished-", dir=directory, ignore_cleanup_errors=True
    ) as work:
        yield work
