"""The outcome of an operation for each component of the program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tools.review.events import WHOLE, Operation, Step, type_path


@dataclass(frozen=True)
class Row:
    """One component: its outcome, its resources' changes by kind, the seconds from first step to last."""

    name: str
    type: str
    outcome: str
    changes: dict[str, int]
    seconds: float


def rows(operation: Operation) -> list[Row]:
    """The components in the order in which the program made them."""
    below: dict[str, list[Step]] = {}
    for step in operation.steps:
        below.setdefault(step.parent, []).append(step)
    known = {step.urn for step in operation.steps}
    # There is no step of a resource that its provider's check refused, but its URN has the parents' types.
    refused = {
        type_path(said.urn).rpartition("$")[0]
        for said in operation.diagnostics
        if said.severity == "error" and said.urn not in known
    }
    return [
        _row(step, list(_resources(step.urn, below)), type_path(step.urn) in refused, operation.preview)
        for step in operation.steps
        if step.component and step.type not in WHOLE
    ]


def _resources(urn: str, below: dict[str, list[Step]]) -> Iterator[Step]:
    """The resources in a component and in those inside it."""
    for step in below.get(urn, ()):
        if not step.component:
            yield step
        yield from _resources(step.urn, below)


def _row(component: Step, inside: list[Step], refused: bool, preview: bool) -> Row:
    changes: dict[str, int] = {}
    for step in inside:
        op = "fail" if step.failed else step.op
        if step.failed or (step.touched and step.done):
            changes[op] = changes.get(op, 0) + 1
    if refused or component.failed or any(step.failed for step in inside):
        outcome = "failed"
    elif not inside or not all(step.done for step in inside):
        # Its resources wait for something that failed, so that the engine never registered them.
        outcome = "not reached"
    elif not changes:
        outcome = "unchanged"
    elif preview:
        outcome = "would change"
    else:
        outcome = "deleted" if set(changes) == {"delete"} else "ready"
    busy = [step for step in inside if step.touched] or inside
    seconds = max(step.ended for step in busy) - min(step.started for step in busy) if busy else 0
    return Row(component.name, component.type.rpartition(":")[2], outcome, changes, seconds)
