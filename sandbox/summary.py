"""What an engine operation did to each component, read from the engine's event log.

The log is one JSON object a line, `apitype.EngineEvent` of the Pulumi SDK; its times are whole seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_STACK = "pulumi:pulumi:Stack"
# How the engine marks secrets and values not yet known: pulumi/pulumi, sdk/go/common/resource/{sig,plugin}.
_SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

_UNTOUCHED = frozenset({"same", "read", "refresh"})
_WORDS = {
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "import": "imported",
    "fail": "failed",
}
_REPLACING = frozenset({"create-replacement", "delete-replaced", "discard-replaced", "read-replacement"})


@dataclass(frozen=True)
class Row:
    """One component: how it came out, its resources' changes by kind, the seconds from its first step to its last."""

    name: str
    type: str
    outcome: str
    changes: dict[str, int]
    seconds: int


@dataclass(frozen=True)
class Summary:
    """An operation: its components in the order in which the program made them, and the stack's outputs."""

    rows: list[Row]
    outputs: dict[str, Any]
    succeeded: bool
    preview: bool


@dataclass
class _Step:
    """One resource's way through the operation."""

    parent: str
    type: str
    component: bool
    op: str
    first: int
    last: int
    done: bool = False
    failed: bool = False
    below: list[str] = field(default_factory=list)


def read(log: Path) -> Summary:
    """The summary of an event log file."""
    with log.open() as lines:
        return summarise(json.loads(line) for line in lines if line.strip())


def summarise(events: Iterable[dict[str, Any]]) -> Summary:
    """The summary of decoded engine events."""
    steps: dict[str, _Step] = {}
    outputs: dict[str, Any] = {}
    result: dict[str, Any] = {}
    unregistered: set[str] = set()
    for event in events:
        if "preludeEvent" in event:
            # An operation that previews itself first starts over here.
            steps, outputs, unregistered = {}, {}, set()
        result = event.get("summaryEvent", result)
        for kind in ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"):
            if kind in event:
                meta = event[kind]["metadata"]
                _record(steps, kind, meta, event["timestamp"])
                if meta["type"] == _STACK and kind == "resOutputsEvent":
                    outputs = {
                        name: _plain(value) for name, value in (meta["new"] or {}).get("outputs", {}).items()
                    }
        refused = event.get("diagnosticEvent", {})
        if refused.get("severity") == "error" and refused.get("urn") not in steps:
            unregistered.add(_type_path(refused.get("urn", "")).rpartition("$")[0])
    for urn, step in steps.items():
        # The engine has no step for a resource that its provider's check refused; its URN has its parents' types.
        step.failed |= step.component and _type_path(urn) in unregistered
        if step.parent in steps:
            steps[step.parent].below.append(urn)
    preview = bool(result.get("isPreview"))
    rows = [
        _row(urn, steps, preview) for urn, step in steps.items() if step.component and step.type != _STACK
    ]
    return Summary(rows, outputs, result.get("result") == "succeeded", preview)


def _type_path(urn: str) -> str:
    """The types from the outermost component to the resource: urn:pulumi:STACK::PROJECT::TYPE$TYPE::NAME."""
    return urn.split("::")[2] if urn.count("::") >= 3 else ""


def _record(steps: dict[str, _Step], kind: str, meta: dict[str, Any], time: int) -> None:
    state = meta["new"] or meta["old"]
    op = "replace" if meta["op"] in _REPLACING else meta["op"]
    step = steps.setdefault(
        meta["urn"], _Step(state["parent"], meta["type"], not state.get("custom"), op, time, time)
    )
    step.last = time
    if op not in _UNTOUCHED and step.op != "replace":
        step.op = op
    step.done = kind == "resOutputsEvent"
    step.failed |= kind == "resOpFailedEvent"


def _row(urn: str, steps: dict[str, _Step], preview: bool) -> Row:
    inside = [steps[each] for each in _descendants(urn, steps) if not steps[each].component]
    changes: dict[str, int] = {}
    for step in inside:
        op = "fail" if step.failed else step.op
        if op not in _UNTOUCHED and (step.done or step.failed):
            changes[op] = changes.get(op, 0) + 1
    if steps[urn].failed or any(step.failed for step in inside):
        outcome = "failed"
    elif not inside or not all(step.done for step in inside):
        # Its resources wait for something else that failed: the engine never heard of them.
        outcome = "not reached"
    elif not changes:
        outcome = "unchanged"
    elif preview:
        outcome = "would change"
    else:
        outcome = "deleted" if set(changes) == {"delete"} else "ready"
    busy = [step for step in inside if step.op not in _UNTOUCHED] or inside
    seconds = max(step.last for step in busy) - min(step.first for step in busy) if busy else 0
    return Row(urn.rpartition("::")[2], steps[urn].type.rpartition(":")[2], outcome, changes, seconds)


def _descendants(urn: str, steps: dict[str, _Step]) -> Iterator[str]:
    for child in steps[urn].below:
        yield child
        yield from _descendants(child, steps)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if _SECRET in value.items():
            return "[secret]"
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return "[known after up]" if value == _UNKNOWN else value


_COLOURS = {"ready": "green", "failed": "red", "not reached": "yellow", "would change": "cyan"}


def show(summary: Summary) -> None:
    """Print the components and the outputs as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    table = Table("component", "type", "outcome", "changes", "took", title="Components", title_justify="left")
    for row in summary.rows:
        colour = _COLOURS.get(row.outcome, "dim")
        changes = ", ".join(f"{count} {_WORDS.get(op, op)}" for op, count in sorted(row.changes.items()))
        table.add_row(
            row.name, row.type, f"[{colour}]{row.outcome}[/]", changes, f"{row.seconds} s" if changes else ""
        )
    console.print(table)
    if summary.outputs and summary.succeeded:
        table = Table("output", "value", title="Outputs", title_justify="left")
        for name, value in sorted(summary.outputs.items()):
            table.add_row(name, value if isinstance(value, str) else json.dumps(value))
        console.print(table, markup=False)
