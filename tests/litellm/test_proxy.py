"""The real proxy of the pinned version, on the configuration that a real `up` left in the cluster."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import yaml

from sandbox.toolchain.containers import LITELLM
from tests.litellm.conftest import Pod, rendered
from tests.litellm.driver import Proxy
from tests.litellm.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, Call
from tools.validate.admin import Admin
from tools.validate.reach import Url
from versions import LITELLM_CHART, LITELLM_IMAGE

ROUTER = "http://vllm-router-service.vllm.svc.cluster.local/v1/chat/completions"
IGW = "http://igw.models.svc:8080/v1/chat/completions"


def completion(proxy: Proxy, model: str, **more: Any) -> httpx.Response:
    message = {"role": "user", "content": "ping"}
    body = {"model": model, "messages": [message], "num_retries": 0, **more}
    return proxy.client.post("/v1/chat/completions", json=body)


def last(proxy: Proxy) -> Call:
    return proxy.upstream.calls[-1]


def streamed(response: httpx.Response) -> str:
    """The text of an event stream that ended as it should."""
    *events, end = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert end == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def routes(pod: Pod) -> dict[str, dict[str, Any]]:
    models = yaml.safe_load(pod.config)["model_list"]
    return {route["model_name"]: route for route in models}


def test_the_version_under_test_is_the_one_we_deploy() -> None:
    assert f"litellm[proxy]=={LITELLM_CHART.version}" in LITELLM.with_suffix(".in").read_text()
    assert f"v{LITELLM_CHART.version}" == LITELLM_IMAGE.tag


def test_what_is_rendered_here_is_what_an_up_leaves(pod: Pod) -> None:
    here = yaml.safe_load(rendered({"litellm": {"serveWithoutDatabase": True}}).config)
    assert here == yaml.safe_load(pod.config)


def test_no_key_is_ignored_when_it_loads(dev_proxy: Proxy, every_proxy: Proxy) -> None:
    for proxy in (dev_proxy, every_proxy):
        start, ready, _ = proxy.log.read_text().partition("Application startup complete")
        assert ready
        assert "not a valid argument" not in start
        assert "Traceback" not in start


def test_every_alias_is_listed(dev_proxy: Proxy, pod: Pod, every_proxy: Proxy, every_model: Pod) -> None:
    for proxy, its in ((dev_proxy, pod), (every_proxy, every_model)):
        models = proxy.client.get("/v1/models").raise_for_status().json()["data"]
        assert [model["id"] for model in models] == [*routes(its)]


@pytest.mark.parametrize("stream", [False, True])
def test_completion_reaches_vllm_with_its_model_and_key(dev_proxy: Proxy, pod: Pod, stream: bool) -> None:
    answer = completion(dev_proxy, "qwen-local", stream=stream).raise_for_status()
    text = streamed(answer) if stream else answer.json()["choices"][0]["message"]["content"]
    assert text == "pong"
    call = last(dev_proxy)
    assert call.url == ROUTER
    assert call.body["model"] == "Qwen/Qwen2.5-0.5B-Instruct"
    assert call.body.get("stream", False) is stream
    # Budgets follow what the upstream counts, also where the client does not ask for it.
    assert call.body.get("stream_options") == ({"include_usage": True} if stream else None)
    assert call.headers["authorization"] == f"Bearer {pod.environment['UPSTREAM_API_KEY']}"


@pytest.mark.parametrize(
    ("alias", "url", "model", "key"),
    [
        ("llama3.1:8b", IGW, "llama-3.1", "value-of-SECRET_IGW_KEY"),
        ("openai/gpt-4o", "http://open.models.svc/v1/chat/completions", "open-1", "none"),
        ("qwen-local", ROUTER, "Qwen/Qwen2.5-0.5B-Instruct", "value-of-UPSTREAM_API_KEY"),
    ],
)
def test_each_model_has_its_own_upstream(
    every_proxy: Proxy, alias: str, url: str, model: str, key: str
) -> None:
    completion(every_proxy, alias).raise_for_status()
    call = last(every_proxy)
    assert (call.url, call.body["model"], call.headers["authorization"]) == (url, model, f"Bearer {key}")


def test_hosted_model_is_asked_of_its_provider(every_proxy: Proxy) -> None:
    assert completion(every_proxy, "Claude-Sonnet").status_code == 500
    assert (last(every_proxy).method, last(every_proxy).url) == ("CONNECT", "api.anthropic.com:443")


def test_costs_are_the_settings(every_proxy: Proxy, every_model: Pod) -> None:
    for alias in ("qwen-local", "llama3.1:8b", "openai/gpt-4o"):
        told = routes(every_model)[alias]["model_info"]
        expected = PROMPT_TOKENS * float(told["input_cost_per_token"])
        expected += COMPLETION_TOKENS * float(told["output_cost_per_token"])
        answer = completion(every_proxy, alias)
        assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(expected)
        assert expected > 0


def test_validation_reads_a_cost_that_is_text(every_proxy: Proxy, every_model: Pod) -> None:
    """YAML 1.1, which the proxy reads, has no number of the form that Helm writes."""
    assert routes(every_model)["qwen-local"]["model_info"]["input_cost_per_token"] == "5e-08"
    assert Admin(Url(str(every_proxy.client.base_url)), "sk-master", "run").cost("qwen-local") == 5e-08


def test_a_models_limit_refuses_what_exceeds_it(every_proxy: Proxy) -> None:
    assert completion(every_proxy, "limited").status_code == 200
    refused = completion(every_proxy, "limited")
    assert refused.status_code == 429
    assert "RPM limit=1" in refused.text


def test_master_key_is_required(dev_proxy: Proxy, every_proxy: Proxy) -> None:
    for proxy in (dev_proxy, every_proxy):
        without = httpx.get(f"{proxy.client.base_url}/v1/models", trust_env=False)
        assert (without.status_code, "No api key passed in" in without.text) == (401, True)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/model/info"])
def test_wrong_key_is_refused_where_it_fails_closed(every_proxy: Proxy, path: str) -> None:
    """Without a database there is nowhere to look for it; test_database.py has the rest."""
    answer = every_proxy.client.get(path, headers={"authorization": "Bearer sk-wrong"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No connected db.")


def test_nothing_else_is_asked(dev_proxy: Proxy) -> None:
    completion(dev_proxy, "qwen-local").raise_for_status()
    assert {call.url for call in dev_proxy.upstream.calls} == {ROUTER}


def test_no_secret_is_logged(dev_proxy: Proxy, pod: Pod) -> None:
    completion(dev_proxy, "qwen-local").raise_for_status()
    text = dev_proxy.log.read_text()
    for name in ("PROXY_MASTER_KEY", "LITELLM_SALT_KEY", "UPSTREAM_API_KEY"):
        assert pod.environment[name] not in text
