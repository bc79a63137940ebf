"""What an `up` did to the graph, and where its time went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tools.report import graph
from tools.report.graph import Graph, Resource, State
from tools.report.paths import Wave, critical_path, serial_waves
from tools.review import components
from tools.review.events import STACK, WHOLE, Operation, Step
from tools.review.model import PAST


@dataclass(frozen=True)
class Line:
    """A resource on the timeline: a word for its outcome, its times in seconds from the start of the `up`."""

    urn: str
    name: str
    kind: str
    component: str
    state: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Up:
    """An `up`: its graph, a word for each resource's state, and its times in seconds.

    `start` is seconds since 1970. `lines` are the resources that the engine worked on, in order of start;
    deleted ones are among them, but not in the graph. `critical` are the URNs of the critical path, in order.
    """

    graph: Graph
    states: dict[str, str]
    lines: list[Line]
    start: float
    elapsed: float
    critical: list[str]
    waves: list[Wave]

    def seconds(self, urn: str) -> float:
        """How long the engine worked on a resource; 0 where it did not."""
        return next((line.seconds for line in self.lines if line.urn == urn), 0.0)


def summarize(state: State, operation: Operation) -> Up:
    """Combine what is deployed with what the last operation did."""
    known = {resource.urn for resource in state.resources}
    # The state knows neither a resource whose creation failed nor a component with nothing in it yet.
    only_logged = [
        Resource(step.urn, step.type, step.parent, not step.component, needs=frozenset())
        for step in operation.steps
        if step.urn not in known and step.op != "delete"
    ]
    built = graph.build([*state.resources, *only_logged])
    steps = {step.urn: step for step in operation.steps}
    # A component of components with inputs, such as tenants, is empty here and ready there before its Job has run.
    outcomes = {
        row.name: "not finished" if row.outcome == "ready" else row.outcome
        for row in components.rows(operation)
    }
    states = {
        urn: outcomes.get(node.name, "not reached")
        if node.empty_component
        else _word(steps.get(urn), operation.succeeded)
        for urn, node in built.nodes.items()
    }
    start = min((step.started for step in operation.steps), default=0.0)
    lines = list(_lines(operation, built, start))
    seconds = dict.fromkeys(built.nodes, 0.0) | {
        line.urn: line.seconds for line in lines if line.urn in built.nodes
    }
    needs = {urn: node.needs for urn, node in built.nodes.items()}
    return Up(
        graph=built,
        states=states,
        lines=lines,
        start=start,
        elapsed=max((step.ended for step in operation.steps), default=start) - start,
        critical=critical_path(needs, seconds),
        waves=serial_waves(needs, {urn: node.component for urn, node in built.nodes.items()}, seconds),
    )


def _word(step: Step | None, succeeded: bool) -> str:
    if step is None:
        return "unchanged" if succeeded else "not reached"
    if step.failed:
        return "failed"
    return PAST.get(step.op, "unchanged") if step.done else "not finished"


def _lines(operation: Operation, built: Graph, start: float) -> Iterator[Line]:
    parents = {step.urn: step.parent for step in operation.steps if step.type not in WHOLE}
    for step in operation.steps:
        if step.component or step.type == STACK or step.type.startswith(graph.PROVIDER):
            continue
        node = built.nodes.get(step.urn)
        outermost = step.urn
        while parents.get(parents.get(outermost, ""), ""):
            outermost = parents[outermost]
        yield Line(
            urn=step.urn,
            name=node.name if node else step.name,
            kind=step.type.rpartition(":")[2],
            component=node.component if node else outermost,
            state=_word(step, operation.succeeded),
            start=step.started - start,
            seconds=step.ended - step.started,
        )
