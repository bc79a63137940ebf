"""What the pinned version makes of limits of single models, soft budgets and end users, without a licence.

What it gets wrong is no setting; a test here fails once a version gets it right (docs/decisions/budgets.md)."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from components.reconciler import reconcile
from components.reconciler.reconcile import Proxy
from tests.litellm.double import configuration
from tests.litellm.driver import Double, double

OWNER = "llm-gateway/limits"
SOFT = f"{OWNER}:key/soft"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def slack() -> Iterator[tuple[str, list[str]]]:
    """URL of a webhook, and what it was told."""
    told: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://localhost:{server.server_port}", told
        server.shutdown()


@pytest.fixture(scope="module")
def gateway(slack: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    config = configuration(0.001, 0.002)
    config["general_settings"] |= {"alerting": ["slack"], "alert_types": ["budget_alerts"]}
    path = tmp_path_factory.mktemp("limits") / "config.yaml"
    path.write_text(json.dumps(config))
    with double(config=path, environment={"SLACK_WEBHOOK_URL": slack[0]}) as running:
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


def ask(gateway: Double, key: str, model: str = "small", user: str | None = None) -> httpx.Response:
    """One completion, for 0.02 USD."""
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}]} | (
        {"user": user} if user else {}
    )
    bearer = {"authorization": f"Bearer {value(key)}"}
    return gateway.client.post("/v1/chat/completions", json=body, headers=bearer)


def test_a_keys_limits_of_single_models_hold(gateway: Double) -> None:
    teams = [team("shared")]
    keys = [
        key("one", "shared", model_rpm_limit={"small": 1}),
        key("two", "shared", model_rpm_limit={"small": 2}),
        key("few", model_tpm_limit={"small": 10}),
    ]
    declare(gateway, teams=teams, keys=keys)
    assert statuses(gateway, "one", "small", "small", "large", "large") == [200, 429, 200, 200]
    assert statuses(gateway, "two", "small", "small", "small", "large") == [200, 200, 429, 200]
    assert statuses(gateway, "few", "small", "small", "small", "large")[2:] == [429, 200]
    assert declare(gateway, teams=teams, keys=keys) == "teams: 1 unchanged; keys: 3 unchanged"
    declare(gateway)


def statuses(gateway: Double, key: str, *models: str) -> list[int]:
    return [ask(gateway, key, model).status_code for model in models]


def test_a_teams_limit_of_a_single_model_counts_each_request_twice(gateway: Double) -> None:
    declare(gateway, teams=[team("twice", model_rpm_limit={"small": 2})], keys=[key("a", "twice")])
    assert statuses(gateway, "a", "small", "small", "large") == [200, 429, 200]
    declare(gateway)


def test_what_an_end_user_spends_is_counted_for_who_came_first(gateway: Double) -> None:
    declare(gateway, keys=[key("app")])
    for user in ("ann", "bob", "bob"):
        ask(gateway, "app", user=user).raise_for_status()
    deadline = time.monotonic() + 30
    while not (
        counted := {row["user_id"]: row["spend"] for row in gateway.client.get("/customer/list").json()}
    ) or (counted["ann"] < 0.05):
        assert time.monotonic() < deadline, counted
        time.sleep(0.5)
    assert counted == {"ann": pytest.approx(0.06)}
    declare(gateway)


def test_a_soft_budget_is_told_and_refuses_nothing(gateway: Double, slack: tuple[str, list[str]]) -> None:
    soft = {"budget_id": SOFT, "soft_budget": 0.01}
    keys = [key("soft", budget_id=SOFT)]
    assert declare(gateway, budgets=[soft], keys=keys) == "teams: none; keys: 1 created; budgets: 1 created"
    deadline = time.monotonic() + 90
    while not slack[1]:
        assert ask(gateway, "soft").status_code == 200
        assert time.monotonic() < deadline
        time.sleep(1)
    # One that is passed within seconds is told of in the words for what is to be expected.
    assert "Budget:`0.01`" in slack[1][0]
    assert "soft@example.com" in slack[1][0]
    assert (
        declare(gateway, budgets=[soft], keys=keys) == "teams: none; keys: 1 unchanged; budgets: 1 unchanged"
    )
    assert declare(gateway, budgets=[{**soft, "soft_budget": 9}], keys=keys).endswith("budgets: 1 updated")
    without = [key("soft")]
    assert declare(gateway, keys=without) == "teams: none; keys: 1 updated; budgets: 1 deleted"
    (row,) = gateway.state()["keys"]
    assert row["budget_id"] is None
    declare(gateway, budgets=[soft], keys=keys)
    gateway.client.post("/budget/delete", json={"id": SOFT}).raise_for_status()
    assert declare(gateway, budgets=[soft], keys=keys) == "teams: none; keys: 1 updated; budgets: 1 created"
    (row,) = gateway.state()["keys"]
    assert row["budget_id"] == SOFT
    declare(gateway)


@pytest.mark.parametrize("path", ["/key/generate", "/budget/new"])
def test_a_budget_of_a_single_model_needs_a_licence(gateway: Double, path: str) -> None:
    body = {"model_max_budget": {"small": {"budget_limit": 1, "time_period": "1d"}}}
    refused = gateway.client.post(path, json=body)
    assert refused.is_error
    assert "You must have an enterprise license to set model_max_budget" in refused.text
