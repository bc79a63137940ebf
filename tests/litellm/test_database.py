"""Our settings for the database, on the real proxy: what it does while the database is gone, and at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.litellm.conftest import COSTS, Pod, rendered
from tests.litellm.driver import Double, double
from tests.litellm.postgres import shared
from tests.support.waiting import wait_for

SPENT = """SELECT count(*), COALESCE(sum(spend), 0), (SELECT sum(spend) FROM "LiteLLM_VerificationToken")
    FROM "LiteLLM_SpendLogs" WHERE total_tokens > 0"""


URL = "http://models.svc/v1"
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def status(proxy: Double, key: str, model: str = "qwen-local") -> int:
    message = {"role": "user", "content": "ping"}
    answer = proxy.client.post(
        "/v1/chat/completions",
        json={"model": model, "messages": [message], "tools": [TOOL]},
        headers={"authorization": f"Bearer {key}"},
    )
    return answer.status_code


def generated(proxy: Double) -> str:
    return proxy.client.post("/key/generate", json={}).raise_for_status().json()["key"]


def written(proxy: Double) -> tuple[int, bool]:
    """How many requests have their record, and whether the keys have spent the sum of them."""
    count, total, keys = shared().query(SPENT, proxy.database).split("|")
    return int(count), float(keys) == pytest.approx(float(total))


@pytest.mark.parametrize("serves", [True, False], ids=["fail open", "fail closed"])
def test_without_its_database(serves: bool, tmp_path: Path) -> None:
    pod = rendered({"litellm": {"serveWithoutDatabase": serves}})
    with double(config=pod.file(tmp_path), environment=pod.environment) as proxy:
        used, unused = generated(proxy), generated(proxy)
        assert [status(proxy, key) for key in (used, "sk-wrong")] == [200, 401]

        proxy.take_database(True)
        # A key that the pod has seen is good for a minute.
        assert status(proxy, used) == 200
        assert status(proxy, unused) == (200 if serves else 503)
        # Failing open is failing open for everybody.
        assert status(proxy, "sk-wrong") == (200 if serves else 503)
        assert status(proxy, proxy.master_key) == 200
        # What the chart's probes ask for: readiness fails whichever way the setting is, liveliness never.
        for probe, answer in (("readiness", 503), ("liveliness", 200)):
            assert proxy.client.get(f"/health/{probe}").status_code == answer


@pytest.mark.parametrize("hooks", [{}, {"LITELLM_WORKER_STARTUP_HOOKS": ""}], ids=["ours", "LiteLLM alone"])
def test_spend_waits_for_the_database(hooks: Mapping[str, str], tmp_path: Path) -> None:
    """While the proxy runs, and once it is told to end. Where LiteLLM alone loses nothing, our hook can go."""
    pod = rendered({"litellm": {"serveWithoutDatabase": False}})
    with double(config=pod.file(tmp_path), environment={**pod.environment, **hooks}) as proxy:
        key, other = generated(proxy), generated(proxy)
        assert status(proxy, key) == 200
        wait_for(lambda: written(proxy) == (1, True), 45)
        proxy.take_database(True)
        assert [status(proxy, key) for _ in range(3)] == [200] * 3
        time.sleep(8)  # it tries to write every 6 s at most
        proxy.take_database(False)
        wait_for(lambda: status(proxy, other) == 200)
        wait_for(lambda: written(proxy) == (2 if hooks else 5, True), 45)

        proxy.take_database(True)
        assert status(proxy, other) == 200
        time.sleep(
            2
        )  # the pod's preStop leaves it 10 s: LiteLLM counts a request some time after it has answered it
        proxy.process.terminate()
        time.sleep(3)
        proxy.take_database(False)
        proxy.process.wait(60)
        assert written(proxy) == (2 if hooks else 6, True)


YOUNG = """FROM "LiteLLM_SpendLogs" WHERE "startTime" > timezone('utc', now()) - interval"""
WITHOUT_END = {"LiteLLM_ToolTable", *(f"LiteLLM_Daily{by}Spend" for by in ("Tag", "Team", "User"))}
"""A row per name of a tool; a row per day, key and model, or tag (a client's User-Agent is one)."""


def filled(proxy: Double) -> set[str]:
    """LiteLLM's tables that have rows."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'LiteLLM%'"
    names = shared().query(tables, proxy.database).split()
    queries = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in names]  # noqa: S608
    return set(shared().query(" UNION ALL ".join(queries), proxy.database).split())


def test_records_beyond_the_retention_are_deleted_failed_requests_too(tmp_path: Path) -> None:
    """What we write into LiteLLM's configuration, but that the cleanup runs each minute; the records' clock is moved."""
    models = [{"alias": n, **COSTS, "endpoint": {"url": URL, "model": n}} for n in ("well", "broken")]
    pod = rendered({"models": models, "litellm": {"spendLogRetention": "2d", "retries": 0}})
    pod = Pod(pod.config.replace("*/10 * * * *", "* * * * *"), pod.environment)
    with double(config=pod.file(tmp_path), environment=pod.environment) as proxy:

        def records(hours: int) -> str:
            found = f"SELECT count(*) FILTER (WHERE status = 'failure'), count(*) {YOUNG} '{hours} hours'"
            return shared().query(found, proxy.database)

        key = generated(proxy)
        before = filled(proxy)
        for hours in (49, 47, 0):
            assert [status(proxy, key, model) for model in ("well", "broken")] == [200, 500]
            wait_for(lambda: records(1) == "1|2", 45)
            older = f'"startTime" = "startTime" - interval \'{hours} hours\''
            young = f"request_id IN (SELECT request_id {YOUNG} '1 hour')"
            shared().query(f'UPDATE "LiteLLM_SpendLogs" SET {older} WHERE {young}', proxy.database)  # noqa: S608
        wait_for(lambda: records(1000) == "2|4", 90)
        assert records(48) == "2|4"
        assert filled(proxy) - before - WITHOUT_END == {"LiteLLM_SpendLogs"}
        spent = 'SELECT spend FROM "LiteLLM_VerificationToken"'
        assert float(shared().query(spent, proxy.database)) == pytest.approx(3 * (10 * 1e-06 + 5 * 2e-06))
