"""Teams' and virtual keys' aliases and takeovers: what the settings allow. No program runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import settings
from tests.support.engine import SETTINGS

TEAM = {"name": "search"}
KEY = {"name": "app", "team": "search"}
PASTED = "sk-4fK9s2LmQ7xT1vB8nR3wZ6yC5"


def parsed(changes: Mapping[str, Any]) -> settings.Settings:
    sections = {**SETTINGS, "teams": [TEAM], "virtualKeys": [KEY], **changes}
    return settings.parse(
        {f"llm-gateway:{name}": json.dumps(value) for name, value in sections.items()}, "dev"
    )


def team(**changes: Any) -> dict[str, Any]:
    return {"teams": [{**TEAM, **changes}]}


def key(**changes: Any) -> dict[str, Any]:
    return {"virtualKeys": [{**KEY, **changes}]}


@pytest.mark.parametrize(
    ("changes", "at", "problem"),
    [
        (
            {"virtualKeys": [KEY, {"name": "b", "alias": "app"}]},
            "virtualKeys",
            "two have the alias app: app and b",
        ),
        (
            {"teams": [{**TEAM, "alias": "S T"}, {"name": "b", "alias": "S T"}]},
            "teams",
            "two have the alias S T: search and b",
        ),
        (key(alias=" ann"), "virtualKeys[0].alias", "should match pattern"),
        (key(alias="ann\n"), "virtualKeys[0].alias", "should match pattern"),
        (key(alias=""), "virtualKeys[0].alias", "should match pattern"),
        (key(alias="a" * 256), "virtualKeys[0].alias", "at most 255 characters"),
        (key(alias="app/replaced"), "virtualKeys[0].alias", "ends with /replaced"),
        (key(alias=PASTED), "virtualKeys[0].alias", "it looks like a key itself"),
        (team(alias=PASTED), "teams[0].alias", "it looks like a key itself"),
        (key(takeOver=True), "virtualKeys[0].takeOver", "without adopt, a new value is made"),
        (key(metadata={"managed_as": "x"}), "virtualKeys[0].metadata.managed_as", "acts on managed_as"),
        (
            {"litellm": {"litellmSettings": {"enable_key_alias_format_validation": True}}},
            "litellm.litellmSettings.enable_key_alias_format_validation",
            "promise what it would end",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: Mapping[str, Any], at: str, problem: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        parsed(changes)
    assert [mistake.key for mistake in refused.value.mistakes] == [at]
    assert problem in refused.value.mistakes[0].problem
    assert PASTED not in str(refused.value)


@pytest.mark.parametrize(
    "alias", ["Ann.Lee+llm@example.com", "Search Team (EU)", "4711", "öffentlich/äußerst", "a"]
)
def test_an_alias_is_any_text(alias: str) -> None:
    changed = parsed({**team(alias=alias), **key(alias=alias)})
    assert changed.teams
    assert changed.virtual_keys
    assert (changed.teams[0].known_as, changed.virtual_keys[0].known_as) == (alias, alias)
    assert changed.virtual_keys[0].secret_id == "litellm-key-app"


def test_a_key_is_taken_over_with_the_value_that_it_has() -> None:
    assert parsed(key(alias="Ann Lee", takeOver=True, adopt=1)).virtual_keys
