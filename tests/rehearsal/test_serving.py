"""The dev stack for real: its pods run, and the gateway answers, counts and refuses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
import yaml

from sandbox.cluster import control_plane
from sandbox.network.addresses import Network
from sandbox.paths import REPOSITORY
from sandbox.processes import running
from tests.support import leaks
from tests.support.documents import blocks
from tests.support.driver import Result, Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.serving import (
    MODEL,
    PODS_RUN,
    ask,
    calling,
    kubectl,
    proxies,
    sql,
)
from tests.support.waiting import wait_for

pytestmark = PODS_RUN

Json = dict[str, Any]


@pytest.fixture(scope="module")
def served(sandboxes: Sandboxes) -> Iterator[tuple[Sandbox, Result]]:
    """Dev, brought up with pods that run, and what that printed."""
    sandbox = sandboxes.new(played=False)
    try:
        yield sandbox, sandbox.up().succeeded()
    finally:
        sandbox.run("down").succeeded()


@pytest.fixture(scope="module")
def client(served: tuple[Sandbox, Result]) -> Iterator[httpx.Client]:
    """Calls the gateway with the declared key."""
    sandbox, _ = served
    key = sandbox.run("key", "search-app").succeeded().text.strip()
    with calling(sandbox, key) as made:
        yield made


def test_an_up_ends_with_what_answered_and_what_to_call(
    served: tuple[Sandbox, Result], client: httpx.Client
) -> None:
    sandbox, up = served
    url = str(client.base_url).rstrip("/")
    lines = up.text.splitlines()
    (row,) = [line for line in lines if line.startswith("│ ready ")]
    assert [cell.strip() for cell in row.strip("│").split("│")][:4] == ["ready", url, "search-app", MODEL]
    assert [line.split()[:2] for line in lines[-2:]] == [["curl", "-s"]] * 2
    assert "key NAME=search-app" in lines[-2]
    answer = json.loads(sandbox.home.answer.read_text())
    assert (answer["status"], bool(answer["text"])) == (200, True)
    (model,) = yaml.safe_load((sandbox.root / "Pulumi.dev.yaml").read_text())["config"]["llm-gateway:models"]
    prompt, completion = (answer[f"{kind}_tokens"] for kind in ("prompt", "completion"))
    cost = prompt * model["inputCostPerToken"] + completion * model["outputCostPerToken"]
    assert answer["spend"] == pytest.approx(cost)
    report = unescape(sandbox.home.report.read_text())
    assert f"<code>{url}</code>" in report
    assert f"{answer['spend']:.8f} USD" in report
    places = {"printed": up.text, "answer": sandbox.home.answer.read_text(), "report": report}
    key = client.headers["authorization"].removeprefix("Bearer ")
    assert leaks.search({"key": key}, {name: text.encode() for name, text in places.items()}) == []


def test_the_declared_key_sees_the_declared_model(client: httpx.Client) -> None:
    answer = client.get("/v1/models").raise_for_status().json()
    assert [model["id"] for model in answer["data"]] == [MODEL]


def test_a_completion(client: httpx.Client) -> None:
    answer = ask(client).raise_for_status().json()
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] > 0


def test_a_streamed_completion(client: httpx.Client) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
    }
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert answer.status_code == 200
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert chunks[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("key", ["sk-wrong", ""])
def test_without_a_key_or_with_a_wrong_one(client: httpx.Client, key: str) -> None:
    assert ask(client, key).status_code == 401


def test_a_model_that_is_not_declared(client: httpx.Client) -> None:
    assert ask(client, model="gpt-4o").status_code in (400, 401, 403, 404)


def test_kubectl_reaches_running_pods(served: tuple[Sandbox, Result]) -> None:
    sandbox, _ = served
    # `deploy/litellm` may be the migration's pod; only those of a Deployment have this hash.
    proxy, *_ = proxies(sandbox)
    of_proxies = ("--selector", "app.kubernetes.io/name=litellm,pod-template-hash", "--tail", "-1")
    assert "Application startup complete" in kubectl(sandbox, "logs", *of_proxies).succeeded().text
    query = ["psql", "-d", "litellm", "-tAc", 'SELECT count(*) FROM "LiteLLM_TeamTable"']
    counted = kubectl(sandbox, "exec", "litellm-pg-1", "-c", "postgres", "--", *query).succeeded()
    assert counted.text.strip() == "1"
    assert kubectl(sandbox, "exec", proxy, "--", "sh", "-c", "exit 3").code == 3
    refused = kubectl(sandbox, "exec", proxy, "--", "no-such-program").failed()
    assert "executable file not found in $PATH" in refused.text


def test_what_a_full_database_is_full_of(served: tuple[Sandbox, Result]) -> None:
    """The guide's own commands; nothing fills a volume here."""
    sandbox, _ = served
    (block,) = (
        b for b in blocks(REPOSITORY / "docs" / "operations.md", "sh") if "pg_replication_slots" in b.text
    )
    said = sandbox.run("exec", "--", "sh", "-euc", block.text).succeeded().text
    assert "Cluster in healthy state" in said
    assert "slot_name" in said
    assert re.search(r"LiteLLM_\w+ +\| +\d+ kB", said)


def like_the_engine(sandbox: Sandbox, name: str, arguments: list[str], port: int) -> Json:
    """Make a pod from the engine's template, with these arguments and probed at this port."""
    (deployment,) = [
        each
        for each in sandbox.namespaced("deployments", "vllm", group="apps/v1")["items"]
        if each["metadata"]["name"].endswith("deployment-vllm")
    ]
    spec = deployment["spec"]["template"]["spec"]
    container = {**spec["containers"][0], "resources": {}}
    container["command"] = [*container["command"], *arguments]
    container["startupProbe"] = {
        "httpGet": {"path": "/health", "port": port},
        "periodSeconds": 1,
        "failureThreshold": 3,
    }
    spec = {**spec, "containers": [container], "affinity": {}, "terminationGracePeriodSeconds": 1}
    pod = {"metadata": {"name": name, "labels": {"test": name}}, "spec": spec}
    control_plane.api(sandbox.home).create("/api/v1/namespaces/vllm/pods", pod)

    def failed() -> list[Json]:
        statuses = sandbox.namespaced("pods", "vllm", name)["status"].get("containerStatuses", [])
        return [each for each in statuses if each.get("lastState", {}).get("terminated")]

    return wait_for(failed, 60)[0]


def test_what_is_wrong_fails_its_pod_in_its_own_words(served: tuple[Sandbox, Result]) -> None:
    sandbox, _ = served
    misspelt = like_the_engine(sandbox, "misspelt", ["--max-modl-len", "4096"], 8000)
    assert misspelt["lastState"]["terminated"]["exitCode"] == 2
    logged = sandbox.run("exec", "--", "kubectl", "--namespace", "vllm", "logs", "misspelt").succeeded()
    assert "unrecognized arguments: --max-modl-len 4096" in logged.text
    wrong_port = like_the_engine(sandbox, "wrong-port", [], 8001)
    assert wrong_port["restartCount"] >= 1
    events = sandbox.namespaced("events", "vllm")["items"]
    said = {each["message"] for each in events if each["involvedObject"]["name"] == "wrong-port"}
    assert any(
        re.match(r"Startup probe failed: .*:8001: connect: connection refused", text) for text in said
    ), said
    assert "Container vllm failed startup probe, will be restarted" in said
    for name in ("misspelt", "wrong-port"):
        sandbox.run("exec", "--", "kubectl", "--namespace", "vllm", "delete", "pod", name).succeeded()


def test_policies_hold_for_running_pods(served: tuple[Sandbox, Result]) -> None:
    """The database's Service takes the proxy's connections and no one else's."""
    sandbox, _ = served
    number = int((sandbox.home.root / "network").read_text())
    service = sandbox.namespaced("services", "llm-gateway", "litellm-pg-rw")["spec"]["clusterIP"]
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{Network(number).service(service)}:5432/", trust_env=False)


def test_a_failing_migration_stops_the_release_and_the_old_proxy_answers_on(
    served: tuple[Sandbox, Result], client: httpx.Client
) -> None:
    sandbox, _ = served
    pods = proxies(sandbox)
    last, table = "20260605182307_add_timeout_to_mcp_server_table", '"LiteLLM_MCPServerTable"'
    sql(sandbox, "litellm-pg", f"DELETE FROM _prisma_migrations WHERE migration_name = '{last}'")  # noqa: S608
    sql(sandbox, "litellm-pg", f"ALTER TABLE {table} OWNER TO postgres; GRANT ALL ON {table} TO litellm")
    changed = {"llm-gateway:litellm": {"retries": 1}}
    up = sandbox.up(config={**changed, "llm-gateway:timeouts": {"litellm": 30}}).failed()
    assert "pre-upgrade hooks failed" in up.text
    said = "must be owner of table LiteLLM_MCPServerTable"
    wait_for(lambda: said in kubectl(sandbox, "logs", "job/litellm-migrations").text, 120)
    ask(client).raise_for_status()
    assert proxies(sandbox) == pods

    sql(
        sandbox,
        "litellm-pg",
        f"ALTER TABLE {table} OWNER TO litellm; ALTER TABLE {table} DROP COLUMN timeout",
    )
    sandbox.up(config=changed).succeeded()
    wait_for(lambda: ask(client).is_success, 60)
    assert proxies(sandbox) != pods


def test_a_restored_database_has_the_keys_and_the_spend_of_its_time(sandboxes: Sandboxes) -> None:
    sandbox = sandboxes.new(played=False)
    backups = {"backups": {"method": "objectStore"}}
    try:
        sandbox.up(config={"llm-gateway:postgres": backups}).succeeded()
        with calling(sandbox, sandbox.secret("litellm-master-key")) as client:

            def spend(key: str) -> float:
                return client.get("/key/info", params={"key": key}).raise_for_status().json()["info"]["spend"]

            def generate() -> str:
                return client.post("/key/generate", json={"max_budget": 1}).raise_for_status().json()["key"]

            early = generate()
            ask(client, early).raise_for_status()
            before = wait_for(lambda: spend(early), 60)
            target = sql(
                sandbox,
                "litellm-pg",
                "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
            )
            time.sleep(2)
            late = generate()
            segment = sql(sandbox, "litellm-pg", "SELECT pg_walfile_name(pg_switch_wal())")
            wait_for(lambda: list(sandbox.home.buckets.rglob(segment)), 60)
            restore = {"name": "litellm-pg-2", "restore": {"source": "litellm-pg", "targetTime": target}}
            sandbox.up(config={"llm-gateway:postgres": {**backups, **restore}}).succeeded()
            assert spend(early) == before > 0
            assert client.get("/key/info", params={"key": late}).status_code == 404
            ask(client, early).raise_for_status()
            assert ask(client, late).status_code == 401
    finally:
        sandbox.run("down").succeeded()


def test_down_leaves_nothing_and_what_was_spent_is_there_after_it(
    served: tuple[Sandbox, Result], client: httpx.Client
) -> None:
    sandbox, _ = served

    def spend() -> float:
        answer = client.get("/key/info")
        return answer.json()["info"]["spend"] if answer.is_success else 0

    ask(client).raise_for_status()
    before = wait_for(spend, 60)
    assert any("/litellm" in name for name in running(sandbox.home).values())
    sandbox.run("down").succeeded()
    assert running(sandbox.home) == {}
    with pytest.raises(httpx.ConnectError):
        client.get("/health/liveliness")
    sandbox.run("start").succeeded()

    def answers() -> bool:
        try:
            return client.get("/health/readiness").is_success
        except httpx.TransportError:
            return False

    wait_for(answers, 180)
    assert spend() >= before > 0
