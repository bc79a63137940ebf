"""The documents: each block is run or says why not; each setting, command, link and target in them exists."""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from sandbox.paths import REPOSITORY
from sandbox.stack_file import merged
from settings.base import Section
from settings.errors import section_in
from tests.support.documents import REASONS, Block, blocks, pages
from tools.review.stacks import program

SHELL = [block for page in pages() for block in blocks(page, "sh", "bash", "shell", "console")]
YAML = [block for page in pages() for block in blocks(page, "yaml")]
PLACEHOLDERS = {"<stack>"}
"""What the run in the sandbox fills in."""


def prose(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_command_is_run_or_says_why_not(block: Block) -> None:
    reason = block.what.partition(":")[0]
    match block.kind, block.what:
        case "run", "sandbox" | "where pods run":
            assert set(re.findall(r"<[\w-]+>", block.text)) <= PLACEHOLDERS
        case "run", test:
            file, _, function = test.partition("::")
            assert f"def {function}(" in (REPOSITORY / file).read_text(), f"there is no {test}"
        case "not run", _:
            assert reason in REASONS, f"{reason!r} is none of {', '.join(REASONS)}"
            assert re.search(REASONS[reason], block.text), f"nothing in the block {reason}"
        case _:
            pytest.fail(f"nothing above the block says whether it is run: {block.mark!r}")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_is_printed_stands_below_what_is_run(page: Path) -> None:
    marked = list(blocks(page, "sh", "yaml", "text"))
    for above, block in itertools.pairwise(marked):
        if block.mark == "printed":
            assert above.mark in ("run: sandbox", "run: where pods run"), block
            assert block.text.replace("…", "").strip()


@pytest.mark.parametrize("block", YAML, ids=str)
def test_settings_in_documents_are_accepted(block: Block) -> None:
    if block.kind == "no settings":
        assert block.what
        assert "llm-gateway:" not in block.text
        return
    assert block.kind == "settings", f"nothing above the block says whether it is settings: {block.mark!r}"
    stack = yaml.safe_load((REPOSITORY / f"Pulumi.{block.what}.yaml").read_text())["config"]
    config = merged(stack, yaml.safe_load(block.text))
    settings.parse({key: json.dumps(value) for key, value in config.items()}, block.what)


def keys(section: type[Section]) -> dict[str, Any]:
    return {str(field.alias): field.annotation for field in section.model_fields.values()}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_settings_named_in_text_exist(page: Path) -> None:
    setting = r"`(?:llm-gateway:)?([a-z]\w+(?:\[\])?(?:\.\w+(?:\[\])?)+)(?:: [^`]*)?`"
    for name in re.findall(setting, prose(page)):
        section: type[Section] | None = settings.Settings
        first, *rest = name.replace("[]", "").split(".")
        if first not in keys(section) or name.startswith("gcp.secretmanager."):  # a module of pulumi_gcp
            continue
        for key in (first, *rest):
            assert section, f"{page.name}: {name} goes on below a value"
            assert key in keys(section), f"{page.name}: no setting is called {name}"
            section = section_in(keys(section)[key])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_make_targets_and_modules_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(re.findall(r"`([^`\n]+)`", text) + [block.text for block in blocks(page, "sh")])
    assert set(re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", code, re.MULTILINE)) <= targets
    for module in re.findall(r"python -m ([\w.]+)", code):
        path = REPOSITORY.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or path.joinpath("__main__.py").exists(), module


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent.joinpath(path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def message(node: ast.expr) -> str:
    """The text of a message, with `…` in place of values."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(message(part) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.BinOp(left=left, right=right):
            return message(left) + message(right)
        case _:
            return "…"


def head(text: str) -> str:
    """The beginning of a message: its first clause of three words or more, without the names around it."""
    clause = text
    for end in re.finditer(r": …|[.;,:] |:?\n", text):
        clause = text[: end.start()]
        if len(clause.split()) > 2:
            break
    return clause.strip("….: ")


def raised() -> list[tuple[str, str]]:
    """(file, head of the message) of each error of program and commands; stand-ins use Google's words."""
    files = [*REPOSITORY.glob("sandbox/*.py"), *REPOSITORY.glob("*.py")]
    for folder in (*program(REPOSITORY), "tools"):
        files += sorted(REPOSITORY.glob(f"{folder}/**/*.py"))
    found: list[tuple[str, str]] = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Raise(exc=ast.Call(args=[text, *_])):
                    found.append((file.name, head(message(text))))
                case ast.Call(
                    func=ast.Attribute(value=ast.Call(func=ast.Name("super")), attr="__init__"), args=[text]
                ):
                    found.append((file.name, head(message(text))))
                case _:
                    pass
    # One word or none: a code of the emulated cloud, or a message that other code composes.
    return [(file, text) for file, text in found if " " in text]


def test_every_error_has_an_entry() -> None:
    entries = re.sub(r"\s+", " ", (REPOSITORY / "docs" / "troubleshooting.md").read_text())
    errors = raised()
    assert {"cluster.py", "sync_gate.py", "errors.py", "stack_file.py", "reach.py"} <= {f for f, _ in errors}
    missing = [
        f"{file}: {text}" for file, text in errors if text.replace("`", "") not in entries.replace("`", "")
    ]
    assert not missing, "\n".join(missing)
