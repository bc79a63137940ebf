"""The real proxy asks a model for what it makes, where that is asked for, counts the price of it, and checks its health so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.litellm.conftest import rendered
from tests.litellm.driver import Proxy, double, proxy
from tests.litellm.spend import speech
from tests.litellm.upstream import PROMPT_TOKENS

M = 1e-6
VLLM: Mapping[str, Any] = {"inputCostPerToken": 2 * M}


def vllm(alias: str, mode: str) -> dict[str, Any]:
    return {"alias": alias, "mode": mode, **VLLM, "vllm": {"model": f"a/{alias}", "replicas": 0}}


def endpoint(alias: str, **more: Any) -> dict[str, Any]:
    return {"alias": alias, "endpoint": {"url": f"http://{alias}.example/v1", "model": alias}} | more


def hosted(alias: str, model: str, **more: Any) -> dict[str, Any]:
    # Cohere's client puts the path behind the host itself.
    path = "" if model.startswith("cohere/") else "/v1"
    of = {"model": model, "apiKeySecret": "a-key", "params": {"api_base": f"http://{alias}.example{path}"}}
    return {"alias": alias, "hosted": of} | more


MODELS = [
    vllm("own-embedding", "embedding"),
    vllm("own-rerank", "rerank"),
    endpoint("embedding", mode="embedding", **VLLM),
    endpoint("rerank", mode="rerank", **VLLM),
    endpoint("image", mode="image_generation", otherCosts={"image": 0.03}),
    endpoint("video", mode="video_generation", otherCosts={"videoSecond": 0.2}),
    endpoint("transcription", mode="audio_transcription", otherCosts={"audioSecond": 0.0002}),
    hosted("listed-embedding", "openai/text-embedding-3-small"),
    hosted("listed-rerank", "cohere/rerank-v3.5"),
    hosted("listed-transcription", "openai/whisper-1"),
    hosted("listed-speech", "openai/tts-1"),
    hosted("listed-image", "openai/dall-e-3"),
]
ROUTES = {"allowed_routes": ["llm_api_routes"]}  # as a declared key has them
ROUTER = "http://vllm-router-service.vllm.svc.cluster.local"
ASKED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "embedding": ("embeddings", {"input": "ping"}),
    "rerank": ("rerank", {"query": "ping", "documents": ["ping"] * 250}),
    "image": ("images/generations", {"prompt": "ping", "n": 3}),
    "video": ("videos", {"prompt": "ping", "seconds": "8"}),
    "transcription": ("audio/transcriptions", {}),
    "speech": ("audio/speech", {"input": "ping", "voice": "alloy"}),
}
"""Path below /v1, and what is asked, by the end of an alias."""
BILLS: Mapping[str, tuple[str, float]] = {
    "own-embedding": (f"{ROUTER}/v1/embeddings", PROMPT_TOKENS * 2 * M),
    "own-rerank": (f"{ROUTER}/v1/rerank", PROMPT_TOKENS * 2 * M),
    "embedding": ("http://embedding.example/v1/embeddings", PROMPT_TOKENS * 2 * M),
    "rerank": ("http://rerank.example/v1/rerank", PROMPT_TOKENS * 2 * M),
    "image": ("http://image.example/v1/images/generations", 3 * 0.03),
    "video": ("http://video.example/v1/videos", 8 * 0.2),
    "transcription": ("http://transcription.example/v1/audio/transcriptions", 7 * 0.0002),
    "listed-embedding": ("http://listed-embedding.example/v1/embeddings", PROMPT_TOKENS * 0.02 * M),
    "listed-rerank": ("http://listed-rerank.example/v2/rerank", 3 * 0.002),
    "listed-transcription": ("http://listed-transcription.example/v1/audio/transcriptions", 7 * 0.0001),
    "listed-speech": ("http://listed-speech.example/v1/audio/speech", 4 * 15 * M),
    "listed-image": ("http://listed-image.example/v1/images/generations", 3 * 0.04),
}
"""Where the upstream is asked, and what the request costs: a ping's speech has four characters."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    pod = rendered({"models": MODELS})
    with proxy(pod.file(tmp_path_factory.mktemp("modes")), pod.environment) as made:
        yield made


def ask(client: httpx.Client, alias: str, key: str = "") -> httpx.Response:
    path, body = ASKED[alias.rpartition("-")[2]]
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if path.endswith("transcriptions"):
        form: Any = {"data": {"model": alias}, "files": {"file": speech()}}
        return client.post(f"/v1/{path}", headers=headers, **form)
    return client.post(f"/v1/{path}", headers=headers, json={"model": alias, **body})


@pytest.mark.parametrize("alias", BILLS)
def test_a_model_is_asked_for_what_it_makes(running: Proxy, alias: str) -> None:
    before = len(running.upstream.calls)
    answer = ask(running.client, alias)
    assert answer.is_success, answer.text
    assert [call.url for call in running.upstream.calls[before:]] == [BILLS[alias][0]]


def test_spend_is_recorded_as_the_price_says(tmp_path: Path) -> None:
    pod = rendered({"models": MODELS})
    with double(config=pod.file(tmp_path), environment=pod.environment) as running:
        for alias in BILLS:
            made = running.client.post(
                "/key/generate", json={"key_alias": alias, "models": [alias], **ROUTES}
            )
            answer = ask(running.client, alias, made.raise_for_status().json()["key"])
            assert answer.is_success, answer.text
        deadline, spent = time.monotonic() + 30, dict[str, float]()
        while len(spent) < len(BILLS) and time.monotonic() < deadline:
            time.sleep(0.5)
            spent = {row["key_alias"]: row["spend"] for row in running.state()["keys"] if row["spend"]}
    # LiteLLM's price of an image is per pixel, rounded.
    assert spent == {alias: pytest.approx(cost, rel=1e-5) for alias, (_, cost) in BILLS.items()}


def test_no_health_check_sends_a_chat_to_what_makes_none(running: Proxy) -> None:
    before = len(running.upstream.calls)
    answer = running.client.get("/health").json()
    asked = [call.url for call in running.upstream.calls[before:]]
    assert len(asked) == len(MODELS)
    assert not [url for url in asked if "chat" in url or url.endswith("/completions")]
    assert (answer["healthy_count"], answer["unhealthy_count"]) == (len(MODELS), 0), answer
