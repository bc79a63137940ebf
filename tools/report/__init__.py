"""One HTML page about the last `up`: what waits for what, the outcome, and where the time went."""

from __future__ import annotations

from pathlib import Path

from tools.report import event_times, graph, page


def write(state_file: Path, event_log: Path, out: Path, title: str | None = None) -> None:
    """Write the page about the operation in an event log and the state after it.

    Raises OSError if a file cannot be read or written, ValueError if a file holds something else.
    """
    state = graph.read(state_file)
    operation, exact = event_times.read(event_log)
    out.write_text(page.html(state, operation, title or page.default_title(state), exact))
