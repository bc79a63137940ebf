"""What a request reaches, and what it costs: the upstream, spend, the budgets of keys and of teams, validation of dev."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sandbox.network.addresses import Network
from tests.support.driver import Sandbox
from tests.support.serving import (
    INPUT,
    MODEL,
    OUTPUT,
    PODS_RUN,
    ask,
    calling,
    refused,
    sql,
    validated,
)
from tests.support.waiting import wait_for

pytestmark = PODS_RUN

EXCEEDED = "Budget has been exceeded"
TINY = 0.000001
"""USD that the first request spends."""


@pytest.fixture(scope="module")
def admin(gateway: Sandbox) -> Iterator[httpx.Client]:
    with calling(gateway, gateway.secret("litellm-master-key")) as client:
        yield client


def made(admin: httpx.Client, **limits: Any) -> str:
    """A new key's value."""
    return admin.post("/key/generate", json=limits).raise_for_status().json()["key"]


def team_made(admin: httpx.Client, **limits: Any) -> str:
    """A new team's id."""
    return admin.post("/team/new", json=limits).raise_for_status().json()["team_id"]


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def cost(usage: dict[str, int]) -> float:
    return usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT


def refusal(admin: httpx.Client, key: str) -> str:
    """What a key is refused with, once it is."""
    answer = refused(admin, key)
    return f"{answer.status_code} {answer.text}"


def test_the_upstream_gets_the_models_own_name_and_key(gateway: Sandbox, admin: httpx.Client) -> None:
    engine = next(
        pod
        for pod in gateway.namespaced("pods", "vllm")["items"]
        if pod["spec"]["containers"][0]["image"].startswith("vllm/vllm-openai")
    )
    network = Network(int((gateway.home.root / "network").read_text()))
    url = f"http://{network.process(engine['status']['podIP'])}:8000"
    own = "Qwen/Qwen2.5-0.5B-Instruct"
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as upstream:

        def status(key: str, model: str) -> int:
            return ask(upstream, key, model=model).status_code

        key = gateway.secret("vllm-api-key")
        assert status(key, own) == 200
        assert status(key, MODEL) == 404
        assert [status(other, own) for other in (made(admin), "")] == [401, 401]

    def logged() -> int:
        words = ("logs", "--namespace", "vllm", engine["metadata"]["name"])
        text = gateway.run("exec", "--", "kubectl", *words).succeeded().text
        return text.count('"POST /v1/chat/completions HTTP/1.1" 200')

    before = logged()
    assert ask(admin, made(admin)).raise_for_status().json()["model"] == MODEL
    wait_for(lambda: logged() == before + 1, 60)


def test_spend_is_tokens_times_the_settings_costs(gateway: Sandbox, admin: httpx.Client) -> None:
    low, high = made(admin, max_budget=TINY), made(admin, max_budget=10)
    usages = {low: spent(admin, low), high: [ask(admin, high).raise_for_status().json()["usage"]]}
    usages[high].append(ask(admin, high, max_tokens=20).raise_for_status().json()["usage"])
    streamed = ask(admin, high, stream=True).raise_for_status().text
    chunks = [line.removeprefix("data: ") for line in streamed.splitlines() if line]
    usages[high].append(json.loads(chunks[-2])["usage"])

    for key, seen in usages.items():
        is_recorded(gateway, admin, key, seen)


def spent(admin: httpx.Client, key: str) -> list[dict[str, int]]:
    """What was used until the key's first request beyond its budget was refused: what is spent counts a little later."""
    usages = [ask(admin, key).raise_for_status().json()["usage"]]
    while (answer := ask(admin, key)).is_success and len(usages) < 20:
        usages.append(answer.json()["usage"])
    assert EXCEEDED in answer.text
    return usages


def is_recorded(gateway: Sandbox, admin: httpx.Client, key: str, usages: list[dict[str, int]]) -> None:
    """Each request has its row with its cost, and the key has spent their sum."""
    query = f"""SELECT json_agg(json_build_array(prompt_tokens, completion_tokens, spend) ORDER BY "startTime")
        FROM "LiteLLM_SpendLogs" WHERE api_key = '{hashed(key)}' AND total_tokens > 0"""  # noqa: S608

    def rows() -> list[list[float]]:
        return json.loads(sql(gateway, "litellm-pg", query) or "[]")

    def spend() -> float:
        return admin.get("/key/info", params={"key": key}).raise_for_status().json()["info"]["spend"]

    wait_for(lambda: len(rows()) >= len(usages), 60)
    found = rows()
    print(found)
    assert [row[:2] for row in found] == [
        [usage["prompt_tokens"], usage["completion_tokens"]] for usage in usages
    ]
    assert [row[2] for row in found] == pytest.approx([cost(usage) for usage in usages], rel=1e-9)
    total = sum(cost(usage) for usage in usages)
    wait_for(lambda: spend() == pytest.approx(total, rel=1e-9), 60)


def test_a_teams_budget_binds_its_keys(admin: httpx.Client) -> None:
    team = team_made(admin, max_budget=TINY)
    one, other = (made(admin, team_id=team) for _ in range(2))
    ask(admin, one).raise_for_status()
    assert f"{EXCEEDED}! Team={team}" in refusal(admin, other)
    assert f"{EXCEEDED}! Team={team}" in refusal(admin, one)
    ask(admin, made(admin)).raise_for_status()


def first_of_next_month() -> datetime:
    return (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )


@pytest.mark.parametrize("of", ["key", "team"])
def test_a_monthly_budget_restarts_after_its_month(gateway: Sandbox, admin: httpx.Client, of: str) -> None:
    monthly = {"max_budget": TINY, "budget_duration": "1mo"}
    team = team_made(admin, **monthly) if of == "team" else None
    key = made(admin, **(monthly if of == "key" else {"team_id": team}))
    table = {"key": "LiteLLM_VerificationToken", "team": "LiteLLM_TeamTable"}[of]
    row = f"token = '{hashed(key)}'" if of == "key" else f"team_id = '{team}'"

    def resets() -> datetime:
        text = sql(gateway, "litellm-pg", f'SELECT budget_reset_at FROM "{table}" WHERE {row}')  # noqa: S608
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    def spend() -> float:
        return float(sql(gateway, "litellm-pg", f'SELECT spend FROM "{table}" WHERE {row}'))  # noqa: S608

    assert resets() == first_of_next_month()
    total = sum(map(cost, spent(admin, key)))
    wait_for(lambda: spend() == pytest.approx(total), 60)  # none of it is written after the reset
    past = "(now() AT TIME ZONE 'UTC') - interval '1 minute'"
    sql(gateway, "litellm-pg", f'UPDATE "{table}" SET budget_reset_at = {past} WHERE {row}')  # noqa: S608
    wait_for(lambda: ask(admin, key).is_success, 60)
    assert resets() == first_of_next_month()
    assert EXCEEDED in refusal(admin, key), "the new month has a budget, too"


@pytest.mark.parametrize(("period", "days"), [("1d", 1), ("7d", 7), ("30d", 31)])
def test_other_periods_end_when_the_documents_say(admin: httpx.Client, period: str, days: int) -> None:
    key = made(admin, max_budget=1, budget_duration=period)
    info = admin.get("/key/info", params={"key": key}).raise_for_status().json()["info"]
    at = datetime.fromisoformat(info["budget_reset_at"])
    now = datetime.now(UTC)
    assert (at.hour, at.minute, at.second) == (0, 0, 0)
    assert now < at <= now + timedelta(days=days)
    assert {"1d": True, "7d": at.weekday() == 0, "30d": at.day == 1}[period]


def test_every_check_passes_over_dev(gateway: Sandbox) -> None:
    assert set(validated(gateway).values()) == {"pass"}
