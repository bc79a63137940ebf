"""Prod for real: two proxies that share their counts, tenants brought to both by the Job, validation of prod."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest

from sandbox.cluster import control_plane
from tests.rehearsal.serving_prod.declared import AFTER, BEFORE, LIMITED, RPM, TINY, TPM
from tests.support.driver import Sandbox
from tests.support.serving import (
    MODEL,
    PODS_RUN,
    ask,
    calling,
    kubectl,
    proxies,
    refused,
    sql,
    validated,
)
from tests.support.waiting import wait_for

pytestmark = PODS_RUN

Json = dict[str, Any]
NAMESPACE = "llm-gateway"
STATED_SECONDS = 60
"""docs/tenants.md: after the Job, until every pod knows of a change."""


@pytest.fixture
def pods(gateway: Sandbox) -> Iterator[list[httpx.Client]]:
    """Calls each of the two proxies' pods with the master key."""
    with ExitStack() as stack:
        wait_for(lambda: len(proxies(gateway)) == 2, 180)
        key = gateway.secret("litellm-master-key")
        yield [stack.enter_context(calling(gateway, key, address)) for address in proxies(gateway).values()]


def made(admin: httpx.Client, **limits: Any) -> str:
    """A new key's value."""
    return admin.post("/key/generate", json=limits).raise_for_status().json()["key"]


def limited(admin: httpx.Client, of: str, **limit: int) -> tuple[str, list[str]]:
    """The model to ask for, and the keys to ask with, where a limit is a key's, a team's or the model's."""
    if of == "team":
        team = admin.post("/team/new", json=limit).raise_for_status().json()["team_id"]
        return MODEL, [made(admin, team_id=team) for _ in range(2)]
    return (MODEL, [made(admin, **limit)]) if of == "key" else (LIMITED, [made(admin) for _ in range(2)])


def whole_minute(of: str) -> None:
    """Wait for a minute of which enough is left, and a model for one in which no test has asked it yet.

    LiteLLM counts a model's limits by the clock's minutes.
    """
    began = time.time() // 60
    while time.time() % 60 > 20 or (of == "model" and time.time() // 60 == began):
        time.sleep(1)


@pytest.mark.parametrize("of", ["key", "team", "model"])
def test_requests_per_minute_bind_once_over_both_pods(pods: list[httpx.Client], of: str) -> None:
    model, keys = limited(pods[0], of, rpm_limit=RPM)
    whole_minute(of)
    turns = zip(itertools.cycle(pods), itertools.cycle(keys), range(2 * RPM))
    answers = [ask(pod, key, model=model, max_tokens=1) for pod, key, _ in turns]
    assert [answer.status_code for answer in answers] == [200] * RPM + [429] * RPM
    assert all(
        ("Model rate limit exceeded. RPM" if of == "model" else "Limit type: requests") in answer.text
        for answer in answers[RPM:]
    ), answers[-1].text


@pytest.mark.parametrize("of", ["key", "team", "model"])
def test_tokens_per_minute_bind_once_over_both_pods(pods: list[httpx.Client], of: str) -> None:
    model, keys = limited(pods[0], of, tpm_limit=TPM)
    long = [{"role": "user", "content": "ping " * 120}]
    whole_minute(of)
    used: list[list[int]] = [[], []]
    over: dict[int, str] = {}
    for turn, key in zip(range(20), itertools.cycle(keys)):
        answer = ask(pods[turn % 2], key, model=model, max_tokens=1, messages=long)
        if answer.status_code == 429:
            over[turn % 2] = answer.text
        else:
            used[turn % 2].append(answer.raise_for_status().json()["usage"]["total_tokens"])
        if len(over) == 2:
            break
        time.sleep(0.5)  # tokens are counted after the answer
    print(used)
    assert len(over) == 2
    reason = "Model rate limit exceeded. TPM" if of == "model" else "Limit type: tokens"
    assert all(reason in text for text in over.values()), over
    assert sum(sum(tokens[:-1]) for tokens in used) < TPM, "each pod's last request may go beyond it"


def test_a_budget_spent_at_one_pod_is_spent_at_the_other(pods: list[httpx.Client]) -> None:
    key = made(pods[0], max_budget=TINY)
    ask(pods[1], key).raise_for_status()
    for pod in pods:
        assert "Budget has been exceeded" in refused(pod, key).text


@contextmanager
def asking(pods: list[httpx.Client], key: str) -> Generator[list[list[tuple[float, int]]]]:
    """Ask each pod for its models with a key, over and over; yields by pod when it was asked, and the statuses."""
    seen: list[list[tuple[float, int]]] = [[], []]
    ended = threading.Event()

    def ask_on(number: int) -> None:
        while not ended.wait(0.5):
            sent = time.time()
            answer = pods[number].get("/v1/models", headers={"authorization": f"Bearer {key}"})
            seen[number].append((sent, answer.status_code))

    threads = [threading.Thread(target=ask_on, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def tenants_job(sandbox: Sandbox) -> Json:
    """The Job that the last `up` left."""
    jobs = sandbox.namespaced("jobs", NAMESPACE, group="batch/v1")["items"]
    return next(job for job in jobs if "reconcile" in job["metadata"]["name"])


def test_a_changed_budget_and_a_blocked_and_a_removed_key_take_effect_in_time(
    gateway: Sandbox, pods: list[httpx.Client]
) -> None:
    keys = {key["name"]: gateway.secret(f"litellm-key-{key['name']}") for key in BEFORE}
    for pod in pods:
        for name in ("blocked", "removed"):
            ask(pod, keys[name]).raise_for_status()
        refused(pod, keys["raised"])
    with asking(pods, keys["blocked"]) as blocked, asking(pods, keys["removed"]) as removed:
        wait_for(lambda: all(blocked) and all(removed), 60)
        gateway.configure({"llm-gateway:virtualKeys": AFTER})
        gateway.up().succeeded()
        done = datetime.fromisoformat(tenants_job(gateway)["status"]["completionTime"]).timestamp()
        raised: dict[int, float] = {}
        while time.time() < done + STATED_SECONDS + 15:
            for number, pod in enumerate(pods):
                sent = time.time() - done
                if number not in raised and ask(pod, keys["raised"]).is_success:
                    raised[number] = sent
            time.sleep(1)
    assert len(raised) == 2
    late = {"raised": max(raised.values())}
    for name, seen in {"blocked": blocked, "removed": removed}.items():
        statuses = [[status for _, status in of_pod] for of_pod in seen]
        assert all(of_pod[0] == 200 and 401 in of_pod for of_pod in statuses), statuses
        late[name] = max(at - done for of_pod in seen for at, status in of_pod if status == 200)
    print(late)
    assert max(late.values()) < STATED_SECONDS, late


def test_the_job_brings_fifty_teams_and_two_hundred_keys(gateway: Sandbox, pods: list[httpx.Client]) -> None:
    """The Job that `up` left, run once more with another declaration: the keys' values are the test's."""
    teams = [f"team-{number}" for number in range(50)]
    values = {f"key-{number}": f"sk-{secrets.token_hex(24)}" for number in range(200)}
    first = run_job(gateway, "many-1", declaration(teams, list(values)), values)
    assert first.startswith("teams: 50 created; keys: 200 created; ")
    query = """SELECT count(*), count(DISTINCT team_id) FROM "LiteLLM_VerificationToken" WHERE key_alias LIKE 'key-%'"""
    assert sql(gateway, "litellm-pg", query) == "200|50"
    for pod, name in zip(pods, ("key-0", "key-199"), strict=True):
        ask(pod, values[name]).raise_for_status()
    again = run_job(gateway, "many-2", declaration(teams, list(values)), values)
    assert again.startswith("teams: 50 unchanged; keys: 200 unchanged; ")
    none = run_job(gateway, "many-3", declaration([], []), {"none": "none"})
    assert none.startswith("teams: 50 deleted; keys: 200 deleted; ")


def declaration(teams: list[str], keys: list[str]) -> Json:
    limits = {"max_budget": 5, "budget_duration": "1mo", "tpm_limit": None, "rpm_limit": 60, "models": []}
    common = {**limits, "blocked": False, "metadata": {}}
    routes = {"allowed_routes": ["llm_api_routes", "/key/info", "/team/info"], "expires": None}
    return {
        "managed_by": "llm-gateway/many",
        "budgets": [],
        "teams": [{"name": name, "team_alias": name, **common} for name in teams],
        "keys": [
            {"name": name, "key_alias": name, "team": teams[number % len(teams)], **common, **routes}
            for number, name in enumerate(keys)
        ],
    }


def run_job(sandbox: Sandbox, name: str, declared: Json, values: dict[str, str]) -> str:
    """Run the tenants' Job with another declaration and other values; returns the last line of its log."""
    api, namespace = control_plane.api(sandbox.home), f"/api/v1/namespaces/{NAMESPACE}"
    job = tenants_job(sandbox)
    spec = job["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    script = sandbox.namespaced("configmaps", NAMESPACE, volumes["declared"]["configMap"]["name"])["data"]
    data = {**script, "declared.json": json.dumps(declared)}
    api.create(f"{namespace}/configmaps", {"metadata": {"name": name}, "data": data})
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    api.create(f"{namespace}/secrets", {"metadata": {"name": name}, "data": encoded})
    volumes["declared"]["configMap"]["name"] = volumes["keys"]["secret"]["secretName"] = name
    template = {"metadata": {"labels": job["metadata"]["labels"]}, "spec": spec}
    made = {"metadata": {"name": name}, "spec": {"template": template, "backoffLimit": 0}}
    api.create(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", made)
    kubectl(sandbox, "wait", "--for=condition=complete", f"job/{name}", "--timeout=300s").succeeded()
    last = kubectl(sandbox, "logs", f"job/{name}").succeeded().text.strip().splitlines()[-1]
    print(last)
    return last


def test_every_check_passes_over_prod(gateway: Sandbox) -> None:
    assert set(validated(gateway).values()) == {"pass"}
