"""What a stack cannot change in place, compared with what its first `up` was told.

The state keeps that in a Stash, whose output stays what its first input was. A refusal comes from the program, so
from every preview, whichever command runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from settings import PROJECT


def fix(
    name: str,
    settings: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
    after: list[pulumi.Resource],
) -> None:
    """Refuse every later run whose settings differ from those of the run that makes this.

    Args:
        name: the Stash's.
        settings: values that are no secrets, by key as the stack file has it.
        parent: the component that it is a child of.
        after: what makes the settings final; a first `up` that fails before it may be repeated with others.

    Raises:
        pulumi.RunError: naming every key that differs, once the state is read.
    """
    made = _stash(name, dict(settings), parent, after)
    pulumi.Output.all(made, pulumi.Output.from_input(dict(settings))).apply(_compare)


def recover_only_what_is_lost(
    name: str, recover: bool, parent: pulumi.Resource, after: list[pulumi.Resource]
) -> None:
    """Refuse `recover` once an `up` without it made all of `after`: the state is not lost then.

    Raises:
        pulumi.RunError: once the state is read.
    """
    _stash(name, recover, parent, after).apply(lambda recovered: _check_recover(recover, recovered))


def _stash(
    name: str, value: Any, parent: pulumi.Resource, after: list[pulumi.Resource]
) -> pulumi.Output[Any]:
    options = pulumi.ResourceOptions(parent=parent, depends_on=after, ignore_changes=["input"])
    return pulumi.Stash(name, input=value, opts=options).output


def _check_recover(recover: bool, recovered: bool) -> None:
    if recover and not recovered:
        raise pulumi.RunError(
            f"{PROJECT}:recover: this stack's state is not lost. It may have the objects under another name: `recover` "
            "would take them over and then delete them. Remove `recover`; docs/troubleshooting.md says what else helps. "
            "Nothing was touched."
        )


def _compare(both: Sequence[Mapping[str, str]]) -> None:
    made, now = both
    moved = [
        f"\n  {PROJECT}:{key}: made with {made[key]}, now {value}"
        for key, value in now.items()
        if made.get(key, value) != value
    ]
    if moved:
        raise pulumi.RunError(
            "These settings cannot be changed in place. What is there would be deleted, the database with it, or an `up` "
            f"would end half-way.{''.join(moved)}\n"
            'Write what the stack was made with, or move it as docs/operations.md says under "Move". '
            "Nothing was touched."
        )
