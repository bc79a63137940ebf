"""Who owns what a gateway makes: a mark on secrets, teams and virtual keys, a label on bucket and node pool."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import pulumi

from settings import PROJECT, Settings

LABEL = "llm-gateway-owner"
"""Label of the bucket and the node pool of a gateway: `owner_label` of its mark."""
GATEWAY = "gateway"
"""Name of the component in the program of this repository. Its mark goes without it."""


def owner_of(settings: Settings, gateway: str) -> str:
    """The mark of a gateway, `<project>/<stack>/<gateway>` unless the settings keep another one.

    Args:
        settings: of this gateway; `owner` with two parts is the stack's alone.
        gateway: the component's name, which tells it from the other gateways of the program.
    """
    owner = settings.owner or f"{pulumi.get_project()}/{pulumi.get_stack()}"
    if owner.count("/") == 1:
        owner = f"{owner}/{gateway}"
    return owner.removesuffix(f"/{GATEWAY}")


def owner_setting(owner: str, gateway: str) -> str:
    """What `owner` must be in the settings, for the component of this name to have the mark `owner`."""
    return owner if gateway == GATEWAY or owner.count("/") == 2 else f"{owner}/{GATEWAY}"


def owner_label(owner: str) -> str:
    """A mark as a label's value: at most 63 small letters, digits, `-` and `_`, readable and unique per mark."""
    readable = re.sub(r"[^a-z0-9_-]", "_", owner.lower())[:54]
    return f"{readable}-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"


def refuse_what_is_not_ours(
    what: str, labels: Mapping[str, str], ours: str, *, key: str, command: str
) -> None:
    """Raise pulumi.RunError where something has the name that this stack wants, and is another's or nobody's.

    Args:
        what: a sentence's subject, such as `The bucket x`.
        labels: its labels at Google.
        ours: this gateway's `owner_label`.
        key: the setting of the name.
        command: what gives it a label, which is to be appended.
    """
    owner = labels.get(LABEL)
    if owner == ours:
        return
    other_name = f"Give this stack another name: {PROJECT}:{key}."
    if owner:
        raise pulumi.RunError(
            f"{what} is there, and belongs to {owner}; this is {ours}. {other_name} If this stack was called "
            f"so, or takes its place, keep that stack's mark: {PROJECT}:owner. Nothing was touched."
        )
    raise pulumi.RunError(
        f"{what} is there, and no stack owns it. {other_name} If it is to be this stack's, say so at Google:\n"
        f"  {command}{LABEL}={ours}"
    )
