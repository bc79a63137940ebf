"""What the pods of a part have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Workload:
    """Pods of this stack, known by their labels; an empty string as a label's value means any value."""

    name: str
    labels: Mapping[str, str]


def named(name: str) -> Workload:
    """Pods with the label `app.kubernetes.io/name`, as most charts have it."""
    return Workload(name, {"app.kubernetes.io/name": name})
