"""What a review of an operation says; the comment and the terminal each format it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.review.events import Change, Operation, leaf_changes

if TYPE_CHECKING:  # `python -m tools.review stacks` runs before what the guard needs is installed
    from tools.review.guard import Finding

# The most important first.
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


@dataclass(frozen=True)
class Line:
    """One resource that changes, or one output of the stack, whose type is "output"."""

    op: str
    name: str
    type: str
    changed: list[Change]
    protected: bool


@dataclass(frozen=True)
class Review:
    """An operation to review; `protected` are the lines of resources that were protected before it.

    `policies` says in one line how many were checked and violated. `stopped`, `violations`, `errors` and
    `warnings` have one message below the other. Empty: there is nothing to say.
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
        """Whether the headline says everything."""
        return not (self.lines or self.stopped or self.violations or self.errors or self.warnings)


def review(operation: Operation, findings: Iterable[Finding] = ()) -> Review:
    """The review of an operation and of what the guard found in it."""
    lines = _lines(operation)
    return Review(
        headline=_headline(operation, lines),
        lines=lines,
        protected=[line for line in lines if line.protected],
        stopped="\n".join(finding.message for finding in findings),
        policies=_policies(operation),
        violations="\n".join(
            f"{result.level}: {result.name}, {_on(result.urn, result.message)}"
            for result in operation.policies
        ),
        # A program may write to standard error and succeed all the same.
        errors="" if operation.succeeded else _said(operation, "info#err", "error"),
        warnings=_said(operation, "warning"),
    )


def changes(line: Line, arrow: str = "->", style: Callable[[str], str] = str) -> list[str]:
    """Texts of a line's first changes, those that force a replacement before others, and of how many more."""
    ordered = sorted(line.changed, key=lambda change: not change.kind.endswith("-replace"))
    shown = [_change(change, arrow, style) for change in ordered[:_CHANGES]]
    return [*shown, f"{len(ordered) - _CHANGES} more"] if len(ordered) > _CHANGES else shown


def _change(change: Change, arrow: str, style: Callable[[str], str]) -> str:
    path, old, new = (style(text) for text in (change.path, _value(change.old), _value(change.new)))
    if change.kind.startswith("add"):
        return f"{path} + {new}"
    return f"{path} - {old}" if change.kind.startswith("delete") else f"{path} {old} {arrow} {new}"


def _value(content: Any) -> str:
    """A value in one short line."""
    text = content if isinstance(content, str) and content else json.dumps(content, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"


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
            if before != after and (changed := list(leaf_changes(name, before, after))):
                op = "create" if before is None else "delete" if after is None else "update"
                outputs.append(Line(op, name, "output", changed, protected=False))
    return resources + outputs


def _headline(operation: Operation, lines: list[Line]) -> str:
    """For example "1 to replace, 2 to update, 63 unchanged"."""
    counts = Counter(line.op for line in lines if line.type != "output")
    said = [
        f"{counts[op]} to {op}" if operation.preview and op != "fail" else f"{counts[op]} {past}"
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
    violations = {(result.pack, result.name) for result in operation.policies}
    return f"Policies: {len(operation.policies_checked)} checked, {len(violations) or 'none'} violated"


def _said(operation: Operation, *severities: str) -> str:
    """The messages of these severities, in the order of the severities."""
    return "\n".join(
        _on(said.urn, said.message)
        for severity in severities
        for said in operation.diagnostics
        if said.severity == severity
    )


def _on(urn: str, message: str) -> str:
    name = urn.rpartition("::")[2]
    return f"{name}: {message}" if name else message
