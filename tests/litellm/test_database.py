"""Our settings for the database, on the real proxy: what it does while the database is gone, and at its end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Generator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from components.litellm import AUTHORITIES
from sandbox.toolchain.containers import ensure
from tests.litellm.conftest import COSTS, Pod, rendered
from tests.litellm.driver import Double, double
from tests.litellm.postgres import shared
from tests.litellm.tls import terminated
from tests.support.certificates import Authority
from tests.support.engine import run_program
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


def made(proxy: Double) -> httpx.Response:
    return proxy.client.post("/key/generate", json={})


def generated(proxy: Double) -> str:
    return made(proxy).raise_for_status().json()["key"]


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


def test_a_connection_to_a_standby_is_given_up(tmp_path: Path) -> None:
    """As after a failover: sessions that began on a server which takes no writes stay so, wherever the primary is."""
    pod = rendered({"litellm": {"serveWithoutDatabase": False}})
    with double(config=pod.file(tmp_path), environment=pod.environment) as proxy:
        shared().query(f"ALTER DATABASE {proxy.database} SET default_transaction_read_only = on")
        proxy.take_database(True)
        proxy.take_database(False)
        refused = 0
        while refused < 3:  # a first one may only have met the end of its connection
            refused = refused + 1 if made(proxy).status_code == 500 else 0
        shared().query(f"ALTER DATABASE {proxy.database} RESET default_transaction_read_only")
        wait_for(lambda: made(proxy).is_success, 45)


@contextlib.contextmanager
def existing(folder: Path, tls: str, certificate: tuple[Path, Path], ca: str | None) -> Generator[str]:
    """The URL of a database that exists, as the Release has it, and TLS in front of the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    database = f"existing_{uuid.uuid4().hex}"
    postgres = shared()
    postgres.database(database)
    where = {
        "host": "127.0.0.1",
        "port": port,
        "database": database,
        "passwordSecret": "cloudsql",
        "tls": tls,
    }
    run = run_program({"postgres": {"existing": where | ({"ca": ca} if ca else {})}})
    url: str = run.one("Release", "gateway-litellm-release").inputs["values"]["db"]["url"]
    (folder / "database.pem").write_text(ca or "")
    variables = {"USERNAME": "litellm", "PASSWORD": "p", "HOST": "127.0.0.1", "NAME": database}
    for name, value in variables.items():
        url = url.replace(f"$(DATABASE_{name})", value)
    plain = urlsplit(postgres.url(database)).port
    assert plain
    with terminated(port, plain, certificate, postgres=True):
        yield url.replace(AUTHORITIES, str(folder))


def migrated(url: str) -> tuple[int, str]:
    """What the migration's command says of a database."""
    postgres = shared()
    environment = {**os.environ, **postgres.environment, "DATABASE_URL": url}
    command = [ensure().prisma / "bin" / "prisma", "migrate", "resolve", "--applied", "none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("tls", "names", "theirs", "said"),
    [
        ("verify-full", ["127.0.0.1"], True, "P3017"),  # connected: it knows no migration of that name
        ("verify-full", ["127.0.0.2"], True, "P1011"),
        ("verify-full", ["127.0.0.1"], False, "P1011"),
        ("require", [], False, "P3017"),
    ],
    ids=["believed", "another name", "another authority", "whoever answers"],
)
def test_whom_tls_believes(tls: str, names: list[str], theirs: bool, said: str, tmp_path: Path) -> None:
    authority = Authority()
    ca = (authority if theirs else Authority()).pem if tls == "verify-full" else None
    with existing(tmp_path, tls, authority.server(tmp_path, *names), ca) as url:
        assert said in migrated(url)[1]


def test_the_proxy_uses_a_database_with_tls(tmp_path: Path) -> None:
    authority = Authority()
    pod = rendered({"litellm": {"serveWithoutDatabase": False}})
    with existing(tmp_path, "verify-full", authority.server(tmp_path, "127.0.0.1"), authority.pem) as url:
        environment = {**pod.environment, "DATABASE_URL": url}
        with double(config=pod.file(tmp_path), environment=environment) as proxy:
            assert status(proxy, generated(proxy)) == 200


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
