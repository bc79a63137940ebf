"""Keys are never said."""

from __future__ import annotations

import re


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without `secrets` and without anything that looks like a key of LiteLLM's (sk-...)."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return re.sub(r"sk-[\w.-]+", "sk-***", text)
