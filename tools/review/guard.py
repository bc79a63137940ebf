"""Stops a planned deletion of what cannot be made again: `python -m tools.review guard LOG [--allow NAME ...]`.

LOG is the event log of a preview (`pulumi preview --event-log LOG`). Policies see what a program registers; what would
be deleted it no longer registers. A resource's protection stops the engine too, and is there before anything else; the
guard also covers what is not protected, and says what would be lost. It does not look at `pulumi destroy`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from policy.database import CLUSTER
from policy.gpu import NODE_POOL
from settings.secrets import SALT_KEY
from tools.review import events

_LOST = {
    CLUSTER: "the database with its volumes: every virtual key, team, budget and all spend",
    "kubernetes:barmancloud.cnpg.io/v1:ObjectStore": "the archive of the database's log, and restores to a point in time",
    "gcp:storage/bucket:Bucket": "the backups",
    "gcp:secretmanager/secret:Secret": "the secret with all its versions; what reads it stops at its next start",
    NODE_POOL: "the nodes that serve the models, and their place in the queue for GPUs",
}
_NAMESPACE, _GATEWAY_NAMESPACE = "kubernetes:core/v1:Namespace", "-namespaces-gateway"
_IN_NAMESPACE = "everything in it: the database with its volumes"
_VIRTUAL_KEY = "-secrets-litellm-key-"
_SALT = "every credential that LiteLLM has stored: nothing can decrypt it without the salt"


@dataclass(frozen=True)
class Finding:
    """A planned step that would lose data; `message` says what, and what to write instead."""

    name: str
    urn: str
    message: str


def findings(operation: events.Operation, allow: Iterable[str] = ()) -> list[Finding]:
    """What a preview would lose, in its order.

    `allow` are names or URNs of resources that are meant to go, one or more separated by spaces in each string. A
    rotated secret's value and version are no finding: the version is disabled, which can be undone. Nor is a virtual
    key's secret: it goes with the tenant, whose removal the preview names, and without it opens nothing.
    """
    allowed = {name for each in allow for name in each.split()}
    return [
        found
        for step in operation.steps
        for found in _findings(step)
        if not {found.name, found.urn} & allowed
    ]


def _findings(step: events.Step) -> Iterator[Finding]:
    lost = _LOST.get(step.type)
    if step.name.endswith(SALT_KEY):
        lost = _SALT
    elif step.type == _NAMESPACE and step.name.endswith(_GATEWAY_NAMESPACE):
        lost = _IN_NAMESPACE
    removed_tenant = step.op == "delete" and _VIRTUAL_KEY in step.name
    if lost and step.op in ("delete", "replace") and not removed_tenant:
        yield Finding(
            step.name,
            step.urn,
            f"{step.name} ({step.type}) would be {step.op}d. Lost: {lost}.\n"
            f"Write back what the program or the settings had for it. If it is meant to go: --allow {step.name}, in "
            f"make: ALLOW={step.name}.",
        )


def report(log: Path, allow: Iterable[str]) -> int:
    """Print what the preview in an event log would lose; 1 if there is anything, else 0."""
    return say(findings(events.read(log), allow))


def say(found: Iterable[Finding]) -> int:
    """Print findings; 1 if there is any, else 0."""
    messages = [f"guard: {finding.message}" for finding in found]
    print(*messages, sep="\n", end="\n" * bool(messages), file=sys.stderr)
    return int(bool(messages))
