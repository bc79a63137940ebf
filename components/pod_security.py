"""Security contexts for images that run as root."""

from __future__ import annotations

from typing import Any

ROOT_WITHOUT_RIGHTS: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A security context that keeps to the restricted Pod Security Standard in all but `runAsNonRoot`."""
