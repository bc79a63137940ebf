"""Finer times than the engine's: its event log has whole seconds, so note when each line of it arrives.

`python -m tools.report.event_times LOG` notes them until its standard input ends.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from threading import Event, Thread

from tools.review.events import Operation, parse

INTERVAL = 0.02
"""Seconds between two looks at the log: how exact the times are."""


def beside(log: Path) -> Path:
    """The file of arrival times that belongs to an event log: seconds since 1970, a line for each of the log's."""
    return log.with_suffix(".times")


def note(log: Path, over: Event) -> None:
    """Note arrival times while an engine writes `log`, which need not be there yet, until `over` is set."""
    seen = 0
    with beside(log).open("w") as times:
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
    """The operation in an event log, and whether its times are arrival times rather than whole seconds.

    Raises OSError for a file that cannot be read, ValueError for one that is no event log.
    """
    events = [json.loads(line) for line in log.read_text(errors="replace").split("\n")[:-1] if line.strip()]
    times = beside(log).read_text().split() if beside(log).exists() else []
    if len(times) != len(events):  # no one noted them, or not those of this log
        return parse(events), False
    return parse(event | {"timestamp": time} for event, time in zip(events, times, strict=True)), True


if __name__ == "__main__":
    over = Event()
    noting = Thread(target=note, args=(Path(sys.argv[1]), over))
    noting.start()
    sys.stdin.read()
    over.set()
    noting.join()
