"""What a model makes: which settings fit it, and what vLLM and LiteLLM are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import COSTS, SETTINGS, run_program

PROMPTS: dict[str, Any] = {"inputCostPerToken": 1e-7}
TOKENS: dict[str, Any] = {**COSTS}
EMBEDDER = {"model": "Qwen/Qwen3-Embedding-0.6B"}


def vllm(mode: str | None, **more: Any) -> dict[str, Any]:
    return {"alias": "m", "mode": mode, "vllm": EMBEDDER, **more}


def endpoint(mode: str | None, url: str = "http://models.svc/v1", **more: Any) -> dict[str, Any]:
    return {"alias": "m", "mode": mode, "endpoint": {"url": url, "model": "m"}, **more}


def hosted(mode: str | None, model: str, **more: Any) -> dict[str, Any]:
    return {"alias": "m", "mode": mode, "hosted": {"model": model, "apiKeySecret": "a-key"}, **more}


def parsed(*models: dict[str, Any], **more: Any) -> settings.Settings:
    given = [{key: value for key, value in model.items() if value is not None} for model in models]
    entries = {**SETTINGS, "models": given, **more}
    return settings.parse({f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}, "dev")


@pytest.mark.parametrize(
    ("model", "makes"),
    [
        (vllm(None, **TOKENS), "chat"),
        (vllm("embedding", **PROMPTS), "embedding"),
        (vllm("rerank", **PROMPTS), "rerank"),
        (endpoint("embedding", **PROMPTS), "embedding"),
        (endpoint("rerank", **PROMPTS), "rerank"),
        (endpoint(None, otherCosts={"image": 0.03}), "image_generation"),
        (endpoint("responses", **TOKENS), "responses"),
        (endpoint("audio_speech", free=True), "audio_speech"),
        (hosted(None, "openai/text-embedding-3-small"), "embedding"),
        (hosted(None, "cohere/rerank-v3.5"), "rerank"),
        (hosted(None, "openai/tts-1"), "audio_speech"),
        (hosted("chat", "openai/gpt-5-pro"), "chat"),
        (hosted("rerank", "voyage/rerank-of-next-year", **PROMPTS), "rerank"),
        (hosted("rerank", "cohere/rerank-of-next-year", otherCosts={"rerank": 0.002}), "rerank"),
        (hosted("image_generation", "gemini/image-of-next-year", **TOKENS), "image_generation"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_model_makes_what_is_said_or_known(model: dict[str, Any], makes: str) -> None:
    assert parsed(model).models[0].makes == makes


NO_PRICE = "counts no price of one's own for"


@pytest.mark.parametrize(
    ("models", "key", "problem", "fix"),
    [
        (vllm("image_generation", free=True), "models[0].mode", "vLLM serve no image_generation", "chat, embedding"),
        (vllm("embedding"), "models[0].inputCostPerToken", "missing", "inputCostPerToken: "),
        (vllm("embedding", inputCostPerToken=0), "models[0].inputCostPerToken", "cost nothing", "free: true"),
        (
            vllm("embedding", **PROMPTS) | {"vllm": EMBEDDER | {"extraArgs": ["--runner", "generate"]}},
            "models[0].vllm.extraArgs",
            "--runner is not for extraArgs",
            "mode of the model",
        ),
        (hosted("chat", "openai/text-embedding-3-small"), "models[0].mode", "knows openai/text-embedding-3-small as embedding", "mode: embedding"),
        (endpoint("rerank", "http://models.svc/api/v1", **PROMPTS), "models[0].endpoint.url", "/v1/rerank of the host", "reranker"),
        # Tried on the pinned version: nothing is counted, whatever the price per token.
        (endpoint("image_generation", **TOKENS), "models[0].otherCosts.image", "missing", "image: 0.04"),
        (endpoint("audio_transcription", **TOKENS), "models[0].otherCosts.audioSecond", "missing", "audioSecond: "),
        (endpoint("video_generation", **TOKENS), "models[0].otherCosts.videoSecond", "missing", "videoSecond: "),
        (endpoint("audio_speech", **TOKENS), "models[0].mode", NO_PRICE, "base_model"),
        (hosted("rerank", "hosted_vllm/a", **PROMPTS), "models[0].mode", NO_PRICE, "as an endpoint"),
        (hosted("rerank", "cohere/of-next-year", **PROMPTS), "models[0].otherCosts.rerank", "knows no price", "rerank: 0.002"),
        (endpoint("embedding", otherCosts={"image": 0.03}), "models[0].inputCostPerToken", "missing", "inputCost"),
    ],
)  # fmt: skip
def test_what_would_fail_or_cost_nothing_is_refused(
    models: dict[str, Any], key: str, problem: str, fix: str
) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        parsed(models)
    found = {mistake.key: mistake for mistake in refused.value.mistakes}
    assert problem in found[key].problem
    assert fix in found[key].write


def test_an_alias_makes_one_thing_and_so_do_its_fallbacks() -> None:
    chat = endpoint(None, **TOKENS, weight=1)
    embedding = endpoint("embedding", **PROMPTS, weight=1)
    with pytest.raises(settings.SettingsError, match="one makes chat, and another embedding"):
        parsed(chat, embedding)
    others = [{**chat, "weight": None, "alias": "c"}, {**embedding, "weight": None, "alias": "e"}]
    with pytest.raises(settings.SettingsError, match="'c' makes chat, and 'e' embedding"):
        parsed(*others, litellm={"fallbacks": {"onError": {"c": ["e"]}}})
    answers = endpoint("responses", **TOKENS) | {"alias": "r"}
    assert parsed(others[0], answers, litellm={"fallbacks": {"onError": {"c": ["r"]}}})


def test_vllm_pools_and_litellm_knows_the_mode() -> None:
    models = [
        vllm("embedding", **PROMPTS) | {"alias": "embedder", "vllm": EMBEDDER | {"extraArgs": ["--convert", "embed"]}},
        vllm("rerank", **PROMPTS) | {"alias": "reranker", "vllm": {"model": "a/b"}},
        {"alias": "chat", **COSTS, "vllm": {"model": "a/c"}},
    ]  # fmt: skip
    recording = run_program({"models": models, "gpuPool": {"maxNodes": 3}})
    values = recording.one("Release", "gateway-vllm-release").inputs["values"]
    configs = {spec["name"]: spec["vllmConfig"] for spec in values["servingEngineSpec"]["modelSpec"]}
    assert configs["embedder"]["extraArgs"] == ["--runner", "pooling", "--convert", "embed"]
    assert configs["reranker"]["extraArgs"] == ["--runner", "pooling"]
    assert not configs["embedder"]["enablePrefixCaching"]
    assert "extraArgs" not in configs["chat"]
    assert configs["chat"]["enablePrefixCaching"]
    proxy = recording.one("Release", "gateway-litellm-release").inputs["values"]["proxy_config"]
    told = {route["model_name"]: route for route in proxy["model_list"]}
    assert [told[alias].get("model_info", {}).get("mode") for alias in ("embedder", "reranker", "chat")] == [
        "embedding",
        "rerank",
        None,
    ]
    assert told["reranker"]["litellm_params"]["model"] == "jina_ai/a/b"
    # Who asks the first model asks one that chats.
    assert recording.outputs["modelAliases"] == ["chat", "embedder", "reranker"]
