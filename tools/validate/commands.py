"""Programs on PATH: pulumi, gcloud, kubectl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from tools.validate.errors import ValidateError
from tools.validate.masks import masked

TIMEOUT = 180
"""Seconds that one command may take unless it is told otherwise."""


def output(*command: str, environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> str:
    """What a program prints, `environment` added to this process's; ValidateError with its last words where it fails."""
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise ValidateError(
            f"{command[0]} is not on PATH, so the installation cannot be reached. Install it, or see docs/validate.md for what does without."
        ) from None
    except subprocess.TimeoutExpired:
        raise ValidateError(f"{command[0]} {command[1]} did not end within {timeout:.0f} s") from None
    if run.returncode:
        raise ValidateError(f"{command[0]} {command[1]} failed: {masked(run.stderr.strip()[-500:])}")
    return run.stdout
