"""Refuses, in a preview already, a change of a volume that Kubernetes would refuse half-way through an `up`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from settings.base import gibibytes


@dataclass(frozen=True)
class Volume:
    """What a resource's inputs ask of a claim; `fixed` is what a claim never changes: access modes and class."""

    size: str
    fixed: str
    instead: str
    """What to do where the change is meant."""


Volumes = Callable[[Mapping[str, Any]], Mapping[str, Volume | None]]
"""The volumes in a resource's inputs, by the setting of their size; None where there is none and may not be."""


def volumes_only_grow(name: str, volumes: Volumes) -> pulumi.ResourceHook:
    """A `before_update` hook that compares the inputs of the last `up` with the new ones, in previews, too.

    It raises ValueError for a volume that would shrink, change its access modes or class, or be taken away where it
    may not. Helm and a claim's own validation see none of this before the `up`.
    """

    def compare(args: pulumi.ResourceHookArgs) -> None:
        wrong = [*changes(volumes(args.old_inputs or {}), volumes(args.new_inputs or {}))]
        if wrong:
            raise ValueError("\n".join(wrong))

    return pulumi.ResourceHook(name, compare, pulumi.ResourceHookOptions(on_dry_run=True))


def changes(old: Mapping[str, Volume | None], new: Mapping[str, Volume | None]) -> Iterator[str]:
    """One message per change that Kubernetes would refuse."""
    for key, before in old.items():
        after = new.get(key)
        if before is None or key not in new:
            continue
        if after is None:
            yield (
                f"llm-gateway:{key}: it was {before.size} at the last `up` and is unset. The volume cannot be taken "
                f"away, the `up` would fail half-way. Write {before.size} again, or {before.instead}."
            )
        elif gibibytes(after.size) < gibibytes(before.size):
            yield (
                f"llm-gateway:{key}: {after.size} is less than the {before.size} of the last `up`. A volume can grow, "
                f"never shrink, and the `up` would fail half-way. Write {before.size} or more, or {before.instead}."
            )
        elif after.fixed != before.fixed:
            yield (
                f"llm-gateway:{key}: the volume is {before.fixed} and would be {after.fixed}. A claim never changes "
                f"these, and the `up` would fail half-way. Write what it was, or {before.instead}."
            )
