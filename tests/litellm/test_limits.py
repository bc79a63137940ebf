"""What the pinned version enforces of declared limits without a licence: of single models, of end users, soft budgets."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from components.reconciler import reconcile
from components.reconciler.reconcile import Proxy
from tests.litellm.double import configuration
from tests.litellm.driver import Double, double
from tests.litellm.upstream import Upstream, serving

OWNER = "llm-gateway/limits"
END_USERS = f"{OWNER}:end-users"
SOFT = f"{OWNER}:key/soft"
EACH = {
    "budget_id": END_USERS,
    "max_budget": 0.09,
    "budget_duration": "1mo",
    "rpm_limit": 3,
    "tpm_limit": None,
}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def slack() -> Iterator[Upstream]:
    with serving() as hook:
        yield hook


@pytest.fixture(scope="module")
def gateway(slack: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    config = configuration(0.001, 0.002)
    config["litellm_settings"] = {"max_end_user_budget_id": END_USERS}
    config["general_settings"]["alerting"] = ["slack"]
    path = tmp_path_factory.mktemp("limits") / "config.yaml"
    path.write_text(json.dumps(config))
    hook = slack.url.replace("127.0.0.1", "localhost")
    with double(config=path, environment={"SLACK_WEBHOOK_URL": f"{hook}/hook"}) as running:
        yield running


def value(name: str) -> str:
    return f"sk-{hashlib.sha256(name.encode()).hexdigest()[:48]}"


def declare(
    gateway: Double, *, budgets: Sequence[Row] = (), teams: Sequence[Row] = (), keys: Sequence[Row] = ()
) -> str:
    """Reconcile; what it says at last."""
    proxy = Proxy(gateway.url, gateway.master_key)
    declared = {reconcile.MARK: OWNER, "budgets": budgets, "teams": teams, "keys": keys}
    report = reconcile.reconcile(declared, {key["name"]: value(key["name"]) for key in keys}, proxy)
    assert not report.failed
    return report.summary()


def team(name: str, **metadata: Any) -> Row:
    return {"name": name, "team_alias": name, "models": [], "metadata": metadata}


def key(name: str, team: str | None = None, *, budget_id: str | None = None, **metadata: Any) -> Row:
    budget = {"budget_id": budget_id} if budget_id else {}
    return {
        "name": name,
        "key_alias": f"{name}@example.com",
        "team": team,
        "expires": None,
        "metadata": metadata,
        **budget,
    }


def ask(
    gateway: Double, key: str, model: str = "small", user: str | None = None, usd: float = 0
) -> httpx.Response:
    """One completion for 0.02 USD, or for `usd`."""
    tokens = round(usd / 0.001)
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    content = json.dumps({"usage": usage}) if usd else "ping"
    body = {"model": model, "messages": [{"role": "user", "content": content}]} | (
        {"user": user} if user else {}
    )
    bearer = {"authorization": f"Bearer {value(key)}"}
    return gateway.client.post("/v1/chat/completions", json=body, headers=bearer)


def test_a_keys_and_a_teams_limits_of_single_models_hold(gateway: Double) -> None:
    teams = [team("shared", model_rpm_limit={"large": 2})]
    keys = [
        key("one", model_rpm_limit={"small": 1}),
        key("few", model_tpm_limit={"small": 10}),
        key("a", "shared"),
        key("b", "shared", model_rpm_limit={"small": 1}),
    ]
    declare(gateway, teams=teams, keys=keys)
    assert [ask(gateway, "one", model).status_code for model in ("small", "small", "large", "large")] == [
        200,
        429,
        200,
        200,
    ]
    answers = [ask(gateway, "few").status_code for _ in range(3)]
    assert answers[-1] == 429
    assert ask(gateway, "few", "large").status_code == 200
    assert [ask(gateway, each, "large").status_code for each in ("a", "b", "b")] == [200, 200, 429]
    assert ask(gateway, "a").status_code == 200
    assert declare(gateway, teams=teams, keys=keys) == "teams: 1 unchanged; keys: 4 unchanged"
    declare(gateway)


def test_each_end_user_has_the_limits_of_the_budget(gateway: Double) -> None:
    assert declare(gateway, budgets=[EACH], keys=[key("app")]).endswith("budgets: 1 created")
    assert ask(gateway, "app", user="ann", usd=1).status_code == 200
    refused = eventually_refused(gateway, "ann")
    assert "ExceededBudget: End User=ann over budget" in refused.text
    assert [ask(gateway, "app", user="bob").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [ask(gateway, "app").status_code for _ in range(5)] == [200] * 5, (
        "who names no user has no such limit"
    )
    assert declare(gateway, budgets=[EACH], keys=[key("app")]).endswith("budgets: 1 unchanged")
    more = {**EACH, "max_budget": 9}
    assert declare(gateway, budgets=[more], keys=[key("app")]).endswith("budgets: 1 updated")
    longer = {**more, "budget_duration": "1d"}
    reset = budgets(gateway)[END_USERS]["budget_reset_at"]
    assert declare(gateway, budgets=[longer], keys=[key("app")]).endswith("budgets: 1 updated")
    assert budgets(gateway)[END_USERS]["budget_reset_at"] < reset
    assert declare(gateway).endswith("budgets: 1 deleted")
    assert not budgets(gateway)


def budgets(gateway: Double) -> dict[str, Row]:
    return {row["budget_id"]: row for row in gateway.client.get("/budget/list").json()}


def eventually_refused(gateway: Double, user: str) -> httpx.Response:
    """The first refusal: LiteLLM counts what an end user spent a moment after the answer."""
    answers: list[httpx.Response] = []
    while not (answers and answers[-1].is_error):
        assert len(answers) < 2, "its rpm would refuse a third"
        time.sleep(1)
        answers.append(ask(gateway, "app", user=user))
    return answers[-1]


def test_a_soft_budget_is_told_and_refuses_nothing(gateway: Double, slack: Upstream) -> None:
    soft = {"budget_id": SOFT, "soft_budget": 0.01}
    keys = [key("soft", budget_id=SOFT)]
    assert declare(gateway, budgets=[soft], keys=keys) == "teams: none; keys: 1 created; budgets: 1 created"
    deadline = time.monotonic() + 90
    while not (sent := [call for call in slack.calls if "Soft Budget" in str(call.body)]):
        assert ask(gateway, "soft").status_code == 200
        assert time.monotonic() < deadline, slack.calls
        time.sleep(1)
    assert "soft@example.com" in str(sent[0].body)
    assert (
        declare(gateway, budgets=[soft], keys=keys) == "teams: none; keys: 1 unchanged; budgets: 1 unchanged"
    )
    assert declare(gateway, budgets=[{**soft, "soft_budget": 9}], keys=keys).endswith("budgets: 1 updated")
    without = [key("soft")]
    assert declare(gateway, keys=without) == "teams: none; keys: 1 unchanged; budgets: 1 deleted"
    (row,) = gateway.state()["keys"]
    assert row["budget_id"] is None
    declare(gateway)


@pytest.mark.parametrize("path", ["/key/generate", "/budget/new"])
def test_a_budget_of_a_single_model_needs_a_licence(gateway: Double, path: str) -> None:
    body = {"model_max_budget": {"small": {"budget_limit": 1, "time_period": "1d"}}}
    refused = gateway.client.post(path, json=body)
    assert refused.is_error
    assert "You must have an enterprise license to set model_max_budget" in refused.text
