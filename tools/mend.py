"""Mends a state whose engine was killed: `python -m tools.mend --stack STACK`, with the pulumi and the login of an `up`.

The engine notes each create before it starts it. What of these Google made, it will not make twice: a secret, a bucket
or a node pool is imported, where it exists. The notes of all others are dropped: the next `up` takes Kubernetes
objects and Helm releases over by their mark (components/ownership.py), grants are given twice without harm, and a
secret's version is added once more with the same value.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_IDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "gcp:container/nodePool:NodePool": lambda pool: f"{pool['cluster']}/nodePools/{pool['name']}",
    "gcp:secretmanager/secret:Secret": lambda secret: (
        f"projects/{secret['project']}/secrets/{secret['secretId']}"
    ),
    "gcp:storage/bucket:Bucket": lambda bucket: bucket["name"],
}
"""Import ids of what Google makes once, from a resource's inputs."""


def pending_creates(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The resources that the engine was making when it ended, from an exported stack's `deployment`."""
    operations = deployment.get("pending_operations") or []
    return [operation["resource"] for operation in operations if operation["type"] == "creating"]


def import_command(resource: Mapping[str, Any]) -> list[str] | None:
    """The `pulumi` arguments that import a resource into its place, or None where nothing need be imported."""
    if resource["type"] not in _IDS:
        return None
    provider = resource["provider"].rpartition("::")[0]
    return [
        *(
            "import",
            resource["type"],
            resource["urn"].rpartition("::")[2],
            _IDS[resource["type"]](resource["inputs"]),
        ),
        *("--parent", f"parent={resource['parent']}", "--provider", f"provider={provider}"),
        *(f"--protect={str(resource.get('protect', False)).lower()}", "--generate-code=false", "--yes"),
    ]


def mend(stack: str) -> int:
    """Import what Google made, forget the other pending creates, and say so. Returns the exit code."""
    state = json.loads(_pulumi("stack", "export", stack=stack).stdout)
    pending = pending_creates(state["deployment"])
    if not pending:
        print(f"stack {stack}: no create is pending; there is nothing to mend.")
        return 0
    for resource in pending:
        command = import_command(resource)
        name = resource["urn"].rpartition("::")[2]
        if command is None:
            print(f"{name}: the next `up` makes it, or takes it over")
            continue
        done = _pulumi(*command, stack=stack)
        if done.returncode and "does not exist" not in done.stdout + done.stderr:
            print(
                f"{done.stdout}{done.stderr}\n{name} could not be imported: the state is as it was.",
                file=sys.stderr,
            )
            return 1
        print(f"{name}: {'not made yet, the next `up` makes it' if done.returncode else 'imported'}")
    state = json.loads(_pulumi("stack", "export", stack=stack).stdout)
    operations = state["deployment"].get("pending_operations") or []
    state["deployment"]["pending_operations"] = [each for each in operations if each["type"] != "creating"]
    done = _pulumi("stack", "import", stack=stack, given=json.dumps(state))
    print(done.stderr if done.returncode else "The state is mended: run `pulumi up`.")
    return done.returncode


def _pulumi(*arguments: str, stack: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["pulumi", *arguments, "--stack", stack, "--non-interactive"]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=arguments[1] == "export"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mend", description=__doc__)
    parser.add_argument("--stack", required=True)
    return mend(parser.parse_args(arguments).stack)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
