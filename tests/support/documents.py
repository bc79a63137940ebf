"""The documents of this repository and their code blocks, each marked by the comment above it.

Above a block of shell: `<!-- run: sandbox -->`, in order of the page, in one sandbox (tests/rehearsal/test_docs.py);
`<!-- run: where pods run -->`, in the one in which the README's `make up` ran; `<!-- run: tests/...py::test_... -->`, by
that test; or `<!-- not run: <reason> -->`, of REASONS, with more after a colon. `<!-- printed -->` above a block of text:
what the block before it prints, somewhere in it. `…` leaves out some, and numbers and the length of lines may differ.
Above a block of YAML: `<!-- settings: <stack> -->`, merged over that stack's settings, or `<!-- no settings: ... -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.paths import REPOSITORY

REASONS: Mapping[str, str] = {
    "needs Google Cloud": r"\bgcloud\b|\bgs://|\bgcpkms://",
    "needs GitHub": r"\bgh |github",
    "needs Argo CD": r"\bargocd\b",
    "needs a container registry": r"\boci://",
    "is the tests": r"\bmake test\b",
    "is a measurement": r"\bmake bench\b",
}
"""Why a block is not run anywhere, and what must stand in it for that to be true."""

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n\s*)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced code block; `mark` is the text of the comment above it, empty where there is none."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def kind(self) -> str:
        """What stands before the mark's colon."""
        return self.mark.partition(": ")[0]

    @property
    def what(self) -> str:
        """What stands behind it."""
        return self.mark.partition(": ")[2]

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """The documents that people read, README first."""
    found = [*REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("examples/**/README.md")]
    roots = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*roots, *sorted(found)]


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The code blocks of a document in any of some languages, without their indent."""
    content = page.read_text()
    for found in _BLOCK.finditer(content):
        if found["language"] in languages:
            lines = found["text"].splitlines(keepends=True)
            text = "".join(line.removeprefix(found["indent"]) for line in lines)
            at = content.count("\n", 0, found.start("language")) + 1
            yield Block(page, at, found["language"], found["mark"] or "", text)
