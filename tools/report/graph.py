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
    """A stack as deployed, with words in place of secrets."""

    resources: list[Resource]
    engine: str

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return next((resource.outputs for resource in self.resources if resource.type == STACK), {})

    @property
    def providers(self) -> list[Resource]:
        """The configured providers; the graph leaves them out, as every resource needs one."""
        return [resource for resource in self.resources if resource.type.startswith(PROVIDER)]


@dataclass(frozen=True)
class Node:
    """A resource in the graph, or a component with nothing in it.

    `component` is the URN of its outermost component, or its own outside of one.
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
    """Resources and the names of components, by URN and sorted: the same picture after every `up`."""

    nodes: dict[str, Node]
    components: dict[str, str]


def read(file: Path) -> State:
    """The state in a file that `pulumi stack export` wrote, or in one of a backend's `.pulumi/stacks`.

    Raises OSError if the file cannot be read, ValueError if it holds no state.
    """
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{file} is cut off, or no state: {error}. If the disk was full, make room and run `up` again: it says what to do."
        ) from error
    latest = content.get("deployment") or content.get("checkpoint", {}).get("latest")
    if not latest:
        raise ValueError(
            f"{file} holds no stack's state: give what `pulumi stack export --file` has written."
        )
    return State(
        [_resource(raw) for raw in latest.get("resources") or () if not raw.get("delete")],
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
    """The graph of a state's resources, without stack, gateway and providers; the gateway's components are groups."""
    inside = (one for one in resources if one.type not in WHOLE and not one.type.startswith(PROVIDER))
    known = {resource.urn: resource for resource in sorted(inside, key=lambda resource: resource.urn)}
    deployed = {urn for urn, resource in known.items() if resource.custom}
    components = {
        urn: resource.name
        for urn, resource in known.items()
        if not (resource.custom or resource.parent in known)
    }
    nodes: dict[str, Node] = {}
    for urn in sorted(deployed):
        resource = outermost = known[urn]
        while outermost.parent in known:
            outermost = known[outermost.parent]
        nodes[urn] = Node(
            urn=urn,
            name=resource.name.removeprefix(f"{outermost.name}-"),
            kind=resource.kind,
            component=outermost.urn,
            needs=frozenset((resource.needs | {resource.parent}) & deployed),
            protected=resource.protected,
        )
    inhabited = {node.component for node in nodes.values()}
    for urn, name in components.items():
        if urn not in inhabited:
            nodes[urn] = Node(urn, name, known[urn].kind, urn, empty_component=True)
    return Graph(nodes, components)
