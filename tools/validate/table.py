"""The results as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from tools.validate.checks import Result

STYLES = {"pass": "green", "fail": "bold red", "not run": "yellow", "left out": "dim"}


def passed(results: Sequence[Result]) -> bool:
    """Whether every check that was not left out passed."""
    return all(result.verdict in ("pass", "left out") for result in results)


def table(results: Sequence[Result]) -> Table:
    """A table with one row per check."""
    made = Table("check", "verdict", "seconds", "seen")
    for result in results:
        verdict = Text(result.verdict, STYLES[result.verdict])
        made.add_row(result.name, verdict, f"{result.seconds:.1f}", Text(result.seen))
    return made


def document(stack: str, results: Sequence[Result]) -> str:
    """JSON: {"stack", "passed", "checks": [{"name", "verdict", "seconds", "seen"}]}."""
    checks = [asdict(result) for result in results]
    return json.dumps({"stack": stack, "passed": passed(results), "checks": checks}, indent=2)
