"""The one exception of the sandbox's own tools."""

from __future__ import annotations


class SandboxError(Exception):
    """Something the user can act on; the message says what happened and what to do. Shown without a traceback."""
