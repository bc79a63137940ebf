"""One engine operation, read from the engine's event log (`pulumi up --event-log FILE`).

The log has one JSON object per line, `apitype.EngineEvent` of the Pulumi SDK, with times in whole seconds.
The engine has masked secrets in it already; here words replace them and the values that are not known yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

STACK = "pulumi:pulumi:Stack"
WHOLE = frozenset({STACK, "llmgateway:llm_gateway:LlmGateway"})  # types of what holds all components
SECRET = "[secret]"
UNKNOWN = "[known after up]"
UNTOUCHED = frozenset({"same", "read", "refresh"})

# How the engine marks secrets and unknown values: pulumi/pulumi, sdk/go/common/resource/{sig,plugin}.
_SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_REPLACING = frozenset(
    {"create-replacement", "delete-replaced", "discard-replaced", "import-replacement", "read-replacement"}
)
_STEPS = ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent")
_COLOUR = re.compile(r"<\{%.*?%\}>")
_PATH = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')


@dataclass(frozen=True)
class Change:
    """One changed property of a resource; `kind` is the engine's word, e.g. "update" or "add-replace"."""

    path: str
    kind: str
    old: Any
    new: Any


@dataclass
class Step:
    """What the operation did with one resource.

    `op` is the engine's word ("same", "create", "update", "replace", "delete", "import", "read", "refresh"),
    one for all steps of a replacement. `started` and `ended` are seconds since 1970. A `component` only groups
    others; one with inputs of its own, such as a tenant, counts as a resource. `inputs` are masked. `was_protected`
    says that the state protects it, `protected` that the state or the program does.
    """

    urn: str
    name: str
    type: str
    parent: str
    component: bool
    op: str
    protected: bool
    was_protected: bool
    started: float
    ended: float
    changed: list[Change] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    failed: bool = False

    @property
    def touched(self) -> bool:
        """Whether the operation changes the resource."""
        return self.op not in UNTOUCHED


@dataclass(frozen=True)
class Diagnostic:
    """A message of the engine or the program; `severity` is "info", "info#err", "warning" or "error"."""

    urn: str
    severity: str
    message: str


@dataclass(frozen=True)
class PolicyResult:
    """A violated policy: `level` is "advisory", "mandatory" or "remediate", `urn` is empty for the stack."""

    pack: str
    name: str
    urn: str
    level: str
    message: str


@dataclass
class Operation:
    """What the engine did, or in a preview would do; steps are in the order in which they started.

    `result` is "succeeded", "failed", "canceled", or "interrupted" if the engine was killed before it wrote one.
    `policies` are the violations, `policies_checked` the (pack, policy) pairs that applied to a resource.
    """

    steps: list[Step]
    outputs: dict[str, Any]
    outputs_before: dict[str, Any]
    diagnostics: list[Diagnostic]
    policies: list[PolicyResult]
    policies_checked: set[tuple[str, str]]
    result: str
    preview: bool
    duration: float

    @property
    def succeeded(self) -> bool:
        """Whether the engine finished without an error."""
        return self.result == "succeeded"


def read(log: Path) -> Operation:
    """The operation in an event log; a last line that a killed engine left incomplete is dropped.

    Raises OSError if the file cannot be read, json.JSONDecodeError if it is no event log.
    """
    return parse(decoded(log))


def decoded(log: Path) -> list[dict[str, Any]]:
    """The events in an event log. Raises as `read` does."""
    *whole, _cut = log.read_text(errors="replace").split("\n")
    return [json.loads(line) for line in whole if line.strip()]


def parse(events: Iterable[dict[str, Any]]) -> Operation:
    """The operation of decoded events; without the preview, if it began with a preview of its own."""
    reader = _Reader()
    for event in events:
        if "preludeEvent" in event:
            reader = _Reader()
        reader.take(event)
    return reader.operation()


def type_path(urn: str) -> str:
    """The types from the outermost component to the resource: the last but one part of a URN, TYPE$TYPE."""
    return urn.split("::")[2] if urn.count("::") >= 3 else ""


def leaf_changes(path: str, old: Any, new: Any, replaces: bool = False) -> Iterator[Change]:
    """The changed values inside dicts, lists and JSON texts; None stands for a value that is not there."""
    if isinstance(old, str) and isinstance(new, str) and None not in (decoded := (_json(old), _json(new))):
        old, new = decoded
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from leaf_changes(_join(path, key), old.get(key), new.get(key), replaces)
    elif isinstance(old, list) and isinstance(new, list):
        for index, (before, after) in enumerate(zip_longest(old, new)):
            yield from leaf_changes(f"{path}[{index}]", before, after, replaces)
    elif old != new or old == SECRET:
        kind = "add" if old is None else "delete" if new is None else "update"
        yield Change(path, f"{kind}-replace" if replaces else kind, old, new)


def plain(value: Any) -> Any:
    """A property's value with words in place of secrets and of unknown values."""
    if isinstance(value, dict):
        if _SECRET in value.items():
            return SECRET
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return UNKNOWN if value == _UNKNOWN else value


class _Reader:
    def __init__(self) -> None:
        self.read = Operation([], {}, {}, [], [], set(), "interrupted", preview=False, duration=0)
        self.steps: dict[str, Step] = {}
        self.summary: dict[str, Any] = {}
        self.times: list[float] = []

    def take(self, event: dict[str, Any]) -> None:
        self.times.append(float(event["timestamp"]))
        for kind, content in event.items():
            if kind in _STEPS:
                self.read.preview |= content.get("planning", False)
                self._step(kind, content["metadata"])
            elif kind == "diagnosticEvent" and content["severity"] != "debug":
                if message := _COLOUR.sub("", content["message"]).strip("\n").rstrip():
                    urn, severity = content.get("urn", ""), content["severity"]
                    self.read.diagnostics.append(Diagnostic(urn, severity, message))
            elif kind == "policyEvent":
                pack, name, level = (
                    content[key] for key in ("policyPackName", "policyName", "enforcementLevel")
                )
                message = _COLOUR.sub("", content["message"]).strip()
                self.read.policies.append(
                    PolicyResult(pack, name, content.get("resourceUrn", ""), level, message)
                )
            elif kind in ("policyAnalyzeSummaryEvent", "policyAnalyzeStackSummaryEvent"):
                names = [*content.get("passed", ()), *content.get("failed", ())]
                self.read.policies_checked |= {(content["policyPackName"], name) for name in names}
            elif kind == "summaryEvent":
                self.summary = content

    def _step(self, kind: str, meta: dict[str, Any]) -> None:
        now = self.times[-1]
        op = "replace" if meta["op"] in _REPLACING else meta["op"]
        old, new = meta["old"] or {}, meta["new"] or {}
        state = new or old
        step = self.steps.setdefault(
            meta["urn"],
            Step(
                urn=meta["urn"],
                name=meta["urn"].rpartition("::")[2],
                type=meta["type"],
                parent=state["parent"],
                component=not (state.get("custom") or state.get("inputs")),
                op=op,
                protected=False,
                was_protected=bool(old.get("protect")),
                started=now,
                ended=now,
            ),
        )
        step.ended = now
        if op not in UNTOUCHED and step.op != "replace":
            step.op = op
        # A step that removes the protection touches a protected resource, too.
        step.protected |= bool(old.get("protect") or new.get("protect"))
        step.done = kind == "resOutputsEvent"
        step.failed |= kind == "resOpFailedEvent"
        step.changed = _changes(meta, old, new) or step.changed
        step.inputs = plain(state.get("inputs") or {}) or step.inputs
        if meta["type"] == STACK and kind == "resOutputsEvent":
            self.read.outputs = plain(new.get("outputs", {}))
            self.read.outputs_before = plain(old.get("outputs", {}))

    def operation(self) -> Operation:
        elapsed = self.times[-1] - self.times[0] if self.times else 0
        return replace(
            self.read,
            steps=list(self.steps.values()),
            result=self.summary.get("result", self.read.result),
            preview=self.summary.get("isPreview", self.read.preview),
            duration=self.summary.get("durationSeconds", elapsed),
        )


def _changes(meta: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The changes at the properties that the provider names, or the engine where the provider names none.

    Nobody names properties of a component: its changes are those of all inputs.
    """
    if not (new or old).get("custom"):
        return list(leaf_changes("", plain(old.get("inputs") or {}), plain(new.get("inputs") or {})))
    detailed: dict[str, dict[str, Any]] = meta.get("detailedDiff") or {
        name: {"diffKind": "update", "inputDiff": True} for name in meta.get("diffs") or ()
    }
    changes: list[Change] = []
    for path, diff in sorted(detailed.items()):
        before = _at(old.get("inputs"), path)
        if before is None and not diff.get("inputDiff"):
            before = _at(old.get("outputs"), path)
        after = _at(new.get("inputs"), path)
        kind: str = diff["diffKind"]
        found = list(leaf_changes(path, before, after, kind.endswith("-replace")))
        changes += found or [Change(path, kind, before, after)]
    return changes


def _json(text: str) -> Any:
    """The dict or list that a JSON text holds; None for any other text."""
    try:
        return json.loads(text) if text.startswith(("{", "[")) else None
    except json.JSONDecodeError:
        return None


def _join(path: str, key: str) -> str:
    name = key if re.fullmatch(r"[^.\[\]\"]+", key) else f"[{json.dumps(key)}]"
    return f"{path}.{name}" if path and not name.startswith("[") else path + name


def _at(value: Any, path: str) -> Any:
    """The masked value at a path such as `spec.ports[0]["a.b"]`: SECRET inside a secret, None if absent."""
    value = plain(value)
    for quoted, index, name in _PATH.findall(path):
        if value in (SECRET, UNKNOWN):
            return value
        key = int(index) if index else json.loads(f'"{quoted}"') if quoted else name
        if isinstance(key, int) and isinstance(value, list):
            value = value[key] if key < len(value) else None
        elif isinstance(value, dict):
            value = value.get(str(key))
        else:
            return None
    return value
