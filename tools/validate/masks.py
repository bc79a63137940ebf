"""No key is ever printed."""

from __future__ import annotations

import re


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without `secrets` and anything that looks like a key of LiteLLM (sk-...)."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return re.sub(r"sk-[\w.-]+", "sk-***", text)
