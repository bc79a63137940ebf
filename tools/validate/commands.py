"""Programs on PATH: pulumi, gcloud, kubectl."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping

from tools.validate.errors import ValidateError
from tools.validate.masks import masked

TIMEOUT = 180
"""Seconds that a command may take by default."""


def output(*command: str, environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> str:
    """What a command prints; `environment` is added to this process's. Raises ValidateError if it fails."""
    env = {**os.environ, **(environment or {})}
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)
    except FileNotFoundError:
        raise ValidateError(
            f"{command[0]} is not on PATH, so the installation cannot be reached. Install it; docs/validate.md says "
            "which options need it."
        ) from None
    except subprocess.TimeoutExpired:
        raise ValidateError(f"`{shlex.join(command)}` did not end within {timeout:.0f} s") from None
    if run.returncode:
        raise ValidateError(f"`{shlex.join(command)}` failed: {masked(run.stderr.strip()[-500:])}")
    return run.stdout
