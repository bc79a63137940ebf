"""The times at which events arrive: those in the engine's event log are whole seconds.

`python -m tools.report.event_times LOG` records them until its standard input ends.
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from tools.review.events import Operation, decoded, parse

INTERVAL = 0.02
"""Seconds between two reads of the log, and so the precision of the times."""


def beside(log: Path) -> Path:
    """The file with the times of an event log's lines: seconds since 1970, one per line."""
    return log.with_suffix(".times")


def note(log: Path, over: Event) -> None:
    """Record the times while an engine writes `log`, which need not exist yet, until `over` is set.

    A full disk costs the times alone: `read` then takes those of the log.
    """
    seen = 0
    with suppress(OSError), beside(log).open("w") as times:
        last = False
        while not last:
            last = over.wait(INTERVAL)
            if log.exists():
                with log.open("rb") as lines:
                    lines.seek(seen)
                    fresh = lines.read()
                seen += len(fresh)
                times.write(f"{time.time():.3f}\n" * fresh.count(b"\n"))


def read(log: Path) -> tuple[Operation, bool]:
    """The operation in an event log, and whether its times are those of `note` rather than whole seconds.

    Raises OSError if the file cannot be read, ValueError if it is no event log.
    """
    events = decoded(log)
    times = beside(log).read_text().split() if beside(log).exists() else []
    if len(times) != len(events):  # none were recorded, or those of another log
        return parse(events), False
    return parse(event | {"timestamp": time} for event, time in zip(events, times, strict=True)), True


if __name__ == "__main__":
    # Ctrl-C is for the engine, which ends its log before it goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    over = Event()
    noting = Thread(target=note, args=(Path(sys.argv[1]), over))
    noting.start()
    sys.stdin.read()
    over.set()
    noting.join()
