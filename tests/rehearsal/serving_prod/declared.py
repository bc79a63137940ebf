"""What the tests of this folder declare: a model with limits, and virtual keys before and after a change."""

from __future__ import annotations

from typing import Any

from tests.support.serving import ENGINE

LIMITED = "Qwen2.5:0.5B"
"""Alias of a model with limits, as clients send it and no object of Kubernetes may be called."""
RPM, TPM = 6, 600
"""Limits per minute. A request that tokens are counted with has 152 of them."""
TINY = 0.000001
"""USD that the first request spends."""
BEFORE: list[dict[str, Any]] = [
    {"name": "raised", "team": "search", "budget": TINY},
    {"name": "blocked", "team": "search"},
    {"name": "removed", "team": "search"},
]
AFTER = [{"name": "raised", "team": "search", "budget": 5}, {**BEFORE[1], "blocked": True}]
SETTINGS = {
    "llm-gateway:models": [ENGINE, {**ENGINE, "alias": LIMITED, "rpm": RPM, "tpm": TPM}],
    "llm-gateway:teams": [{"name": "search", "budget": 500}],
    "llm-gateway:virtualKeys": BEFORE,
}
