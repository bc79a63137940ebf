"""Arithmetic on what waits for what: fewer edges, the critical path, serial waves.

`needs` maps each resource to those it waits for, all of them keys themselves, without a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from graphlib import TopologicalSorter

Needs = Mapping[str, Set[str]]


@dataclass(frozen=True)
class Wave:
    """Components that would be deployed together, their longest chain of resources, and how many seconds it takes."""

    components: list[str]
    chain: list[str]
    seconds: float


def reduced(needs: Needs) -> dict[str, set[str]]:
    """The fewest edges that keep the same order: an edge that a longer way implies is dropped."""
    reached = _reached(needs)
    return {
        each: {one for one in direct if not any(one in reached[other] for other in direct if other != one)}
        for each, direct in needs.items()
    }


def depths(needs: Needs) -> dict[str, int]:
    """How many others stand one after the other before each."""
    depth: dict[str, int] = {}
    for each in TopologicalSorter(needs).static_order():
        depth[each] = max((depth[one] + 1 for one in needs[each]), default=0)
    return depth


def critical_path(needs: Needs, seconds: Mapping[str, float]) -> list[str]:
    """The chain whose resources together took longest, first one first; of equal ones the first by name."""
    best: dict[str, tuple[float, str]] = {}
    for each in TopologicalSorter(needs).static_order():
        before = max(sorted(needs[each]), key=lambda one: best[one][0], default="")
        best[each] = (seconds[each] + (best[before][0] if before else 0), before)
    chain: list[str] = []
    each = max(sorted(best), key=lambda one: best[one][0], default="")
    while each:
        chain.insert(0, each)
        each = best[each][1]
    return chain


def serial_waves(needs: Needs, component: Mapping[str, str], seconds: Mapping[str, float]) -> list[Wave]:
    """The fewest waves of whole components in which every component comes after those it waits for.

    A wave takes as long as the longest chain inside it, and the next starts when it is over, as with the sync waves of
    Argo CD. Components that wait for each other share a wave.
    """
    between: dict[str, set[str]] = {each: set() for each in component.values()}
    for each, direct in needs.items():
        between[component[each]] |= {component[one] for one in direct}
    reached = _reached(between)
    number: dict[str, int] = {}
    for each in sorted(between, key=lambda one: len(reached[one])):
        earlier = [one for one in reached[each] if each not in reached[one]]
        number[each] = max((number[one] + 1 for one in earlier), default=0)
    return [
        _wave({each for each in between if number[each] == wave}, needs, component, seconds)
        for wave in sorted(set(number.values()))
    ]


def _wave(
    members: Set[str], needs: Needs, component: Mapping[str, str], seconds: Mapping[str, float]
) -> Wave:
    inside = {each for each in needs if component[each] in members}
    chain = critical_path({each: needs[each] & inside for each in inside}, seconds)
    in_order = [each for each in dict.fromkeys(component.values()) if each in members]
    return Wave(in_order, chain, sum(seconds[each] for each in chain))


def _reached(edges: Needs) -> dict[str, set[str]]:
    """Each with all that can be reached from it along edges, which here may run in circles."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        todo, seen = [start], {start}
        while todo:
            fresh = edges[todo.pop()] - seen
            seen |= fresh
            todo += fresh
        reached[start] = seen
    return reached
