"""The report in a real browser: what a stranger with a screen, a keyboard or a screen reader gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs]
from playwright.sync_api import Browser, Page

from tests.support.recorded import ANSWER, EVENTS, REASON, STATE, write_failed
from tools.report.page import write

Scheme = Literal["light", "dark"]
SCHEMES: list[Scheme] = ["light", "dark"]
WIDTHS = [1280, 390]
FOCUSABLE = "a[href], summary, [tabindex='0']"


@dataclass
class Seen:
    """A page, and what it said and asked for while it was open."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Opener:
    """Opens a file in pages of a width and a colour scheme, each in a profile of its own."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.pages: list[Page] = []

    def open(self, file: Path, width: int = 1280, scheme: Scheme = "light") -> Seen:
        page = self.browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.pages.append(page)
        seen = Seen(page)
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(file.as_uri())
        return seen


@pytest.fixture
def opener(browser: Browser) -> Iterator[Opener]:
    opener = Opener(browser)
    yield opener
    for page in opener.pages:
        page.close()


@pytest.fixture(scope="module")
def succeeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("succeeded") / "report.html"
    write(STATE, EVENTS, out, answer_file=ANSWER)
    return out


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failed")
    write(*write_failed(folder), folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_asks_for_nothing_and_complains_of_nothing(
    opener: Opener, succeeded: Path, scheme: Scheme
) -> None:
    seen = opener.open(succeeded, scheme=scheme)
    seen.page.wait_for_load_state("networkidle")
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [succeeded.as_uri()]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("outcome", "width"), [("succeeded", 1280), ("failed", 390)])
def test_axe_finds_no_violation(
    opener: Opener, request: pytest.FixtureRequest, outcome: str, scheme: Scheme, width: int
) -> None:
    page = opener.open(request.getfixturevalue(outcome), width, scheme).page
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    results = Axe().run(page)
    assert "color-contrast" in [rule["id"] for rule in results.response["passes"]]
    assert results.violations_count == 0, results.generate_report()


def test_axe_would_find_one(opener: Opener, succeeded: Path) -> None:
    page = opener.open(succeeded).page
    page.locator("html").evaluate("html => html.removeAttribute('lang')")
    results = Axe().run(page, options={"runOnly": ["html-has-lang"]})
    assert [rule["id"] for rule in results.response["violations"]] == ["html-has-lang"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_keyboard_reaches_everything_in_order(opener: Opener, succeeded: Path, width: int) -> None:
    page = opener.open(succeeded, width).page
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    expected = page.locator(FOCUSABLE).evaluate_all("all => all.map(each => each.outerHTML.slice(0, 200))")
    reached: list[str] = []
    for _ in expected:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"nobody sees that {reached[-1]} has the focus"
    assert reached == expected
    assert len(expected) >= 8


def test_the_first_link_skips_to_the_content(opener: Opener, succeeded: Path) -> None:
    page = opener.open(succeeded).page
    page.keyboard.press("Tab")
    assert (page.locator(":focus").bounding_box() or {"x": -1})["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_table_behind_the_graph_opens_by_key(opener: Opener, succeeded: Path) -> None:
    page = opener.open(succeeded).page
    table = page.get_by_role("table", name="Every resource, its component")
    assert not table.is_visible()
    page.get_by_text("The same as a table").focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="cluster", exact=True))
    assert "litellm-pg-app-synced" in row.inner_text()


def test_a_screen_reader_finds_its_way(opener: Opener, succeeded: Path) -> None:
    page = opener.open(succeeded).page
    assert page.title() == "llm-gateway / dev: the last up"
    assert [page.get_by_role(role).count() for role in ("banner", "navigation", "main")] == [1, 1, 1]
    assert page.get_by_role("heading", level=1).inner_text() == "llm-gateway / dev"
    headings = [heading.inner_text() for heading in page.get_by_role("heading", level=2).all()]
    ways = ["What waits for what", "Where the time went", "Timeline", "What answered", "Outputs", "Versions"]
    assert headings == ways
    assert page.get_by_role("img", name="Graph").count() == 1
    timeline = page.get_by_role("table", name="Every resource by component")
    critical = timeline.get_by_role("rowheader", name="on the critical path")
    path = [["nodes", "NodePool"], ["release", "Release"]]
    assert [name.split()[-2:] for name in critical.all_inner_texts()] == path


def test_what_answered_is_a_table_and_said_where_nothing_was_asked(
    opener: Opener, succeeded: Path, failed: Path
) -> None:
    section = opener.open(succeeded).page.get_by_role("region", name="What answered")
    rows = section.get_by_role("table", name="The chat that the gateway was asked for").get_by_role("row")
    said = dict(row.inner_text().split("\t") for row in rows.all()[1:])
    assert (said["Virtual key"], said["Model"], said["Status"]) == (
        "search-app",
        "qwen-local",
        "200 after 0.8 s",
    )
    section = opener.open(failed).page.get_by_role("region", name="What answered")
    assert "Nothing was asked of the gateway." in section.inner_text()
    assert section.get_by_role("table").count() == 0


def test_a_failure_comes_first(opener: Opener, failed: Path) -> None:
    page = opener.open(failed).page
    assert page.get_by_role("heading", level=2).first.inner_text() == "Problems"
    assert REASON in page.get_by_role("region", name="Problems").inner_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_only_what_says_so_scrolls_sideways(opener: Opener, succeeded: Path, width: int) -> None:
    page = opener.open(succeeded, width).page
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    wide = page.locator("body *").evaluate_all(
        """(all, width) => all.filter(each => !each.closest('.scroll, .unseen, .skip, svg') &&
           each.getBoundingClientRect().right > width + 1).map(each => each.outerHTML.slice(0, 100))""",
        width,
    )
    assert wide == []


@pytest.mark.parametrize("width", WIDTHS)
def test_themes_differ_and_show_something(opener: Opener, succeeded: Path, width: int) -> None:
    shots = [opener.open(succeeded, width, scheme).page.screenshot(full_page=True) for scheme in SCHEMES]
    blank = opener.open(succeeded, width).page
    blank.locator("body").evaluate("body => body.replaceChildren()")
    assert shots[0] != shots[1]
    assert all(len(shot) > 5 * len(blank.screenshot(full_page=True)) for shot in shots)


def test_the_graph_in_docs_follows_the_readers_theme(opener: Opener, tmp_path: Path) -> None:
    """As a page shows it that embeds it: an image, which takes no style from that page."""
    svg = Path(__file__).parents[2] / "docs" / "graph.svg"
    page = tmp_path / "page.html"
    page.write_text(f'<!doctype html><title>graph</title><img src="{svg.as_uri()}" alt="graph">')
    images = [opener.open(page, scheme=scheme).page.locator("img") for scheme in SCHEMES]
    assert all(image.evaluate("image => image.naturalWidth") > 1000 for image in images)
    light, dark = (image.screenshot() for image in images)
    assert light != dark
