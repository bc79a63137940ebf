"""The report: what it reads, what it says, and that it can be opened anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.support import graph_page
from tests.support.recorded import ANSWER, EVENTS, REASON, STATE, TITLE, write_failed
from tests.support.waiting import wait_for
from tools.report import event_times, graph, page
from tools.report.drawing import SIGNS, draw
from tools.report.graph import Resource
from tools.report.up import Up, summarize

STACK = "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev"
ROOT = Resource(STACK, "pulumi:pulumi:Stack", "", custom=False, needs=frozenset())
THING = "k:v1:Thing"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:AAAA"}


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:dev::p::{type_}::{name}"


def resource(name: str, *needs: str, type_: str = THING, parent: str = STACK) -> Resource:
    needed = frozenset(urn(THING, need) for need in needs)
    return Resource(urn(type_, name), type_, parent, type_ != "c:C", needed)


@pytest.fixture(scope="module")
def up() -> Up:
    operation, _ = event_times.read(EVENTS)
    return summarize(graph.read(STATE), operation)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    page.write(STATE, EVENTS, out)
    return out.read_text()


def named(up: Up, *urns: str) -> list[str]:
    return [up.graph.nodes[one].urn.rpartition("::")[2] for one in urns]


def test_groups_are_the_outermost_components() -> None:
    outer, inner = urn("c:C", "app"), urn("c:C", "app-gate")
    built = graph.build(
        [
            ROOT,
            resource("app", type_="c:C"),
            resource("app-gate", type_="c:C", parent=outer),
            resource("app-gate-open", "app-release", parent=inner),
            resource("app-release", parent=outer),
            resource("alone"),
            resource("gke", type_="pulumi:providers:k"),
        ]
    )
    assert built.components == {outer: "app"}
    assert {node.name: node.component for node in built.nodes.values()} == {
        "alone": urn(THING, "alone"),
        "gate-open": outer,
        "release": outer,
    }
    assert built.nodes[urn(THING, "app-gate-open")].needs == {urn(THING, "app-release")}


def test_an_empty_component_stands_for_itself() -> None:
    built = graph.build([resource("later", type_="c:C")])
    assert [(node.name, node.empty_component) for node in built.nodes.values()] == [("later", True)]


def test_edges_are_those_of_dependencies_and_properties_and_parents(tmp_path: Path) -> None:
    def thing(name: str, **more: Any) -> dict[str, Any]:
        return {"urn": urn(THING, name), "type": THING, "custom": True, "parent": STACK, **more}

    by_property = {"x": [urn(THING, "b")], "y": None}
    resources = [
        {"urn": STACK, "type": "pulumi:pulumi:Stack", "outputs": {"url": "http://a", "key": SECRET}},
        *map(thing, "abc"),
        thing("d", parent=urn(THING, "c"), dependencies=[urn(THING, "a")], propertyDependencies=by_property),
        thing("old", delete=True),
    ]
    file = tmp_path / "state.json"
    deployment = {"manifest": {"version": "v3"}, "resources": resources}
    file.write_text(json.dumps({"version": 3, "deployment": deployment}))
    state = graph.read(file)
    built = graph.build(state.resources)
    assert built.nodes[urn(THING, "d")].needs == {urn(THING, name) for name in "abc"}
    assert urn(THING, "old") not in built.nodes
    assert state.outputs == {"url": "http://a", "key": "[secret]"}


@pytest.mark.parametrize(
    ("seconds", "exact", "text"),
    [
        (0.04, True, "0.0 s"),
        (59.96, True, "1 min 00 s"),
        (59.6, False, "1 min 00 s"),
        (119.7, True, "2 min 00 s"),
    ],
)
def test_a_duration_never_has_sixty_seconds(seconds: float, exact: bool, text: str) -> None:
    assert page.duration(seconds, exact) == text


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("{}")
    with pytest.raises(ValueError, match="pulumi stack export"):
        graph.read(file)
    file.write_bytes(STATE.read_bytes()[:1000] + b"\xc3")
    with pytest.raises(ValueError, match=r"state\.json is cut off, .* make room and run `up` again"):
        graph.read(file)


def test_arrows_point_forward_and_boxes_do_not_overlap(up: Up) -> None:
    drawing = draw(up.graph, up.states, up.critical)
    assert len(drawing.boxes) == len(up.graph.nodes)
    for arrow in drawing.arrows:
        points = [int(x) for x in re.findall(r"(-?\d+),", arrow.path)]
        assert points[0] < points[-1], arrow.title
    for one in drawing.boxes:
        assert 0 <= one.x <= drawing.width - one.width
        for other in drawing.boxes:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert apart or one is other, f"{one.title} lies on {other.title}"


def test_boxes_lie_in_their_components_frame(up: Up) -> None:
    drawing = draw(up.graph, up.states, up.critical)
    frames = {frame.name: frame for frame in drawing.frames}
    for box in drawing.boxes:
        frame = frames[up.graph.components[box.node.component]]
        assert frame.x <= box.x, box.title
        assert box.x + box.width <= frame.x + frame.width, box.title
        assert frame.y <= box.y, box.title
        assert box.y + box.height <= frame.y + frame.height, box.title


def test_the_drawing_looks_for_no_font(up: Up, capfd: pytest.CaptureFixture[str]) -> None:
    draw(up.graph, up.states, up.critical)
    assert capfd.readouterr() == ("", "")


def test_the_drawing_in_docs_is_fresh() -> None:
    shown = (graph_page.ROOT / graph_page.FILE).read_text()
    assert shown == graph_page.drawing(), f"{graph_page.FILE}: run `make docs`"


def test_the_recorded_up(up: Up) -> None:
    assert set(up.states.values()) == {"created", "unchanged"}
    assert named(up, *up.critical) == ["gpu-pool-nodes", "vllm-release"]
    longest = sum(map(up.seconds, up.critical))
    assert longest < up.elapsed
    assert longest < sum(wave.seconds for wave in up.waves)
    names = [{up.graph.components[component] for component in wave.components} for wave in up.waves]
    assert names[:2] == [{"namespaces", "secrets", "gpu-pool"}, {"network"}]
    assert names[-2:] == [{"litellm"}, {"tenants"}]


def test_a_failed_up_shows_what_failed_and_what_was_not_reached(tmp_path: Path) -> None:
    state, events = write_failed(tmp_path)
    operation, exact = event_times.read(events)
    up = summarize(graph.read(state), operation)
    words = {up.graph.nodes[node].urn.rpartition("::")[2]: word for node, word in up.states.items()}
    assert words["postgres-cluster"] == "failed"
    assert words["litellm"] == "not reached"
    assert words["vllm-release"] == "not finished"
    assert words["gpu-pool-nodes"] == "created"
    text = page.html(graph.read(state), operation, TITLE, exact)
    assert REASON in text
    assert "did not finish" in text


def test_a_component_of_components_whose_up_was_killed_is_not_finished() -> None:
    tenants, team = urn("c:C", "tenants"), urn("c:C", "team")
    metas = [
        {"op": "create", "urn": name, "type": "c:C", "old": None, "new": {"parent": parent, "inputs": inputs}}
        for name, parent, inputs in ((tenants, STACK, {}), (team, tenants, {"name": "search"}))
    ]
    kinds = ("resourcePreEvent", "resOutputsEvent")
    operation = event_times.parse(
        {"timestamp": 5, kind: {"metadata": meta}} for meta in metas for kind in kinds
    )
    state = graph.State(
        [ROOT, resource("tenants", type_="c:C"), resource("team", type_="c:C", parent=tenants)], "v3.259.0"
    )
    assert summarize(state, operation).states == {tenants: "not finished"}
    assert "not finished" in page.html(state, operation, TITLE, exact=False)


def test_what_was_deleted_is_on_the_timeline_only() -> None:
    deleted = urn("k:v1:Thing", "gone")
    stack = {"parent": "", "outputs": {}}
    steps = [
        (kind, {"op": op, "urn": name, "type": name.split("::")[2], "old": old, "new": new})
        for name, op, old, new in (
            (STACK, "same", stack, stack),
            (deleted, "delete", {"parent": STACK, "custom": True}, None),
        )
        for kind in ("resourcePreEvent", "resOutputsEvent")
    ]
    events: list[dict[str, Any]] = [{"timestamp": 5, kind: {"metadata": meta}} for kind, meta in steps]
    summary = {"result": "succeeded", "isPreview": False, "durationSeconds": 1}
    operation = event_times.parse([*events, {"timestamp": 6, "summaryEvent": summary}])
    state = graph.State([ROOT], "v3.259.0")
    up = summarize(state, operation)
    assert up.graph.nodes == {}
    assert [(line.name, line.state) for line in up.lines] == [("gone", "deleted")]
    assert "gone" in page.html(state, operation, TITLE, exact=False)


def test_every_state_has_a_sign_of_its_own() -> None:
    assert len(set(SIGNS.values())) == len(SIGNS)


class Clock:
    """In the place of the module `time`; it is asked once per look at the log."""

    now, asked = 0.0, 0

    def time(self) -> float:
        self.asked += 1
        return self.now


def test_arrival_times_are_those_of_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, over, clock = tmp_path / "up.jsonl", Event(), Clock()
    events = EVENTS.read_text().splitlines(keepends=True)
    monkeypatch.setattr(event_times, "time", clock)
    noting = Thread(target=event_times.note, args=(log, over))
    noting.start()
    try:
        for now, text in ((100.0, "".join(events[:5]) + events[5][:40]), (200.5, events[5][40:])):
            clock.now = now
            with log.open("a") as file:
                file.write(text)
            looks = clock.asked + 2
            wait_for(lambda looks=looks: clock.asked >= looks)
    finally:
        over.set()
        noting.join()
    assert event_times.beside(log).read_text().split() == [*["100.000"] * 5, "200.500"]
    assert event_times.read(log)[1]


def test_times_that_cannot_be_written_are_done_without(tmp_path: Path) -> None:
    log, over = tmp_path / "up.jsonl", Event()
    log.write_text(EVENTS.read_text())
    event_times.beside(log).mkdir()
    over.set()
    event_times.note(log, over)


def test_times_of_another_log_are_not_used(tmp_path: Path) -> None:
    log = tmp_path / "up.jsonl"
    log.write_text(EVENTS.read_text())
    event_times.beside(log).write_text("1.0\n2.0\n")
    operation, exact = event_times.read(log)
    assert not exact
    assert all(step.started == int(step.started) for step in operation.steps)
    assert "whole seconds" in page.html(graph.read(STATE), operation, TITLE, exact)


class References(HTMLParser):
    """Everything that a page refers to, its ids, and the text of its style element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert "style" not in given, "the page's policy refuses style attributes"
        assert not [name for name in given if name.startswith("on")]
        self.references += [
            value or "" for name, value in attrs if name in ("href", "src", "srcset", "action")
        ]
        self.ids += [given["id"] or ""] if "id" in given else []


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    found = References(html)
    assert "script" not in found.tags
    assert set(found.tags) & {"iframe", "object", "embed", "link"} == {"link"}
    assert len(found.ids) == len(set(found.ids))
    for reference in found.references:
        assert reference == "data:," or reference.removeprefix("#") in found.ids, reference
    assert "url(" not in re.sub(r"url\(#[a-z-]+\)", "", html)


def test_the_policy_admits_the_pages_own_style_alone(html: str) -> None:
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html


def test_text_of_the_state_is_text_in_the_page(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    hostile = '"gpuNodePool": "<script>alert(1)</script>"'
    file.write_text(STATE.read_text().replace('"gpuNodePool": "llm-gpu"', hostile))
    page.write(file, EVENTS, tmp_path / "report.html", title="a <b> c")
    text = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<h1>a &lt;b&gt; c</h1>" in text


def test_the_page_names_versions(html: str) -> None:
    for version in ("3.259.0", "litellm-helm", "1.89.2", "ghcr.io/cloudnative-pg/postgresql", "17.6"):
        assert f">{version}<" in html, version


@pytest.mark.parametrize(
    ("changes", "shown", "hidden"),
    [
        (
            {},
            ["200 after 0.8 s", "31 in the prompt, 10 in the answer", "0.00000355 USD"],
            "Nothing was asked",
        ),
        ({"text": "<b>hello</b>"}, ["&lt;b&gt;hello&lt;/b&gt;"], "<b>hello"),
        ({"status": 429}, ['class="bad">429 after'], "Spend"),
        ({"status": 0}, ['class="bad">no answer after'], "Spend"),
        (None, ["Nothing was asked of the gateway."], "search-app"),
    ],
)
def test_the_page_says_what_the_gateway_answered(
    tmp_path: Path, changes: dict[str, Any] | None, shown: list[str], hidden: str
) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(json.loads(ANSWER.read_text()) | (changes or {})))
    page.write(STATE, EVENTS, tmp_path / "r.html", answer_file=None if changes is None else file)
    section = (
        (tmp_path / "r.html").read_text().partition('<section id="answer"')[2].partition("</section>")[0]
    )
    for text in shown if changes is None else [*shown, "http://127.0.0.1:41873", "search-app"]:
        assert text in section
    assert hidden not in section


@pytest.mark.parametrize("text", ["", "[]", '{"status": 200}', '{"key_value": "sk-1"}'])
def test_what_is_no_answer_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answer.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"answer\.json does not say what the gateway answered"):
        page.write(STATE, EVENTS, tmp_path / "r.html", answer_file=file)


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tools.report", "--out", str(tmp_path / "r.html"), *arguments]
        env = os.environ | {"PATH": ""}  # Graphviz comes with the wheel
        return subprocess.run(line, cwd=graph_page.ROOT, env=env, capture_output=True, text=True)

    given = ("--state", str(STATE), "--events", str(EVENTS), "--answer", str(ANSWER))
    done = run(*given, "--title", "my stack")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "r.html").read_text()
    assert "<h1>my stack</h1>" in text
    assert "Hello! How can I help you?" in text
    missing = run("--state", "nowhere.json", "--events", str(EVENTS))
    assert missing.returncode == 1
    assert "nowhere.json" in missing.stderr
