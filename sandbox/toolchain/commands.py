"""Runs long commands: shows that they advance, keeps what they say, leaves none behind.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

LAST_LINES = 12
SECONDS_TO_CLEAN_UP = 10.0


@dataclass(frozen=True)
class Result:
    """How a command ended: its exit code, and its output without the lines that only told of progress."""

    code: int
    lines: list[str]

    @property
    def tail(self) -> str:
        """The last lines, each once, indented."""
        return "\n".join(f"  {line}" for line in list(dict.fromkeys(self.lines))[-LAST_LINES:])


def run(
    command: list[str],
    environment: Mapping[str, str],
    cwd: Path,
    watch: Callable[[str], bool] = lambda line: False,
    status: Callable[[], str] = lambda: "",
) -> Result:
    """Run a command that may take minutes; call it from the main thread.

    `watch` is shown each line of either output and returns True for one that only tells of progress.
    `status` says how far the command is: printed with the elapsed time every ten seconds, on a terminal
    every second in place. The command has a process group of its own, which ends when this process does.
    """
    with (
        _termination_raises(),
        subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            with _ticking(status):
                lines = [line.rstrip() for line in process.stdout or () if not watch(line.rstrip())]
            return Result(process.wait(), lines)
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt the group, so that Go removes its temporary files, then kill what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_CLEAN_UP)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _termination_raises() -> Generator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, which unwinds as KeyboardInterrupt does."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ticking(status: Callable[[], str]) -> Generator[None]:
    """Print the status until the block ends."""
    done = threading.Event()
    start = time.monotonic()
    before, after, interval = ("\r\033[K", "", 1) if sys.stderr.isatty() else ("", "\n", 10)

    def tick() -> None:
        while not done.wait(interval):
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            print(f"{before}  {minutes}:{seconds:02d}  {status()}", end=after, file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
