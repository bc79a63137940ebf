"""The stack whose outputs name the cluster (`cluster.stack`): its outputs, in the sandbox's own backend.

It holds no resource and is never run: only a StackReference can be made to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from sandbox.paths import Home, write_whole


def write_outputs(home: Home, stack: str, outputs: Mapping[str, str]) -> None:
    """Have `organization/<project>/<stack>` with these outputs; its checkpoint is laid out as the engine's own."""
    _, project, name = stack.split("/")
    version = "sandbox"
    root = {
        "urn": f"urn:pulumi:{name}::{project}::pulumi:pulumi:Stack::{project}-{name}",
        "type": "pulumi:pulumi:Stack",
        "custom": False,
        "outputs": dict(outputs),
    }
    manifest = {
        "time": "2030-01-31T12:00:00Z",
        "magic": hashlib.sha256(version.encode()).hexdigest(),
        "version": version,
    }
    checkpoint = {"stack": stack, "latest": {"manifest": manifest, "resources": [root]}}
    folder = home.state / ".pulumi" / "stacks" / project
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.json", json.dumps({"version": 3, "checkpoint": checkpoint}))
