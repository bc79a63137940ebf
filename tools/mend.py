"""Brings what Google has already into a state that does not know it: `python -m tools.mend --stack STACK`.

An `up` that was killed may have made a secret, a bucket or a node pool that the state does not have. Google makes none
of them twice, so that every further `up` fails. What a preview would create of these is imported, where it exists.
Then the engine's own notes of interrupted creates are dropped. All else the next `up` takes over (components/ownership.py)
or makes once more without harm. It runs `pulumi` with the login of an `up`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tools import pulumi_cli
from tools.pulumi_cli import PulumiError

_IDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "gcp:container/nodePool:NodePool": lambda pool: (
        f"projects/{pool['project']}/locations/{pool['location']}/clusters/{pool['cluster']}/nodePools/{pool['name']}"
    ),
    "gcp:secretmanager/secret:Secret": lambda secret: (
        f"projects/{secret['project']}/secrets/{secret['secretId']}"
    ),
    "gcp:storage/bucket:Bucket": lambda bucket: bucket["name"],
}
"""Import ids of what Google makes once, from a resource's inputs."""
_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def to_create(preview: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a preview (`pulumi preview --json`) would create of what Google makes once."""
    for step in preview["steps"]:
        if step["op"] == "create" and step["newState"]["type"] in _IDS:
            yield step["newState"]


def import_command(resource: Mapping[str, Any]) -> list[str]:
    """The `pulumi` arguments that import a resource into its place."""
    kind, name = resource["type"], resource["urn"].rpartition("::")[2]
    provider = resource["provider"].rpartition("::")[0]
    return [
        *("import", kind, name, _IDS[kind](resource["inputs"])),
        *("--parent", f"parent={resource['parent']}", "--provider", f"provider={provider}"),
        *(f"--protect={str(resource.get('protect', False)).lower()}", "--generate-code=false"),
    ]


def mend(stack: str) -> None:
    """Import what exists, forget interrupted creates, and say so. Raises PulumiError."""
    for resource in to_create(json.loads(pulumi_cli.run(stack, "preview", "--json"))):
        name, command = resource["urn"].rpartition("::")[2], import_command(resource)
        if "secretId" in resource["inputs"] and _has_a_value(stack, command):
            print(
                f"{name}: left alone. The secret has a value that the state does not know: the next `up` would make another. "
                'If its state was lost, see "The state is lost" in docs/operations.md.'
            )
        else:
            print(f"{name}: {'imported' if _imported(stack, *command, '--yes') else 'is not there yet'}")
    state = json.loads(pulumi_cli.run(stack, "stack", "export"))
    operations = state["deployment"].get("pending_operations") or []
    kept = [operation for operation in operations if operation["type"] != "creating"]
    if kept != operations:
        state["deployment"]["pending_operations"] = kept
        pulumi_cli.run(stack, "stack", "import", given=json.dumps(state))
    print("The state is mended: run `pulumi up`.")


def _has_a_value(stack: str, import_secret: Sequence[str]) -> bool:
    """Whether a secret has its first version, seen by a preview of its import."""
    verb, _, name, secret, *options = import_secret
    return _imported(stack, verb, _VERSION, name, f"{secret}/versions/1", *options, "--preview-only")


def _imported(stack: str, *command: str) -> bool:
    """Run an import; False where Google has no such thing."""
    try:
        pulumi_cli.run(stack, *command)
    except PulumiError as error:
        if "does not exist" in str(error):
            return False
        raise
    return True


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mend", description=__doc__)
    parser.add_argument("--stack", required=True)
    try:
        mend(parser.parse_args(arguments).stack)
    except PulumiError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
