"""Who owns what this stack makes: a mark on secrets, teams and virtual keys."""

from __future__ import annotations

import pulumi

from settings import Settings


def owner_of(settings: Settings) -> str:
    """The mark of this stack, `<project>/<stack>` unless the settings keep another one."""
    return settings.owner or f"{pulumi.get_project()}/{pulumi.get_stack()}"
