"""Draws the graph: Graphviz places it, a template writes the SVG, a style sheet adds the colours.

Graphviz gets boxes without text, so that it needs no font and the drawing is the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import pygraphviz  # pyright: ignore[reportMissingTypeStubs]

from tools.report.graph import Graph, Node
from tools.report.paths import depths, reduced

HUES = 10
SIGNS = {
    "created": "+",
    "updated": "~",
    "replaced": "±",
    "imported": "i",
    "unchanged": "=",
    "failed": "!",
    "not finished": "?",
    "not reached": "○",
    "deleted": "-",
}
"""The sign of each state, shown beside its colour."""

_POINTS = 72  # per inch, the unit of Graphviz's boxes
_WIDTH, _LINE, _LETTERS = 122, 14, 17
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


@dataclass(frozen=True)
class Box:
    """A resource: its upper left corner, its name in lines, and style classes as `marks`."""

    node: Node
    x: int
    y: int
    width: int
    height: int
    lines: list[str]
    state: str
    critical: bool
    marks: str

    @property
    def sign(self) -> str:
        """The sign of its state; empty where the state is unknown."""
        return SIGNS.get(self.state, "")

    @property
    def title(self) -> str:
        """Everything that the box shows, in words."""
        notes = [self.state, "protected" * self.node.protected, "on the critical path" * self.critical]
        return ", ".join([f"{self.node.kind} {self.node.name}", *filter(None, notes)])


@dataclass(frozen=True)
class Arrow:
    """An edge: its SVG path and its meaning in words."""

    path: str
    title: str
    critical: bool


@dataclass(frozen=True)
class Frame:
    """A component: its name and its upper left corner."""

    name: str
    x: int
    y: int
    width: int
    height: int
    hue: int


@dataclass(frozen=True)
class Drawing:
    """Everything placed, in pixels from the upper left corner."""

    width: int
    height: int
    frames: list[Frame]
    boxes: list[Box]
    arrows: list[Arrow]


def hues(graph: Graph) -> dict[str, int]:
    """The number of each component's hue, by URN."""
    return {urn: number % HUES for number, urn in enumerate(graph.components)}


def draw(graph: Graph, states: Mapping[str, str], critical: Sequence[str]) -> Drawing:
    """Place the graph from left to right, one frame per component, with the fewest edges that keep the order.

    `states` are words by URN, or empty; `critical` are the URNs along the critical path.
    """
    needs = reduced({urn: node.needs for urn, node in graph.nodes.items()})
    hue = hues(graph)
    placed = _placed(graph, needs)
    _, _, width, height = _numbers(placed[""])

    frames: list[Frame] = []
    for number, (urn, name) in enumerate(graph.components.items()):
        left, low, right, high = _numbers(placed[f"cluster_{number}"])
        frames.append(
            Frame(name, round(left), round(height - high), round(right - left), round(high - low), hue[urn])
        )
    boxes: list[Box] = []
    for urn, node in graph.nodes.items():
        x, y = _numbers(placed[urn])
        high, state = _height(node), states.get(urn, "")
        marks = [f"hue-{hue.get(node.component, 0)}", state.replace(" ", "-"), "critical" * (urn in critical)]
        boxes.append(
            Box(
                node=node,
                x=round(x - _WIDTH / 2),
                y=round(height - y - high / 2),
                width=_WIDTH,
                height=high,
                lines=_lines(node.name),
                state=state,
                critical=urn in critical,
                marks=" ".join(filter(None, marks)),
            )
        )
    along = set(pairwise(critical))
    arrows: list[Arrow] = []
    for urn, one in ((urn, one) for urn, before in needs.items() for one in sorted(before)):
        points = _numbers(placed[one, urn])
        pairs = [f"{round(x)},{round(height - y)}" for x, y in zip(points[::2], points[1::2], strict=True)]
        title = f"{graph.nodes[urn].name} waits for {graph.nodes[one].name}"
        arrows.append(Arrow(f"M{pairs[0]}C{' '.join(pairs[1:])}", title, (one, urn) in along))
    # The critical path is drawn last, so that it is on top.
    return Drawing(
        round(width), round(height), frames, boxes, sorted(arrows, key=lambda arrow: arrow.critical)
    )


def _placed(graph: Graph, needs: Mapping[str, Set[str]]) -> dict[str | tuple[str, str], str]:
    """Graphviz's coordinates of each resource, each edge (from, to), each cluster and, as "", the whole."""
    space = pygraphviz.AGraph(directed=True, rankdir="LR", nodesep="0.11", ranksep="0.25", newrank="true")
    space.node_attr.update(shape="box", label="", fixedsize="true", width=str(_WIDTH / _POINTS))
    space.edge_attr.update(arrowhead="none", tailport="e", headport="w")
    depth = depths(needs)
    # Deepest first: dot keeps this order where it can, which keeps the main chains straight.
    for urn, node in sorted(graph.nodes.items(), key=lambda item: (-depth[item[0]], item[1].name, item[0])):
        space.add_node(urn, height=str(_height(node) / _POINTS))
    for urn, before in needs.items():
        for one in sorted(before):
            space.add_edge(one, urn)
    for number, (urn, name) in enumerate(graph.components.items()):
        inside = [node.urn for node in graph.nodes.values() if node.component == urn]
        # An empty table of fixed size reserves the place of the component's name.
        name = f'<<TABLE BORDER="0" FIXEDSIZE="TRUE" WIDTH="{7 * len(name)}" HEIGHT="12"><TR><TD></TD></TR></TABLE>>'
        space.add_subgraph(inside, name=f"cluster_{number}", label=name, margin="8")
    # A component's resources at one depth share a column: dot would scatter them to shorten edges.
    columns: dict[tuple[str, int], list[str]] = {}
    for urn, node in graph.nodes.items():
        columns.setdefault((node.component, depth[urn]), []).append(urn)
    for column in columns.values():
        space.add_subgraph(column, rank="same")
    answer = json.loads(cast("bytes", space.draw(format="json0", prog="dot")))
    objects, edges = answer.get("objects", ()), answer.get("edges", ())
    names = {item["_gvid"]: item["name"] for item in objects}
    things = {item["name"]: item.get("pos", item.get("bb", "")) for item in objects}
    ways = {(names[edge["tail"]], names[edge["head"]]): edge["pos"] for edge in edges}
    return {**things, **ways, "": answer["bb"]}


def _numbers(text: str) -> list[float]:
    return list(map(float, _NUMBER.findall(text)))


def _height(node: Node) -> int:
    return 12 + _LINE * (len(_lines(node.name)) + 1)


def _lines(name: str) -> list[str]:
    """The name in lines that fit a box, broken after hyphens; a part that is too long is cut."""
    lines = [""]
    for part in re.findall(r"[^-]+-?|-", name):
        if lines[-1] and len(lines[-1]) + len(part) > _LETTERS:
            lines.append("")
        lines[-1] += part
    return [line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…" for line in lines]
