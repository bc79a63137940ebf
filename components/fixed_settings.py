"""What a stack cannot change in place, compared with what its first `up` was told.

The state keeps that in a Stash, whose output stays what its first input was. A refusal comes from the program, so
from every preview, whichever command runs it; an `up` without a preview makes nothing before it has compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from settings import PROJECT

_NONE = '""'


def fix(
    name: str,
    settings: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
    *,
    free_if: str,
    of: pulumi.Input[str] | None = None,
) -> pulumi.Output[Mapping[str, str]]:
    """The settings, known once they are compared with those of the run that made this.

    What reads them from here is registered no sooner, and depends on nothing more.

    Args:
        name: the Stash's.
        settings: values that are no secrets, by key as the stack file has it.
        parent: the component that it is a child of.
        free_if: when they may still change, a clause of the refusal.
        of: the name of what they are settings of; the comparison starts anew with another name.

    Raises:
        pulumi.RunError: naming every key that differs.
    """
    stash = _stash(name, dict(settings), pulumi.ResourceOptions(parent=parent, replacement_trigger=of))

    async def compared() -> Mapping[str, str]:
        now: Mapping[str, str] | None = await pulumi.Output.all(**settings).future()
        made = await stash.output.future()
        if made and now and (said := _moved(made, now)):
            raise pulumi.RunError(
                f"{said} If {free_if}, let the state forget what it was told: pulumi state delete '{await stash.urn.future()}'"
            )
        return now or {}

    return pulumi.Output.from_input(compared())


def fix_for_good(
    name: str,
    settings: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
    after: list[pulumi.Resource],
) -> None:
    """Keep and compare the settings a second time, in a Stash that is made once `after` is.

    The Stash of `fix` may be deleted from the state where a first `up` failed early; its refusal says so. This one
    then still refuses.

    Raises:
        pulumi.RunError: naming every key that differs, once the state is read.
    """
    made = _stash(name, dict(settings), pulumi.ResourceOptions(parent=parent, depends_on=after)).output
    pulumi.Output.all(made, pulumi.Output.from_input(dict(settings))).apply(
        lambda both: _refuse(_moved(*both))
    )


def recover_only_what_is_lost(
    name: str, recover: bool, parent: pulumi.Resource, after: list[pulumi.Resource]
) -> None:
    """Refuse `recover` once an `up` without it made all of `after`: the state is not lost then.

    Raises:
        pulumi.RunError: once the state is read.
    """
    made = _stash(name, recover, pulumi.ResourceOptions(parent=parent, depends_on=after)).output
    made.apply(lambda recovered: _refuse(_NOT_LOST if recover and not recovered else ""))


_NOT_LOST = (
    f"{PROJECT}:recover: this stack's state is not lost. It may have the objects under another name: `recover` "
    "would take them over and then delete them. Remove `recover`; docs/troubleshooting.md says what else helps. "
    "Nothing was touched."
)


def _stash(name: str, value: Any, opts: pulumi.ResourceOptions) -> pulumi.Stash:
    unchanged = pulumi.ResourceOptions(ignore_changes=["input"])
    return pulumi.Stash(name, input=value, opts=pulumi.ResourceOptions.merge(opts, unchanged))


def _refuse(said: str) -> None:
    if said:
        raise pulumi.RunError(said)


def _moved(made: Mapping[str, str], now: Mapping[str, str]) -> str:
    moved = [
        f"\n  {PROJECT}:{key}: made with {made[key] or _NONE}, now {value or _NONE}"
        for key, value in now.items()
        if made.get(key, value) != value
    ]
    if not moved:
        return ""
    return (
        "These settings cannot be changed in place. What is there would be deleted, the database with it, or an `up` "
        f"would end half-way.{''.join(moved)}\n"
        'Write what the stack was made with, or move it as docs/operations.md says under "Move". '
        "Nothing was touched."
    )
