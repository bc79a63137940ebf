"""Times the phases of setting up, for the person who waits and for the figures in the README.

Standard library only, and readable by old Pythons: bootstrap.py uses it before a supported one is found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager


class Phases:
    """Wall times by phase, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Announce a phase, run the block, and note how long it took; a failing block is not noted."""
        say(f"{name} ...")
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)
        say(f"{name}: {self.seconds[name]:.1f} s")


@contextmanager
def timed(what: str) -> Generator[None]:
    """Say what was done and how long it took, once it is done."""
    start = time.monotonic()
    yield
    say(f"{what} ({time.monotonic() - start:.1f} s)")


def say(line: str) -> None:
    """Print a line to standard error, over an updating progress line if there is one."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}{line}", file=sys.stderr, flush=True)
