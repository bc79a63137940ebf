"""Calculations on what waits for what: fewer edges, the critical path, serial waves.

`needs` maps each resource to those it waits for; all of them are keys, and there is no cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from graphlib import TopologicalSorter

Needs = Mapping[str, Set[str]]


@dataclass(frozen=True)
class Wave:
    """Components that would be deployed together, their longest chain of resources, and its seconds."""

    components: list[str]
    chain: list[str]
    seconds: float


def reduced(needs: Needs) -> dict[str, set[str]]:
    """The fewest edges that keep the same order: an edge that a longer path implies is dropped."""
    reached = _reached(needs)
    return {
        node: {one for one in direct if not any(one in reached[other] for other in direct if other != one)}
        for node, direct in needs.items()
    }


def depths(needs: Needs) -> dict[str, int]:
    """The length of the longest chain before each resource."""
    depth: dict[str, int] = {}
    for node in TopologicalSorter(needs).static_order():
        depth[node] = max((depth[one] + 1 for one in needs[node]), default=0)
    return depth


def critical_path(needs: Needs, seconds: Mapping[str, float]) -> list[str]:
    """The chain whose resources together took longest, in order; of equal chains the first by name."""
    best: dict[str, tuple[float, str]] = {}
    for node in TopologicalSorter(needs).static_order():
        before = max(sorted(needs[node]), key=lambda one: best[one][0], default="")
        best[node] = (seconds[node] + (best[before][0] if before else 0), before)
    chain: list[str] = []
    node = max(sorted(best), key=lambda one: best[one][0], default="")
    while node:
        chain.insert(0, node)
        node = best[node][1]
    return chain


def serial_waves(needs: Needs, component: Mapping[str, str], seconds: Mapping[str, float]) -> list[Wave]:
    """The fewest waves of whole components in which every component comes after those it waits for.

    A wave takes as long as the longest chain in it, and the next starts when it is over, as Argo CD's sync waves
    do. Components that wait for each other share a wave.
    """
    between: dict[str, set[str]] = {group: set() for group in component.values()}
    for node, direct in needs.items():
        between[component[node]] |= {component[one] for one in direct}
    reached = _reached(between)
    number: dict[str, int] = {}
    for group in sorted(between, key=lambda one: len(reached[one])):
        earlier = [one for one in reached[group] if group not in reached[one]]
        number[group] = max((number[one] + 1 for one in earlier), default=0)
    return [
        _wave({group for group in between if number[group] == wave}, needs, component, seconds)
        for wave in sorted(set(number.values()))
    ]


def _wave(
    members: Set[str], needs: Needs, component: Mapping[str, str], seconds: Mapping[str, float]
) -> Wave:
    inside = {node for node in needs if component[node] in members}
    chain = critical_path({node: needs[node] & inside for node in inside}, seconds)
    in_order = [group for group in dict.fromkeys(component.values()) if group in members]
    return Wave(in_order, chain, sum(seconds[node] for node in chain))


def _reached(edges: Needs) -> dict[str, set[str]]:
    """All nodes that can be reached from each; the edges may form cycles here."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        todo, seen = [start], {start}
        while todo:
            fresh = edges[todo.pop()] - seen
            seen |= fresh
            todo += fresh
        reached[start] = seen
    return reached
