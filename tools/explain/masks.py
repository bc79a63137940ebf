"""Logs and events are quoted without what may be a secret's value, though a Secret is never read."""

from __future__ import annotations

import re

from tools.validate.masks import masked

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_NAMED = re.compile(
    r"(?i)((?:pass(?:word|wd)?|secret|token|api[_-]?key|salt|authorization)[\"']?\s*[=:]\s*(?:bearer\s+)?[\"']?)"
    r"[^\s\"',;}]+"
)
_RANDOM = re.compile(r"(?=[\w+=]*\d)(?=[\w+=]*[A-Za-z])[\w+=]{20,}")
"""Long words of letters and digits, as generated values are; names of objects have dashes between theirs."""


def mask(text: str) -> str:
    """The text with *** for logins in URLs, what follows a word such as "password", keys, and long random words."""
    text = _CREDENTIALS.sub("***", masked(text))
    return _RANDOM.sub("***", _NAMED.sub(r"\1***", text))


def quoted(text: str, longest: int = 400) -> str:
    """The masked text on one line, cut to `longest` characters."""
    line = mask(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[:longest]}…"
