"""A stack's configuration as the settings' sections.

A key may be a path, such as `gcp.project` or `models[0].alias`: `pulumi new` can write its answers, which are
strings, in no other way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

_PATH = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*|\[[0-9]+\])+")


def nested(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Decode strings that are JSON, and put each entry whose key is a path where the path leads.

    Such an entry replaces what its section has there.
    """
    values = {key: _read(value) for key, value in entries.items()}
    paths = sorted(filter(_PATH.fullmatch, values))
    sections = {key: value for key, value in values.items() if key not in paths}
    for path in paths:
        sections = _with(sections, re.findall(r"\w+", path), values[path])
    return sections


def _read(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    # A number of thousands of digits is a ValueError, thousands of brackets are a RecursionError.
    except (ValueError, RecursionError):
        return value


def _with(into: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    step, *rest = steps
    if step.isdecimal():
        items = list(cast(list[Any], into)) if isinstance(into, list) else []
        at = min(int(step), len(items))
        items[at : at + 1] = [_with(items[at] if at < len(items) else None, rest, value)]
        return items
    section = dict(cast(dict[str, Any], into)) if isinstance(into, dict) else {}
    return section | {step: _with(section.get(step), rest, value)}
