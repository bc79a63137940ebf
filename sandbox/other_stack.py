"""The stack whose outputs name the cluster (`cluster.stack`): its outputs, in the sandbox's own backend.

It holds no resource: only a StackReference can be made to it. A stack that was run in the sandbox has its own outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import Home, write_atomically

_VERSION = "sandbox"


def is_ours(home: Home, stack: str) -> bool:
    """Whether nobody has run `organization/<project>/<stack>` here: it is absent, or its outputs were written here.

    Raises SandboxError where the engine could write only a part of it.
    """
    file = _file(home, stack)
    if not file.exists():
        return True
    try:
        state = json.loads(file.read_bytes())
    except ValueError as error:
        raise SandboxError(_cut_off(home, file)) from error
    # A `pulumi stack init` that was killed leaves a state with nothing in it.
    latest = state["checkpoint"].get("latest")
    return not latest or latest["manifest"]["version"] == _VERSION


def forget(home: Home, stack: str) -> None:
    """Delete the outputs that were written here, before the stack itself is made."""
    if is_ours(home, stack):
        _file(home, stack).unlink(missing_ok=True)


def write_outputs(home: Home, stack: str, outputs: Mapping[str, str]) -> None:
    """Have `organization/<project>/<stack>` with these outputs; its checkpoint is laid out as the engine's own."""
    _, project, name = stack.split("/")
    root = {
        "urn": f"urn:pulumi:{name}::{project}::pulumi:pulumi:Stack::{project}-{name}",
        "type": "pulumi:pulumi:Stack",
        "custom": False,
        "outputs": dict(outputs),
    }
    manifest = {
        "time": "2030-01-31T12:00:00Z",
        "magic": hashlib.sha256(_VERSION.encode()).hexdigest(),
        "version": _VERSION,
    }
    checkpoint = {"stack": stack, "latest": {"manifest": manifest, "resources": [root]}}
    file = _file(home, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"version": 3, "checkpoint": checkpoint}))


def _cut_off(home: Home, file: Path) -> str:
    copy = file.with_name(f"{file.name}.bak")
    try:
        json.loads(copy.read_bytes())
    except (FileNotFoundError, ValueError):
        return (
            f"{file} is cut off: the disk was full when the engine wrote it, and there is no whole copy of it, so the state "
            f'is lost; make room, delete it and its .bak, and do what "The state is lost" in docs/operations.md says, or '
            f"start from nothing: `make down`, then delete {home.root}."
        )
    return (
        f"{file} is cut off: the disk was full when the engine wrote it; make room, put the engine's copy back "
        f"(cp {copy} {file}), and run it again."
    )


def _file(home: Home, stack: str) -> Path:
    _, project, name = stack.split("/")
    return replace(home, project=project).checkpoint(name)
