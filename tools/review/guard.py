"""Stops a planned deletion of what cannot be made again, and a second salt, by the event log of a preview.

Policies see only what a program registers, so not what a preview would delete. Unlike protection, the guard
also covers resources that are not protected, and says what would be lost. It does not see a `pulumi destroy`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from policy.base import SECRET
from policy.database import CLUSTER
from policy.gpu import NODE_POOL
from settings.secrets import SALT_KEY
from tools.review import events

_LOST = {
    CLUSTER: "the database with its volumes: every virtual key, team, budget and all spend",
    "kubernetes:barmancloud.cnpg.io/v1:ObjectStore": "the database's WAL archive and point-in-time recovery",
    "gcp:storage/bucket:Bucket": "the backups",
    SECRET: "the secret with all its versions; its readers fail at their next start",
    NODE_POOL: "the nodes that serve the models; new GPUs may not be available",
}
_MOVED = {
    "kubernetes:helm.sh/v3:Release": "what the release runs: it would be uninstalled under its old name and cannot be "
    "installed beside it, as Helm keeps what is cluster-wide for the old one",
    "kubernetes:core/v1:Namespace": "everything in it",
    "gcp:secretmanager/secretIamMember:SecretIamMember": "the access of what reads the secret now",
    "gcp:storage/bucketIAMMember:BucketIAMMember": "the access of what uses the bucket now",
    "gcp:projects/iAMMember:IAMMember": "the access of what asks the project's models now",
}
"""What a deletion may well be meant for, where a part is switched off, but a replacement never is."""
_NAMESPACE, _GATEWAY_NAMESPACE = "kubernetes:core/v1:Namespace", "-namespaces-gateway"
_IN_NAMESPACE = "everything in it: the database with its volumes"
_VIRTUAL_KEY = "-secrets-litellm-key-"
_LOSING = ("delete", "replace")
_SALT = "every credential that LiteLLM has stored: nothing decrypts it without the salt"


@dataclass(frozen=True)
class Finding:
    """A planned step that would lose data; `message` says which, and what to write instead."""

    name: str
    urn: str
    message: str


def findings(operation: events.Operation, allow: Iterable[str] = ()) -> list[Finding]:
    """What a preview would lose, in the order of its steps.

    `allow` are names or URNs of resources that may go, one or more per string, separated by spaces. A rotated
    secret's value and version are no finding: the version is disabled, which can be undone. Nor is the secret
    of a removed virtual key: the preview names the removed tenant, and the key is refused from a minute later on.

    What the state protects is found even if it is allowed: a change that deletes or replaces a resource must not
    be the one that takes its protection away.
    """
    allowed = {name for names in allow for name in names.split()}
    return [
        found
        for step in operation.steps
        for found in (*_losses(step), *_second_salt(step, operation))
        if not {found.name, found.urn} & allowed or (step.was_protected and step.op in _LOSING)
    ]


def _second_salt(step: events.Step, operation: events.Operation) -> Iterator[Finding]:
    """The salt's value or version, made although its Secret or the database is there already."""
    if not (step.name.endswith(SALT_KEY) and step.op == "create" and step.type != SECRET):
        return
    for there in operation.steps:
        is_secret = there.type == SECRET and there.name.endswith(SALT_KEY)
        if (is_secret or there.type == CLUSTER) and there.op not in ("create", "delete"):
            yield Finding(
                step.name,
                step.urn,
                f"{step.name} ({step.type}) would be made beside {there.name} ({there.type}), which exists: a second "
                f"salt. Lost: {_SALT}.\nIf the first one is in Secret Manager, the program takes it by itself; it is "
                f"not there. If LiteLLM has stored nothing yet: --allow {step.name}, with make ALLOW={step.name}.",
            )
            return


def _losses(step: events.Step) -> Iterator[Finding]:
    lost = _LOST.get(step.type) or (_MOVED.get(step.type) if step.op == "replace" else None)
    if step.name.endswith(SALT_KEY):
        lost = _SALT
    elif step.type == _NAMESPACE and step.name.endswith(_GATEWAY_NAMESPACE):
        lost = _IN_NAMESPACE
    removed_tenant = step.op == "delete" and _VIRTUAL_KEY in step.name
    if lost and step.op in _LOSING and step.was_protected:
        yield Finding(
            step.name,
            step.urn,
            f"{step.name} ({step.type}) would be {step.op}d, and the state protects it. Lost: {lost}.\n"
            "Restore what the program or the settings had for it. If you mean to delete it, take its protection away "
            "first, by an `up` with `protect: false` alone.",
        )
    elif lost and step.op in _LOSING and not removed_tenant:
        yield Finding(
            step.name,
            step.urn,
            f"{step.name} ({step.type}) would be {step.op}d. Lost: {lost}.\n"
            f"Restore what the program or the settings had for it. If you mean to delete it: --allow {step.name}, "
            f"with make ALLOW={step.name}.",
        )


def report(log: Path, allow: Iterable[str]) -> int:
    """Print what the preview in an event log would lose; returns the exit code, 1 if anything is found.

    A log that is missing, empty, cut off, or of a preview that failed tells too little: 1, too.
    """
    try:
        operation = events.read(log)
        ended = operation.result
    except (OSError, ValueError) as error:
        operation, ended = None, f"cannot be read: {error}"
    if operation is None or not operation.succeeded:
        print(
            f"guard: {log} is no whole preview ({ended}), so it does not show what would be lost. Run the preview "
            "again, with --event-log, until it succeeds.",
            file=sys.stderr,
        )
        return 1
    return say(findings(operation, allow))


def say(found: Iterable[Finding]) -> int:
    """Print the findings; returns the exit code, 1 if there are any."""
    messages = [f"guard: {finding.message}" for finding in found]
    print(*messages, sep="\n", end="\n" * bool(messages), file=sys.stderr)
    return int(bool(messages))
