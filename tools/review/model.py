"""What there is to say of an operation; the comment and the terminal say it each in its own way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tools.review.events import Change, Operation, differences

# In the order of what a reader must not miss.
PAST = {
    "fail": "failed",
    "delete": "deleted",
    "replace": "replaced",
    "create": "created",
    "update": "updated",
    "import": "imported",
}
_CHANGES = 3
_VALUE = 60


class Finding(Protocol):
    """What the guard found: why a resource must not go, and what to write instead."""

    @property
    def message(self) -> str: ...


@dataclass(frozen=True)
class Line:
    """One resource that changes, or one output of the stack (of type "output")."""

    op: str
    name: str
    type: str
    changed: list[Change]
    protected: bool


@dataclass(frozen=True)
class Review:
    """An operation to look at; `protected` are the lines that touch what was protected before.

    `policies` counts them in a line; `stopped`, `violations`, `errors` and `warnings` are texts of any length, one
    message below the other. All are empty where there is nothing to say.
    """

    headline: str
    lines: list[Line]
    protected: list[Line]
    stopped: str
    policies: str
    violations: str
    errors: str
    warnings: str

    @property
    def uneventful(self) -> bool:
        """Whether the headline says it all."""
        return not (self.lines or self.stopped or self.violations or self.errors or self.warnings)


def review(operation: Operation, findings: Iterable[Finding] = ()) -> Review:
    """What there is to say of an operation and of what the guard found in it."""
    lines = _lines(operation)
    return Review(
        headline=_headline(operation, lines),
        lines=lines,
        protected=[line for line in lines if line.protected],
        stopped="\n".join(each.message for each in findings),
        policies=_policies(operation),
        violations="\n".join(
            f"{each.level}: {each.name}, {_on(each.urn, each.message)}" for each in operation.policies
        ),
        # What a program that came to its end wrote to its standard error is no error.
        errors="" if operation.succeeded else _said(operation, "info#err", "error"),
        warnings=_said(operation, "warning"),
    )


def value(content: Any) -> str:
    """A value in one short line."""
    text = content if isinstance(content, str) and content else json.dumps(content, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"


def first(changed: list[Change]) -> tuple[list[Change], int]:
    """The changes to show, those that force a replacement first, and how many others there are."""
    ordered = sorted(changed, key=lambda change: not change.kind.endswith("-replace"))
    return ordered[:_CHANGES], len(ordered[_CHANGES:])


def _lines(operation: Operation) -> list[Line]:
    resources = [
        Line(
            op="fail" if step.failed else step.op,
            name=step.name,
            type=step.type,
            changed=step.changed,
            protected=step.protected and step.op != "create",
        )
        for step in operation.steps
        if step.touched and not step.component
    ]
    order = list(PAST)
    resources.sort(key=lambda line: order.index(line.op) if line.op in order else -1)
    outputs: list[Line] = []
    if operation.succeeded and operation.outputs_before:
        for name in sorted({*operation.outputs, *operation.outputs_before}):
            before, after = operation.outputs_before.get(name), operation.outputs.get(name)
            changed = list(differences(name, before, after)) if before != after else []
            if changed:
                op = "create" if before is None else "delete" if after is None else "update"
                outputs.append(Line(op, name, "output", changed, protected=False))
    return resources + outputs


def _headline(operation: Operation, lines: list[Line]) -> str:
    """For example "1 to replace, 2 to update, 63 unchanged"."""
    counts = Counter(line.op for line in lines if line.type != "output")
    said = [
        f"{counts[op]} to {op}" if operation.preview else f"{counts[op]} {past}"
        for op, past in PAST.items()
        if counts[op]
    ]
    if outputs := sum(line.type == "output" for line in lines):
        said.append("1 output changed" if outputs == 1 else f"{outputs} outputs changed")
    unchanged = sum(not (step.component or step.touched) for step in operation.steps)
    said = [*said, f"{unchanged} unchanged"] if said else [f"no changes, {unchanged} resources"]
    if not operation.succeeded:
        said = [operation.result] if not lines else [operation.result, *said]
    return ", ".join(said)


def _policies(operation: Operation) -> str:
    if not (operation.policies or operation.policies_checked):
        return ""
    violations = {(each.pack, each.name) for each in operation.policies}
    return f"Policies: {len(operation.policies_checked)} checked, {len(violations) or 'none'} violated"


def _said(operation: Operation, *severities: str) -> str:
    """The messages of these severities, those of the first before those of the next."""
    return "\n".join(
        _on(each.urn, each.message)
        for severity in severities
        for each in operation.diagnostics
        if each.severity == severity
    )


def _on(urn: str, message: str) -> str:
    name = urn.rpartition("::")[2]
    return f"{name}: {message}" if name else message
