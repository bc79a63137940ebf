"""The stack whose outputs name the cluster (`cluster.stack`): its outputs, in the sandbox's own backend.

It holds no resource: only a StackReference can be made to it. A stack that was run in the sandbox speaks for itself.
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
    """Whether `organization/<project>/<stack>` is absent, or but outputs that were written here.

    Raises SandboxError where the engine could write half of it only.
    """
    file = _file(home, stack)
    if not file.exists():
        return True
    try:
        state = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise SandboxError(
            f"{file} is cut off: the disk was full when the engine wrote it. Make room, put the engine's copy back "
            f"(cp {file}.bak {file}), and run it again. Where the copy is cut off, too, the state is lost: docs/operations.md."
        ) from error
    return state["checkpoint"]["latest"]["manifest"]["version"] == _VERSION


def forget(home: Home, stack: str) -> None:
    """Make way for the stack itself."""
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


def _file(home: Home, stack: str) -> Path:
    _, project, name = stack.split("/")
    return replace(home, project=project).checkpoint(name)
