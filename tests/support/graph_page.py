"""Draws the dev stack's graph from the program, without deploying it, as docs/graph.svg: python -m tests.support.graph_page.

The program runs in the tests' mocked engine. So what it only reads is not in the drawing.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from settings import PROJECT
from tests.support.engine import Registration, run_program
from tools.report import graph, page

ROOT = Path(__file__).resolve().parents[2]
FILE = "docs/graph.svg"


def drawing() -> str:
    """The SVG of what `Pulumi.dev.yaml` has the program make."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    prefix = f"{PROJECT}:"
    own = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    built = graph.build(map(_resource, run_program(own).resources.values()))
    about = (
        f"{len(built.nodes)} resources in {len(built.components)} components, from left to right in the order in which "
        "they can be deployed. Each starts when all that point to it are complete."
    )
    return page.svg(built, "What waits for what in the dev stack", about)


def _resource(registered: Registration) -> graph.Resource:
    request = registered.request
    by_property = {urn for needs in request.propertyDependencies.values() for urn in needs.urns}
    return graph.Resource(
        urn=registered.urn,
        type=request.type,
        parent=request.parent,
        custom=request.custom,
        needs=frozenset({*request.dependencies, *by_property}),
        protected=request.protect,
    )


def main() -> None:
    """Write the file."""
    (ROOT / FILE).write_text(drawing())
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
