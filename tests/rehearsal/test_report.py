"""The page that a real `up` leaves behind; tests/browser opens a recorded one."""

from __future__ import annotations

import json
import subprocess
import sys
from html import unescape
from pathlib import Path

from sandbox.paths import REPOSITORY
from tests.support.driver import Sandbox
from tests.support.edges import EDGES, TENANT_EDGES
from tools.report import event_times, graph
from tools.report.up import summarize


def test_up_ends_with_a_report_of_all_that_it_did(first_up: Sandbox) -> None:
    assert "report of the last up: " in first_up.root.parent.joinpath("up.txt").read_text()
    html = unescape(first_up.home.report.read_text())
    assert "Times are those at which the engine's events arrived" in html
    deployed = [resource for resource in first_up.resources() if resource.get("custom")]
    drawn = [resource for resource in deployed if not resource["type"].startswith("pulumi:providers:")]
    assert html.count('<g class="box ') == len(drawn)
    assert html.count('<th scope="row" class="name">') >= len(drawn)
    assert "Nothing was asked of the gateway." in html  # its pods are played
    assert "ciphertext" not in html


def test_its_graph_has_every_edge_that_the_program_promises(first_up: Sandbox) -> None:
    operation, exact = event_times.read(first_up.home.event_log("dev", "up"))
    up = summarize(graph.read(first_up.home.checkpoint("dev")), operation)
    assert exact
    names = {urn: (node.kind, urn.rpartition("::")[2]) for urn, node in up.graph.nodes.items()}
    edges = {(names[urn], names[one]) for urn, node in up.graph.nodes.items() for one in node.needs}
    for edge in (*EDGES, *TENANT_EDGES):
        assert ((edge.kind, edge.name), (edge.needs_kind, edge.needs)) in edges, str(edge)
    longest = sum(up.seconds(urn) for urn in up.critical)
    assert 0 < longest <= sum(wave.seconds for wave in up.waves)
    assert longest <= up.elapsed


def test_the_command_writes_the_same_from_an_export(dev: Sandbox, tmp_path: Path) -> None:
    dev.up().succeeded()
    state = tmp_path / "state.json"
    dev.run("exec", "--", "pulumi", "stack", "export", "--file", str(state)).succeeded()
    assert "deployment" in json.loads(state.read_text())
    out = tmp_path / "report.html"
    line = [sys.executable, "-m", "tools.report", "--state", str(state), "--out", str(out)]
    line += ["--events", str(dev.home.event_log(dev.stack, "up"))]
    subprocess.run(line, cwd=REPOSITORY, check=True)
    dev.run("report").succeeded()
    assert out.read_text() == dev.home.report.read_text()
