"""Runs the stock CLI for a tool, with the login of an `up`."""

from __future__ import annotations

import json
import subprocess


class PulumiError(Exception):
    """What pulumi said when it failed, or that there is none."""


def run(stack: str, *arguments: str, given: str | None = None) -> str:
    """What a command of pulumi prints. Raises PulumiError.

    Args:
        stack: name of the stack.
        arguments: the command and its own arguments.
        given: what it reads.
    """
    command = ["pulumi", *arguments, "--stack", stack, "--non-interactive"]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True)
    except FileNotFoundError:
        raise PulumiError("pulumi is not on PATH: install it, or in a sandbox use make.") from None
    if done.returncode:
        said = done.stdout
        if said.startswith("{"):  # of --json: the errors are a few lines of thousands
            notes = json.loads(said).get("diagnostics", [])
            said = "".join(note["message"] for note in notes if note["severity"] == "error")
        raise PulumiError(f"`pulumi {' '.join(arguments[:4])}` failed:\n{said}{done.stderr}")
    return done.stdout
