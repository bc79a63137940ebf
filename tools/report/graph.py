"""A stack's resources and what each waits for, read from its state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.review.events import STACK, WHOLE, plain

PROVIDER = "pulumi:providers:"


@dataclass(frozen=True)
class Resource:
    """One resource of a state; `needs` are the URNs that the engine completes before it starts this one."""

    urn: str
    type: str
    parent: str
    custom: bool
    needs: frozenset[str]
    protected: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the URN."""
        return self.urn.rpartition("::")[2]

    @property
    def kind(self) -> str:
        """The last part of the type: "Release" of "kubernetes:helm.sh/v3:Release"."""
        return self.type.rpartition(":")[2]


@dataclass(frozen=True)
class State:
    """A stack as it is deployed. Secrets are words already."""

    resources: list[Resource]
    engine: str

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return next((each.outputs for each in self.resources if each.type == STACK), {})

    @property
    def providers(self) -> list[Resource]:
        """The configured providers: everything needs its own, so they are no part of the graph."""
        return [each for each in self.resources if each.type.startswith(PROVIDER)]


@dataclass(frozen=True)
class Node:
    """A resource in the graph; `component` is the URN of its outermost component, or of itself outside of one.

    A component with nothing in it stands for itself.
    """

    urn: str
    name: str
    kind: str
    component: str
    needs: frozenset[str] = frozenset()
    protected: bool = False
    empty_component: bool = False


@dataclass(frozen=True)
class Graph:
    """Resources and the names of components by URN, sorted: the picture stays the same from one `up` to the next."""

    nodes: dict[str, Node]
    components: dict[str, str]


def read(file: Path) -> State:
    """The state that `pulumi stack export` writes, or a file of a bucket's or folder's `.pulumi/stacks`.

    Raises OSError for a file that cannot be read, ValueError for one that holds no state.
    """
    content = json.loads(file.read_text())
    latest = content.get("deployment") or content.get("checkpoint", {}).get("latest")
    if not latest:
        raise ValueError(
            f"{file} holds no stack's state: give what `pulumi stack export --file` has written."
        )
    return State(
        [_resource(each) for each in latest.get("resources") or () if not each.get("delete")],
        latest["manifest"]["version"],
    )


def _resource(raw: dict[str, Any]) -> Resource:
    by_property: dict[str, list[str] | None] = raw.get("propertyDependencies") or {}
    named = {urn for urns in by_property.values() for urn in urns or ()}
    return Resource(
        urn=raw["urn"],
        type=raw["type"],
        parent=raw.get("parent", ""),
        custom=raw.get("custom", False),
        needs=frozenset(named | set(raw.get("dependencies") or ())),
        protected=raw.get("protect", False),
        inputs=plain(raw.get("inputs") or {}),
        outputs=plain(raw.get("outputs") or {}),
    )


def build(resources: Iterable[Resource]) -> Graph:
    """The graph of a state's resources: without stack, gateway and providers, the gateway's components as groups."""
    known = {
        each.urn: each for each in resources if each.type not in WHOLE and not each.type.startswith(PROVIDER)
    }
    deployed = {urn for urn, each in known.items() if each.custom}
    components = {
        urn: each.name for urn, each in sorted(known.items()) if each.parent not in known and not each.custom
    }
    nodes: dict[str, Node] = {}
    for urn in sorted(deployed):
        each = outermost = known[urn]
        while outermost.parent in known:
            outermost = known[outermost.parent]
        nodes[urn] = Node(
            urn=urn,
            name=each.name.removeprefix(f"{outermost.name}-"),
            kind=each.kind,
            component=outermost.urn,
            needs=frozenset((each.needs | {each.parent}) & deployed),
            protected=each.protected,
        )
    inhabited = {node.component for node in nodes.values()}
    for urn, name in components.items():
        if urn not in inhabited:
            nodes[urn] = Node(urn, name, known[urn].kind, urn, empty_component=True)
    return Graph(nodes, components)
