"""An upstream that hangs or refuses, on the real proxy: how long a request is held, and who else is affected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml

from tests.litellm.conftest import COSTS, rendered
from tests.litellm.driver import Proxy, proxy
from tests.litellm.upstream import HUNG_SECONDS

URL = "http://models.svc/v1"
NAMES = ("hung", "stalled", "missing", "broken", "well")
CHANGES = {
    "models": [{"alias": name, **COSTS, "endpoint": {"url": URL, "model": name}} for name in NAMES],
    "litellm": {"requestTimeout": 5, "streamTimeout": 2, "retries": 1},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    pod = rendered(CHANGES)
    with proxy(pod.file(tmp_path_factory.mktemp("timeouts")), pod.environment) as found:
        yield found


def ask(proxy: Proxy, model: str, **more: Any) -> httpx.Response:
    message = {"role": "user", "content": "ping"}
    return proxy.client.post("/v1/chat/completions", json={"model": model, "messages": [message], **more})


def asked(proxy: Proxy, model: str) -> int:
    return sum(call.body.get("model") == model for call in proxy.upstream.calls)


@pytest.mark.parametrize(("stream", "seconds"), [(False, 5), (True, 2)])
def test_a_hung_upstream_holds_a_request_for_one_timeout(running: Proxy, stream: bool, seconds: int) -> None:
    """The upstream would answer well before the client gives up."""
    before, started = asked(running, "hung"), time.monotonic()
    answer = ask(running, "hung", stream=stream)
    assert time.monotonic() - started >= seconds
    assert (answer.status_code, answer.headers["x-litellm-timeout"]) == (408, str(seconds))
    assert asked(running, "hung") == before + 1


KINDS: Mapping[str, Mapping[str, Any]] = {
    "embeddings": {"input": "ping"},
    "responses": {"input": "ping"},
    "messages": {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 5},
    "images/generations": {"prompt": "ping", "n": 1},
}


def test_a_hung_upstream_holds_a_request_of_any_kind_for_one_timeout(running: Proxy) -> None:
    """LiteLLM has a function per kind, and each could know another timeout."""

    def held(kind: str) -> tuple[int, float]:
        started = time.monotonic()
        answer = running.client.post(f"/v1/{kind}", json={"model": "hung", **KINDS[kind]})
        return answer.status_code, time.monotonic() - started

    before = asked(running, "hung")
    with ThreadPoolExecutor() as threads:
        answers = dict(zip(KINDS, threads.map(held, KINDS), strict=True))
    assert {kind: status for kind, (status, _) in answers.items()} == dict.fromkeys(KINDS, 408)
    assert all(5 <= seconds < HUNG_SECONDS for _, seconds in answers.values()), answers
    # LiteLLM leaves OpenAI's client its own two retries for images.
    assert asked(running, "hung") == before + len(KINDS) + 2


def test_a_stream_that_stalls_ends_after_one_timeout(running: Proxy) -> None:
    started = time.monotonic()
    answer = ask(running, "stalled", stream=True)
    assert 2 <= time.monotonic() - started < 5
    assert "po" in answer.text
    assert "[DONE]" not in answer.text
    assert asked(running, "stalled") == 1


def test_a_failing_upstream_is_asked_again(running: Proxy) -> None:
    assert ask(running, "broken").status_code == 500
    assert asked(running, "broken") == 2


def test_one_tenants_errors_refuse_no_other_request(running: Proxy) -> None:
    """LiteLLM would let the only deployment cool down for 5 s, and answer 429 meanwhile."""
    assert [ask(running, "missing").status_code for _ in range(3)] == [404] * 3
    assert ask(running, "well").status_code == 200


def test_the_defaults_are_far_below_those_of_litellm() -> None:
    config = yaml.safe_load(rendered().config)
    assert config["litellm_settings"]["request_timeout"] == 600
    assert config["router_settings"]["stream_timeout"] == 120
    assert config["router_settings"]["num_retries"] == 2
