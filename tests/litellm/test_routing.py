"""The real proxy spreads the requests for an alias over its deployments, and asks its fallbacks, as the settings say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.litellm.conftest import rendered
from tests.litellm.driver import Proxy, proxy
from tests.support.engine import COSTS


def deployment(alias: str, host: str, model: str = "model", **more: Any) -> dict[str, Any]:
    """A model of an alias at `http://<host>/v1`; upstream.py says what the model answers."""
    return {"alias": alias, **COSTS, "endpoint": {"url": f"http://{host}/v1", "model": model}} | more


MODELS = [
    deployment("spread", "few.example", weight=1),
    deployment("spread", "many.example", weight=9),
    deployment("half", "down.example", "broken", weight=1),
    deployment("half", "up.example", weight=1),
    deployment("ordered", "first.example", "broken", order=1),
    deployment("ordered", "second.example", order=2),
    deployment("limited", "one-a-minute.example", rpm=1, order=1),
    deployment("limited", "rest.example", order=2),
    deployment("failing", "failing.example", "broken"),
    deployment("hung", "hung.example", "hung"),
    deployment("short", "short.example", "short"),
    deployment("prude", "prude.example", "prude"),
    deployment("short-of-all", "short.example", "short"),
    deployment("backup", "backup.example"),
    deployment("long", "long.example"),
    deployment("lenient", "lenient.example"),
]
FALLBACKS = {
    "onError": {
        "failing": ["hung", "backup"],
        "short": ["failing"],
        "prude": ["failing"],
        "short-of-all": ["backup"],
    },
    "onContextLength": {"short": ["long"]},
    "onContentPolicy": {"prude": ["lenient"]},
}


@pytest.fixture(scope="module")
def routing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    litellm = {"fallbacks": FALLBACKS, "retries": 1, "requestTimeout": 3, "streamTimeout": 3}
    pod = rendered({"models": MODELS, "litellm": litellm})
    with proxy(pod.file(tmp_path_factory.mktemp("routing")), pod.environment) as running:
        yield running


def asked(routing: Proxy, alias: str) -> tuple[httpx.Response, list[str]]:
    """The answer, and the hosts that were asked for it, in their order."""
    before = len(routing.upstream.calls)
    body = {"model": alias, "messages": [{"role": "user", "content": "ping"}]}
    answer = routing.client.post("/v1/chat/completions", json=body)
    hosts = [httpx.URL(call.url).host for call in routing.upstream.calls[before:]]
    return answer, hosts


def test_requests_are_spread_by_weight(routing: Proxy) -> None:
    hosts = Counter(asked(routing, "spread")[1][0] for _ in range(100))
    assert hosts["many.example"] > 4 * hosts["few.example"] > 0


def test_a_deployment_that_fails_leaves_the_request_to_the_others(routing: Proxy) -> None:
    for _ in range(20):
        answer, hosts = asked(routing, "half")
        assert answer.is_success, answer.text
        assert hosts[-1] == "up.example"


def test_a_deployment_is_asked_once_those_before_it_failed(routing: Proxy) -> None:
    answer, hosts = asked(routing, "ordered")
    assert answer.is_success, answer.text
    assert [*dict.fromkeys(hosts)] == ["first.example", "second.example"]


def test_a_deployment_over_its_limit_leaves_the_request_to_the_next(routing: Proxy) -> None:
    assert [asked(routing, "limited")[1] for _ in range(3)] == [
        ["one-a-minute.example"],
        ["rest.example"],
        ["rest.example"],
    ]


@pytest.mark.parametrize(
    ("alias", "last"),
    [
        ("failing", "backup.example"),
        ("short", "long.example"),
        ("short-of-all", "backup.example"),
        ("prude", "lenient.example"),
    ],
)
def test_a_fallback_answers(routing: Proxy, alias: str, last: str) -> None:
    answer, hosts = asked(routing, alias)
    assert answer.is_success, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "pong"
    assert hosts[0] == f"{alias.partition('-')[0]}.example"
    assert hosts[-1] == last


def test_each_alias_is_listed_once(routing: Proxy) -> None:
    models = [model["id"] for model in routing.client.get("/v1/models").raise_for_status().json()["data"]]
    assert models == list(dict.fromkeys(model["alias"] for model in MODELS))
