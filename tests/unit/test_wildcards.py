"""A wildcard is each of a provider's models whose price LiteLLM knows, and keys may have all of them or some."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import COSTS, SETTINGS, run_program

WILD: dict[str, Any] = {
    "alias": "openai/*",
    "hosted": {"model": "openai/*", "apiKeySecret": "openai-api-key"},
}
OWN = {"alias": "openai/gpt-4o", **COSTS, "endpoint": {"url": "http://models.svc/v1", "model": "m"}}
MINI = "openai/gpt-4o-mini"
TOKENS: dict[str, Any] = {**COSTS}


def parsed(*models: dict[str, Any], **more: Any) -> settings.Settings:
    entries = {**SETTINGS, "models": list(models), **more}
    return settings.parse({f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}, "dev")


def changed(alias: str | None = None, model: str | None = None, **more: Any) -> dict[str, Any]:
    of = WILD["hosted"] | ({"model": model} if model else {})
    return WILD | {"hosted": of} | ({"alias": alias} if alias else {}) | more


def test_it_is_each_listed_model_but_for_those_with_an_entry() -> None:
    made = parsed(OWN, WILD)
    assert len(made.routes.aliases) == len(made.routes.served) > 50
    assert {"openai/gpt-4o", MINI, "openai/text-embedding-3-small"} <= {*made.routes.aliases}
    assert all(model.listed_prices for model in made.routes.served if model.hosted)
    (own,) = made.routes.offered["openai/gpt-4o"]
    assert own.endpoint
    assert made.routes.offered["openai/tts-1"][0].makes == "audio_speech"


def test_an_alias_may_have_another_beginning() -> None:
    made = parsed(changed("all/gpt-4o*", "openai/gpt-4o*"))
    assert "all/gpt-4o-mini" in made.routes.aliases
    (model,) = made.routes.offered["all/gpt-4o-mini"]
    assert model.hosted
    assert model.hosted.model == MINI


def test_the_longer_wildcard_comes_first() -> None:
    made = parsed(WILD, changed("openai/gpt-4o*", "openai/gpt-4o*", rpm=5))
    assert [model.rpm for model in made.routes.offered[MINI]] == [5]
    assert [model.rpm for model in made.routes.offered["openai/gpt-4.1"]] == [None]
    assert made.routes.groups[MINI] == ["every openai/", "every openai/gpt-4o"]


@pytest.mark.parametrize(
    ("model", "key", "problem", "fix"),
    [
        (changed(model="openai/gpt-4o"), "models[0].alias", "is a wildcard", "alias: openai/*"),
        (changed("gpt"), "models[0].hosted.model", "is no wildcard", "alias: openai/*"),
        (changed("o*i", "openai/gpt*"), "models[0].alias", "", "alias: qwen-local"),
        (changed(model="openai/*gpt*"), "models[0].alias", "the model is openai/*gpt*", "alias: openai/*"),
        (OWN | {"alias": "a/*"}, "models[0].alias", "not hosted", "alias: openai/*"),
        (changed(**TOKENS), "models[0].alias", "has a price", "an entry of its own"),
        (changed(free=True), "models[0].alias", "has a price", "an entry of its own"),
        (changed(mode="embedding"), "models[0].alias", "a mode", "an entry of its own"),
        (changed(model="openai/of-next-year*"), "models[0].hosted.model", "no price", "an entry of its own"),
    ],
)
def test_what_has_no_price_or_no_meaning_is_refused(
    model: dict[str, Any], key: str, problem: str, fix: str
) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        parsed(model)
    found = {mistake.key: mistake for mistake in refused.value.mistakes}
    assert problem in found[key].problem
    assert fix in found[key].write


def tenants(team: list[str], key: list[str]) -> dict[str, Any]:
    return {
        "teams": [{"name": "search", "models": team}],
        "virtualKeys": [{"name": "app", "team": "search", "models": key}],
    }


@pytest.mark.parametrize(
    ("team", "key", "outside"),
    [
        (["openai/*"], [MINI], None),
        (["openai/*"], ["openai/*"], None),
        ([], [MINI], None),
        ([MINI], ["openai/*"], "openai/*: not among the models of team search"),
        (["openai/*"], ["openai/of-next-year"], "no model has the alias openai/of-next-year"),
        (["openai/gpt*"], [], "no model has the alias openai/gpt*"),
    ],
)
def test_a_key_may_have_all_or_some_of_its_models(
    team: list[str], key: list[str], outside: str | None
) -> None:
    if outside:
        with pytest.raises(settings.SettingsError) as refused:
            parsed(WILD, **tenants(team, key))
        assert outside in str(refused.value)
        assert len(str(refused.value)) < 2000
    else:
        assert parsed(WILD, **tenants(team, key))


def test_litellm_gets_the_models_and_a_group_of_them() -> None:
    recording = run_program({"models": [WILD, OWN], **tenants(["openai/*"], [MINI, "openai/*"])})
    values = recording.one("Release", "gateway-litellm-release").inputs["values"]
    routes = {route["model_name"]: route for route in values["proxy_config"]["model_list"]}
    assert "openai/*" not in routes
    assert routes[MINI]["litellm_params"]["model"] == MINI
    assert {*routes} == {*recording.outputs["modelAliases"]}
    assert all(route["model_info"]["access_groups"] == ["every openai/"] for route in routes.values())
    declared = json.loads(
        recording.one("ConfigMap", "gateway-tenants-declared").inputs["data"]["declared.json"]
    )
    assert declared["teams"][0]["models"] == ["every openai/"]
    assert declared["keys"][0]["models"] == [MINI, "every openai/"]
