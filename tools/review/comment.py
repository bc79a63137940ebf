"""An operation as Markdown for GitHub.

Text from settings, programs and providers is shown as code, fenced by more backticks than it holds: Markdown,
HTML and mentions in it have no effect.
"""

from __future__ import annotations

import re
from itertools import accumulate

from tools.review.model import Line, Review, changes

# The most characters that GitHub's API accepts as the body of a comment or an issue.
LIMIT = 65_536
_TITLES = {"preview": "Preview", "deploy": "Deployment", "drift": "Drift"}
KINDS = tuple(_TITLES)
# Rows of the table and characters per group of messages; the first pair that fits is used.
_SIZES = ((500, 20_000), (100, 5_000), (10, 1_000))


def comment(review: Review, stack: str, kind: str = "preview", diff: str = "") -> str:
    """The comment; `diff` is cut to the room that is left, and a marker at the top lets the next run find it.

    Raises ValueError if `stack` is no valid name of a stack.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", stack):
        raise ValueError(f"{stack!r} is no stack's name: letters, digits, '-', '_' and '.' only.")
    title = f"<!-- llm-gateway {kind}: {stack} -->\n**{_TITLES[kind]} of `{stack}`: {review.headline}**"
    if review.uneventful:
        return f"{title}\n"
    heads = ["\n\n".join([title, *_body(review, rows, characters)]) for rows, characters in _SIZES]
    head = next((head for head in heads if len(head) < LIMIT // 2), heads[-1])
    return "\n\n".join([head, *_diff(diff.strip("\n"), LIMIT - len(head))]) + "\n"


def _body(review: Review, rows: int, characters: int) -> list[str]:
    blocks: list[str] = []
    if review.lines:
        table = ["| | resource | type | what changes |", "| --- | --- | --- | --- |"]
        table += [_row(line) for line in review.lines[:rows]]
        blocks.append("\n".join(table))
        if left := review.lines[rows:]:
            blocks.append(f"and {len(left)} more.")
    if review.protected:
        names = [f"{_code(line.name)} ({line.op})" for line in review.protected[:rows]]
        blocks.append(f"**Touches what is protected:** {', '.join(names)}")
    for heading, text in (("Stopped by the guard", review.stopped), ("Errors", review.errors)):
        if text:
            blocks.append(f"**{heading}**\n\n{_block(text, characters)}")
    if review.policies:
        blocks.append(f"**{review.policies}**" if review.violations else review.policies)
    if review.violations:
        blocks.append(_block(review.violations, characters))
    if review.warnings:
        blocks.append(f"**Warnings**\n\n{_block(review.warnings, characters)}")
    return blocks


def _row(line: Line) -> str:
    what = "; ".join(changes(line, "→", _code))
    return f"| **{line.op}** | {_code(line.name)} | {_code(line.type)} | {what} |"


def _diff(text: str, room: int) -> list[str]:
    """The full diff, folded; cut after a line, with a notice, where it takes more than `room` characters."""
    if not text:
        return []
    before, after = "<details><summary>Full diff</summary>\n\n", "\n\n</details>"
    cut = "\n\nCut at GitHub's limit: {} of {} lines; `make preview` and the workflow's log have all."
    lines = text.split("\n")
    frame = len(before + after + cut) + 2 * len(_fence(text)) + 40
    kept = sum(used <= room - frame for used in accumulate(len(line) + 1 for line in lines))
    notice = cut.format(kept, len(lines)) if kept < len(lines) else ""
    shown = "\n".join(lines[:kept])
    return [f"{before}{_block(shown, len(shown))}{notice}{after}"]


def _code(text: str) -> str:
    """Inline code for a table's cell: one line, with bars and the backslashes before them escaped."""
    text = re.sub(r"(\\*)\|", r"\1\1\\|", " ".join(text.split())[:200])
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _block(text: str, characters: int) -> str:
    if len(text) > characters:
        text = f"{text[:characters]}\n… cut, {len(text) - characters} more characters"
    fence = _fence(text)
    return f"{fence}text\n{text}\n{fence}"


def _fence(text: str) -> str:
    return "`" * max(3, _longest_run(text) + 1)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
