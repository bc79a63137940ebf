"""Aliases, takeovers, limits of single models and soft budgets: what the settings allow. No program runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import settings
from tests.support.engine import EVERYTHING, SETTINGS

TEAM = {"name": "search"}
KEY = {"name": "app", "team": "search"}
PASTED = "sk-4fK9s2LmQ7xT1vB8nR3wZ6yC5"


def parsed(changes: Mapping[str, Any]) -> settings.Settings:
    sections = {**SETTINGS, "teams": [TEAM], "virtualKeys": [KEY], **changes}
    entries = {
        f"llm-gateway:{name}": json.dumps(value) for name, value in sections.items() if value is not None
    }
    return settings.parse(entries, "dev")


def team(**changes: Any) -> dict[str, Any]:
    return {"teams": [{**TEAM, **changes}]}


def key(**changes: Any) -> dict[str, Any]:
    return {"virtualKeys": [{**KEY, **changes}]}


TWO_MODELS = {"models": EVERYTHING["models"]}
URL = {"SLACK_WEBHOOK_URL": "slack-webhook"}


def told(*, url: dict[str, str] = URL, **changes: Any) -> dict[str, Any]:
    return {"litellm": {"generalSettings": {"alerting": ["slack"], **changes}, "secretEnvironment": url}}


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
            {**key(budget=5, softBudget=5), **told()},
            "virtualKeys[0].softBudget",
            "5 is not less than budget: 5",
        ),
        (key(softBudget=5), "virtualKeys[0].softBudget", "nowhere to send alerts of budgets to"),
        ({**key(softBudget=5), **told(alerting=["email"])}, "virtualKeys[0].softBudget", "nowhere to send"),
        (
            {**key(softBudget=5), **told(alert_types=["llm_exceptions"])},
            "virtualKeys[0].softBudget",
            "nowhere to send",
        ),
        ({**key(softBudget=5), **told(url={})}, "virtualKeys[0].softBudget", "nowhere to send"),
        (
            {**TWO_MODELS, **team(models=["qwen-local"]), **key(modelRpm={"claude": 1})},
            "virtualKeys[0].modelRpm.claude",
            "claude is no model that it may ask for",
        ),
        (key(modelRpm={"gpt": 1}), "virtualKeys[0].modelRpm.gpt", "gpt is no model that it may ask for"),
        (key(modelTpm={"qwen-local": 0}), "virtualKeys[0].modelTpm.qwen-local", "greater than or equal to 1"),
        (
            key(modelTpm={"qwen-local": 9}, tpm=8),
            "virtualKeys[0].modelTpm.qwen-local",
            "9 is more than it has for all",
        ),
        (
            {**team(rpm=8), **key(modelRpm={"qwen-local": 9})},
            "virtualKeys[0].modelRpm.qwen-local",
            "9 is more than team search has (8)",
        ),
        (
            {"litellm": {"litellmSettings": {"max_end_user_budget_id": "x"}}},
            "litellm.litellmSettings.max_end_user_budget_id",
            "promise what it would end",
        ),
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


@pytest.mark.parametrize(
    "changes",
    [
        {**key(softBudget=5, budget=6), **told()},
        {**key(softBudget=5), **told(alert_types=["budget_alerts"])},
        {
            **team(rpm=9),
            **key(modelRpm={"qwen-local": 9}, modelTpm={"qwen-local": 1}),
        },
    ],
)
def test_what_can_be_meant_is_allowed(changes: Mapping[str, Any]) -> None:
    parsed(changes)


def test_a_key_is_taken_over_with_the_value_that_it_has() -> None:
    assert parsed(key(alias="Ann Lee", takeOver=True, adopt=1)).virtual_keys
