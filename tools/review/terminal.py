"""An operation as tables in the terminal."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.review.components import rows
from tools.review.events import Operation
from tools.review.model import PAST, Line, Review, changes
from tools.review.notes import notes

_COLOURS = {
    "ready": "green",
    "failed": "red",
    "not reached": "yellow",
    "create": "green",
    "update": "yellow",
    "replace": "magenta",
    "delete": "red",
}


def show(operation: Operation, review: Review) -> None:
    """Print a preview's changes, or the outcome of an operation's components, then the outputs."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if operation.preview:
        console.print(f"Preview: {review.headline}", markup=False)
        if review.lines:
            console.print(_changes(review.lines))
    else:
        console.print(_components(operation))
    if review.protected:
        names = ", ".join(f"{line.name} ({line.op})" for line in review.protected)
        console.print(f"Touches what is protected: {names}", markup=False)
    if review.policies:
        console.print(review.policies)
    for note in notes(operation):
        console.print(note, markup=False)
    if operation.outputs and operation.succeeded:
        table = Table("output", "value", title="Outputs", title_justify="left")
        for name, content in sorted(operation.outputs.items()):
            table.add_row(name, escape(content if isinstance(content, str) else json.dumps(content)))
        console.print(table)


def _changes(lines: list[Line]) -> Table:
    table = Table("", "resource", "type", "what changes", title="Changes", title_justify="left")
    for line in lines:
        op = f"[{_COLOURS.get(line.op, 'dim')}]{line.op}[/]"
        table.add_row(op, escape(line.name), escape(line.type), escape("\n".join(changes(line))))
    return table


def _components(operation: Operation) -> Table:
    table = Table("component", "type", "outcome", "changes", "took", title="Components", title_justify="left")
    for row in rows(operation):
        colour = _COLOURS.get(row.outcome, "dim")
        counts = ", ".join(f"{count} {PAST.get(op, op)}" for op, count in sorted(row.changes.items()))
        took = f"{row.seconds:.0f} s" if counts else ""
        table.add_row(row.name, row.type, f"[{colour}]{row.outcome}[/]", counts, took)
    return table
