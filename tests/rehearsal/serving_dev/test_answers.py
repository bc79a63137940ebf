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
def client(gateway: Sandbox) -> Iterator[httpx.Client]:
    """Calls the gateway with the declared key."""
    key = gateway.run("key", "search-app").succeeded().text.strip()
    with calling(gateway, key) as made:
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


def test_kubectl_reaches_running_pods(gateway: Sandbox) -> None:
    # `deploy/litellm` may be the migration's pod; only those of a Deployment have this hash.
    proxy, *_ = proxies(gateway)
    of_proxies = ("--selector", "app.kubernetes.io/name=litellm,pod-template-hash", "--tail", "-1")
    assert "Application startup complete" in kubectl(gateway, "logs", *of_proxies).succeeded().text
    budget = """SELECT max_budget FROM "LiteLLM_TeamTable" WHERE team_alias = 'search'"""
    query = ["psql", "-d", "litellm", "-tAc", budget]
    asked = kubectl(gateway, "exec", "litellm-pg-1", "-c", "postgres", "--", *query).succeeded()
    assert asked.text.strip() == "50"
    assert kubectl(gateway, "exec", proxy, "--", "sh", "-c", "exit 3").code == 3
    refused = kubectl(gateway, "exec", proxy, "--", "no-such-program").failed()
    assert "executable file not found in $PATH" in refused.text


def test_what_a_full_database_is_full_of(gateway: Sandbox) -> None:
    """The guide's own commands; nothing fills a volume here."""
    (block,) = (
        b for b in blocks(REPOSITORY / "docs" / "operations.md", "sh") if "pg_replication_slots" in b.text
    )
    said = gateway.run("exec", "--", "sh", "-euc", block.text).succeeded().text
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


def test_what_is_wrong_fails_its_pod_in_its_own_words(gateway: Sandbox) -> None:
    misspelt = like_the_engine(gateway, "misspelt", ["--max-modl-len", "4096"], 8000)
    assert misspelt["lastState"]["terminated"]["exitCode"] == 2
    logged = gateway.run("exec", "--", "kubectl", "--namespace", "vllm", "logs", "misspelt").succeeded()
    assert "unrecognized arguments: --max-modl-len 4096" in logged.text
    wrong_port = like_the_engine(gateway, "wrong-port", [], 8001)
    assert wrong_port["restartCount"] >= 1
    events = gateway.namespaced("events", "vllm")["items"]
    said = {each["message"] for each in events if each["involvedObject"]["name"] == "wrong-port"}
    assert any(
        re.match(r"Startup probe failed: .*:8001: connect: connection refused", text) for text in said
    ), said
    assert "Container vllm failed startup probe, will be restarted" in said
    for name in ("misspelt", "wrong-port"):
        gateway.run("exec", "--", "kubectl", "--namespace", "vllm", "delete", "pod", name).succeeded()


def test_policies_hold_for_running_pods(gateway: Sandbox) -> None:
    """The database's Service takes the proxy's connections and no one else's."""
    number = int((gateway.home.root / "network").read_text())
    service = gateway.namespaced("services", "llm-gateway", "litellm-pg-rw")["spec"]["clusterIP"]
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{Network(number).service(service)}:5432/", trust_env=False)


def test_a_failing_migration_stops_the_release_and_the_old_proxy_answers_on(
    gateway: Sandbox, client: httpx.Client
) -> None:
    pods = proxies(gateway)
    last, table = "20260605182307_add_timeout_to_mcp_server_table", '"LiteLLM_MCPServerTable"'
    sql(gateway, "litellm-pg", f"DELETE FROM _prisma_migrations WHERE migration_name = '{last}'")  # noqa: S608
    sql(gateway, "litellm-pg", f"ALTER TABLE {table} OWNER TO postgres; GRANT ALL ON {table} TO litellm")
    gateway.configure({"llm-gateway:litellm": {"streamTimeout": 100}})
    up = gateway.up(config={"llm-gateway:timeouts": {"litellm": 30}}).failed()
    assert "pre-upgrade hooks failed" in up.text
    said = "must be owner of table LiteLLM_MCPServerTable"
    wait_for(lambda: said in kubectl(gateway, "logs", "job/litellm-migrations").text, 120)
    ask(client).raise_for_status()
    assert proxies(gateway) == pods

    sql(
        gateway,
        "litellm-pg",
        f"ALTER TABLE {table} OWNER TO litellm; ALTER TABLE {table} DROP COLUMN timeout",
    )
    gateway.up().succeeded()
    wait_for(lambda: ask(client).is_success, 60)
    assert proxies(gateway) != pods


def test_a_restored_database_has_the_keys_and_the_spend_of_its_time(sandboxes: Sandboxes) -> None:
    backups = {"backups": {"method": "objectStore"}}
    with sandboxes.served() as sandbox:
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


def test_down_leaves_nothing_and_what_was_spent_is_there_after_it(
    gateway: Sandbox, client: httpx.Client
) -> None:

    def spend() -> float:
        answer = client.get("/key/info")
        return answer.json()["info"]["spend"] if answer.is_success else 0

    ask(client).raise_for_status()
    before = wait_for(spend, 60)
    assert any("/litellm" in name for name in running(gateway.home).values())
    gateway.run("down").succeeded()
    assert running(gateway.home) == {}
    with pytest.raises(httpx.ConnectError):
        client.get("/health/liveliness")
    gateway.run("start").succeeded()

    def answers() -> bool:
        try:
            return client.get("/health/readiness").is_success
        except httpx.TransportError:
            return False

    wait_for(answers, 180)
    assert spend() >= before > 0
    wait_for(lambda: ask(client).is_success, 180)
