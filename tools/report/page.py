"""The page: one HTML file that needs no other file, no network and no script."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tools.report import answer, drawing, event_times
from tools.report.answer import Answer
from tools.report.graph import Graph, State, read
from tools.report.paths import reduced
from tools.report.up import Line, Up, summarize
from tools.review.events import STACK, Operation

TEMPLATES = Path(__file__).parent / "templates"
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Axis:
    """A scale from 0 to `end` seconds with at most seven whole ticks."""

    end: float

    @property
    def ticks(self) -> list[int]:
        """Seconds with a line."""
        step = next(
            scale * lead
            for scale in (10**power for power in range(9))
            for lead in (1, 2, 5)
            if scale * lead * 6 >= self.end
        )
        return list(range(0, int(self.end) + 1, step))

    def percent(self, seconds: float) -> float:
        """The place of a time on the scale, in percent."""
        return round(100 * seconds / self.end, 2) if self.end else 0.0


def svg(graph: Graph, title: str, about: str) -> str:
    """The graph alone, as an SVG file with its own colours for light and dark."""
    return _ENVIRONMENT.get_template("graph.svg.j2").render(
        drawing=drawing.draw(graph, {}, ()),
        graph_title=title,
        graph_about=about,
        graph_style=_style("theme.css", "graph.css"),
    )


def html(state: State, operation: Operation, title: str, exact: bool, answered: Answer | None = None) -> str:
    """The page about an operation, the state after it, and what the gateway then answered.

    `exact`: times are finer than whole seconds.
    """
    up = summarize(state, operation)
    style = _style("theme.css", "graph.css", "page.css")
    counts = Counter(up.states.values())
    critical = [up.seconds(urn) for urn in up.critical]
    waves = [wave.seconds for wave in up.waves]
    resources = sum(not node.empty_component for node in up.graph.nodes.values())

    def component(urn: str) -> str:
        return up.graph.components.get(urn, urn.rpartition("::")[2])

    about = (
        f"{resources} resources in {len(up.graph.components)} components, from left to right in the order in which "
        "they can be deployed. The table below the graph says the same."
    )
    hue = drawing.hues(up.graph)
    return _ENVIRONMENT.get_template("page.html.j2").render(
        title=title,
        style=style,
        style_hash=f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}",
        operation=operation,
        problems=[said for said in operation.diagnostics if said.severity == "error"],
        started=datetime.fromtimestamp(up.start, UTC),
        up=up,
        resources=resources,
        counts=[(word, counts[word]) for word in drawing.SIGNS if counts[word]],
        signs=drawing.SIGNS,
        protected=any(node.protected for node in up.graph.nodes.values()),
        needs=reduced({urn: node.needs for urn, node in up.graph.nodes.items()}),
        drawing=drawing.draw(up.graph, up.states, up.critical),
        graph_title="Graph",
        graph_about=about,
        graph_style="",
        comparison_axis=Axis(max(up.elapsed, sum(waves))),
        timeline_axis=Axis(up.elapsed),
        critical_seconds=sum(critical),
        critical_bars=_end_to_end(critical),
        serial_seconds=sum(waves),
        wave_bars=_end_to_end(waves),
        groups=_groups(up),
        component=component,
        hue=hue | {line.component: 6 for line in up.lines if line.component not in hue},
        answered=answered,
        outputs=state.outputs,
        versions=_versions(state),
        duration=lambda seconds: duration(seconds, exact),
        clock=(
            f"Times are those at which the engine's events arrived, to {event_times.INTERVAL} s."
            if exact
            else "The engine's event log has whole seconds: each time can be one second off."
        ),
    )


def _style(*names: str) -> str:
    return "".join((TEMPLATES / name).read_text() for name in names)


def _end_to_end(seconds: Sequence[float]) -> list[tuple[float, float]]:
    """Start and length of each, one after the other."""
    return list(zip(accumulate(seconds, initial=0.0), seconds, strict=False))


def _groups(up: Up) -> list[tuple[str, list[Line]]]:
    """The lines by component, in the order in which the components started."""
    groups: dict[str, list[Line]] = {}
    for line in sorted(up.lines, key=lambda line: line.start):
        groups.setdefault(line.component, []).append(line)
    return list(groups.items())


def _versions(state: State) -> list[tuple[str, list[tuple[str, str]]]]:
    """Tables of names and versions, each with its caption."""
    releases = [one.inputs for one in state.resources if one.type == "kubernetes:helm.sh/v3:Release"]
    charts = {str(inputs["chart"]).rpartition("/")[2]: str(inputs.get("version", "")) for inputs in releases}
    providers = {provider.kind: str(provider.inputs.get("version", "")) for provider in state.providers}
    images = [str(image).rpartition(":") for image in state.outputs.get("images", ())]
    tables = [
        ("Engine and providers", [("pulumi", state.engine.removeprefix("v")), *sorted(providers.items())]),
        ("Charts of the deployed Releases", sorted(charts.items())),
        ("Images that the program pins", [(name, tag) for name, _, tag in images]),
    ]
    return [(caption, rows) for caption, rows in tables if rows]


def duration(seconds: float, exact: bool) -> str:
    """A time for people: minutes and seconds, or seconds below a minute, to a tenth where `exact`."""
    if round(seconds, int(exact)) >= 60:
        minutes, left = divmod(round(seconds), 60)
        return f"{minutes} min {left:02d} s"
    return f"{seconds:.{int(exact)}f} s"


def default_title(state: State) -> str:
    """Project and stack, from the stack's own URN."""
    urn = next((one.urn for one in state.resources if one.type == STACK), "urn:pulumi:stack::project")
    stack, project = urn.removeprefix("urn:pulumi:").split("::")[:2]
    return f"{project} / {stack}"


def write(
    state_file: Path,
    event_log: Path,
    out: Path,
    title: str | None = None,
    answer_file: Path | None = None,
) -> None:
    """Write the page about the operation in an event log, the state after it, and what the gateway then answered.

    Raises OSError if a file cannot be read or written, ValueError if a file holds something else.
    """
    state = read(state_file)
    operation, exact = event_times.read(event_log)
    answered = answer.read(answer_file) if answer_file else None
    out.write_text(html(state, operation, title or default_title(state), exact, answered))
