"""What the pinned version counts as spent is what the provider bills, for each kind of token.

The bills are reckoned here from the providers' own pages: gpt-4o 2.50, cached 1.25, completions 10 USD per million tokens;
claude-sonnet-4-5 3, cache reads 0.30, writes 3.75, for an hour 6, completions 15, above 200k tokens twice these and
completions 22.50; claude-opus-4-6 5 and 25, in one region a tenth more; gpt-5.4 above 272k tokens 5 and 22.50;
gpt-4o-audio-preview audio 40 and 80; text-embedding-3-small 0.02; gpt-image-1 5 and 40, tts-1 15 per million characters.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.litellm import route
from settings.models import Model
from settings.prices import MOST
from tests.litellm import prices
from tests.litellm.environment import python
from tests.litellm.upstream import IMAGE_TOKENS, PROMPT_TOKENS

M = 1e-6


def hosted(alias: str, model: str, params: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    of = {"model": model, "apiKeySecret": "a-key", "params": params or {}}
    return {"alias": alias, "hosted": of} | more


def endpoint(alias: str, **more: Any) -> dict[str, Any]:
    return {"alias": alias, "endpoint": {"url": "http://models.svc/v1", "model": alias}} | more


NOT_CHATS = ("embedding", "image", "video", "transcription", "speech", "rerank")
"""What an alias that says so is asked for."""
AZURE = {"api_base": "https://azure.example.com", "api_version": "2024-10-21"}
OWN: dict[str, Any] = {"inputCostPerToken": 2 * M, "outputCostPerToken": 8 * M}
MODELS = [
    hosted("gpt", "openai/gpt-4o"),
    hosted("claude", "anthropic/claude-sonnet-4-5"),
    hosted("half", "anthropic/claude-sonnet-4-5", inputCostPerToken=1.5 * M, outputCostPerToken=7.5 * M),
    hosted("audio", "openai/gpt-4o-audio-preview"),
    hosted("embedding", "openai/text-embedding-3-small"),
    endpoint("own", **OWN),
    endpoint("caching", **OWN, cacheReadCostPerToken=0.5 * M, cacheWriteCostPerToken=3 * M),
    endpoint(
        "kinds",
        **OWN,
        otherCosts={
            "reasoning": 9 * M,
            "promptAudio": 10 * M,
            "completionAudio": 11 * M,
            "completionImage": 13 * M,
            "promptAbove128K": 4 * M,
            "completionAbove128K": 16 * M,
            "promptAbove200K": 5 * M,
            "completionAbove200K": 20 * M,
            "promptAbove272K": 6 * M,
            "completionAbove272K": 24 * M,
            "promptImage": 3 * M,
        },
    ),
    endpoint("own-embedding", inputCostPerToken=0.1 * M, outputCostPerToken=0),
    endpoint("free", free=True),
    # One deployment of an alias is free, the other is not.
    endpoint("mixed", free=True, weight=1),
    endpoint("mixed", **OWN, weight=1),
    hosted("gpt-cheap", "openai/gpt-4o", inputCostPerToken=1 * M, outputCostPerToken=4 * M),
    hosted("long", "openai/gpt-5.4", inputCostPerToken=1.25 * M, outputCostPerToken=7.5 * M),
    hosted("opus", "anthropic/claude-opus-4-6", inputCostPerToken=2.5 * M, outputCostPerToken=12.5 * M),
    hosted("searching", "anthropic/claude-of-next-year", **OWN, otherCosts={"webSearch": 0.02}),
    endpoint("image", otherCosts={"image": 0.03}),
    hosted("image-listed", "openai/dall-e-3", otherCosts={"image": 0.03}),
    endpoint("video", otherCosts={"videoSecond": 0.2}),
    hosted("video-listed", "openai/sora-2", otherCosts={"videoSecond": 0.05}),
    endpoint("transcription", otherCosts={"audioSecond": 0.0002}),
    hosted("transcription-listed", "openai/whisper-1", otherCosts={"audioSecond": 0.00005}),
    hosted("rerank", "cohere/rerank-of-next-year", otherCosts={"rerank": 0.004}),
    hosted("rerank-listed", "cohere/rerank-v3.5", otherCosts={"rerank": 0.001}),
    hosted("rerank-azure", "azure_ai/rerank-of-next-year", AZURE, otherCosts={"rerank": 0.003}),
    hosted("deployment", "azure/my-deployment", AZURE | {"base_model": "azure/gpt-4o"}),
]

UNCOUNTED: list[tuple[dict[str, Any], float]] = [
    (hosted("rerank-jina", "jina_ai/rerank-of-next-year", otherCosts={"rerank": 0.004}), 0),
    (hosted("image-gemini", "gemini/gemini-of-next-year", otherCosts={"image": 0.03}), 0),
    (hosted("image-openrouter", "openrouter/image-of-next-year", otherCosts={"image": 0.03}), 0),
    (hosted("image-tokens", "openai/gpt-image-1", **OWN), PROMPT_TOKENS * 5 * M + IMAGE_TOKENS * 40 * M),
    (hosted("lemonade", "lemonade/of-next-year", **OWN), 0),
    (hosted("speech", "openai/tts-1", **OWN), 4 * 15 * M),
    (hosted("rerank-vllm", "hosted_vllm/a", mode="rerank", **OWN), 0),
    (hosted("image-by-token", "openai/image-of-next-year", mode="image_generation", **OWN), 0),
    (hosted("transcription-by-token", "openai/of-next-year", mode="audio_transcription", **OWN), 0),
    (hosted("speech-unknown", "openai/speech-of-next-year", mode="audio_speech", **OWN), 0),
]
"""Models with costs that the pinned version ignores, and what it counts instead: nothing, or its own price."""


def openai(
    prompt: int, completion: int, read: int = 0, prompt_details: Any = None, completion_details: Any = None
) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, **(prompt_details or {})},
        "completion_tokens_details": completion_details or {},
    }


def anthropic(prompt: int, completion: int, read: int = 0, minutes: int = 0, hour: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": minutes + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
    }


BILLS: dict[str, tuple[str, dict[str, Any], float]] = {
    "listed, cached": ("gpt", openai(100_000, 0, read=99_000), 0.12625),
    "listed by its base model": ("deployment", openai(1000, 1000), 0.0125),
    "listed, plain": ("gpt", openai(1000, 1000), 0.0125),
    "listed, cache write": ("claude", anthropic(1000, 0, minutes=99_000), 0.003 + 0.37125),
    "listed, cache write for an hour": ("claude", anthropic(1000, 0, hour=99_000), 0.003 + 0.594),
    "listed, cache read": ("claude", anthropic(1000, 100, read=99_000), 0.003 + 0.0297 + 0.0015),
    "listed, web searches": (
        "claude",
        anthropic(1000, 0) | {"server_tool_use": {"web_search_requests": 3}},
        0.003 + 0.03,
    ),
    "half the listed price, web searches": (
        "half",
        anthropic(1000, 0) | {"server_tool_use": {"web_search_requests": 3}},
        0.0015 + 0.03,
    ),
    "listed, above 200k": ("claude", anthropic(210_000, 1000), 210_000 * 6 * M + 0.0225),
    "listed, above 200k, cached": ("claude", anthropic(10_000, 0, read=200_000), 0.06 + 0.12),
    "listed, audio": (
        "audio",
        openai(1000, 1000, 0, {"audio_tokens": 400}, {"audio_tokens": 300}),
        600 * 2.5 * M + 400 * 40 * M + 700 * 10 * M + 300 * 80 * M,
    ),
    "listed, embedding": ("embedding", openai(1000, 0), 1000 * 0.02 * M),
    "half the listed price, cache write": ("half", anthropic(1000, 0, minutes=99_000), 0.0015 + 0.185625),
    "half the listed price, write for an hour": ("half", anthropic(1000, 0, hour=99_000), 0.0015 + 0.297),
    "half the listed price, above 200k": ("half", anthropic(210_000, 1000), 210_000 * 3 * M + 0.01125),
    "own, cached as prompt": ("own", openai(1000, 100, read=900), 0.002 + 0.0008),
    "own, reasoning as completion": (
        "own",
        openai(1000, 100, 0, None, {"reasoning_tokens": 60}),
        0.002 + 0.0008,
    ),
    "own, audio as others": (
        "own",
        openai(1000, 100, 0, {"audio_tokens": 500}, {"audio_tokens": 50}),
        0.002 + 0.0008,
    ),
    "own, images as others": (
        "own",
        openai(1000, 100, 0, {"image_tokens": 500}, {"image_tokens": 50}),
        0.002 + 0.0008,
    ),
    "own cache read": ("caching", openai(1000, 0, read=900), 100 * 2 * M + 900 * 0.5 * M),
    "own cache write": (
        "caching",
        openai(1000, 0, 0, {"cache_creation_tokens": 900}),
        100 * 2 * M + 900 * 3 * M,
    ),
    "own reasoning": (
        "kinds",
        openai(1000, 100, 0, None, {"reasoning_tokens": 60}),
        0.002 + 40 * 8 * M + 60 * 9 * M,
    ),
    "own audio": (
        "kinds",
        openai(1000, 100, 0, {"audio_tokens": 500}, {"audio_tokens": 50}),
        500 * 2 * M + 500 * 10 * M + 50 * 8 * M + 50 * 11 * M,
    ),
    "own images": (
        "kinds",
        openai(1000, 100, 0, {"image_tokens": 500}, {"image_tokens": 50}),
        500 * 2 * M + 500 * 3 * M + 50 * 8 * M + 50 * 13 * M,
    ),
    "own above 128k": ("kinds", openai(130_000, 1000), 130_000 * 4 * M + 0.016),
    "own above 200k": ("kinds", openai(210_000, 1000), 210_000 * 5 * M + 0.02),
    "own above 272k": ("kinds", openai(280_000, 1000), 280_000 * 6 * M + 0.024),
    "own above 272k, cached": (
        "kinds",
        openai(280_000, 0, read=200_000),
        280_000 * 6 * M,
    ),
    "own web searches": (
        "searching",
        anthropic(1000, 100) | {"server_tool_use": {"web_search_requests": 3}},
        0.002 + 0.0008 + 0.06,
    ),
    "half the listed price, above 272k": ("long", openai(280_000, 1000), 280_000 * 2.5 * M + 0.01125),
    "half the listed price, in one region": (
        "opus",
        anthropic(1000, 100) | {"inference_geo": "us"},
        1.1 * (0.0025 + 0.00125),
    ),
    "own embedding": ("own-embedding", openai(1000, 0), 1000 * 0.1 * M),
    "free": ("free", openai(100_000, 1000), 0),
    "less than the listed price": ("gpt-cheap", openai(1000, 1000), 0.005),
    "listed, beside an alias that costs less": ("gpt", openai(1000, 1000), 0.0125),
    "own images made": ("image", {}, 0.09),
    "listed images made, at one's own price": ("image-listed", {}, 0.09),
    "own video": ("video", {}, 1.6),
    "listed video, at one's own price": ("video-listed", {}, 0.4),
    "own transcription": ("transcription", {}, 0.0014),
    "listed transcription, at one's own price": ("transcription-listed", {}, 0.00035),
    "own rerank": ("rerank", {}, 0.012),
    "listed rerank, at one's own price": ("rerank-listed", {}, 0.003),
    "own rerank at Azure": ("rerank-azure", {}, 0.009),
}


@pytest.fixture(scope="module")
def ran() -> dict[str, Any]:
    """What spend.py prints of all models, with `costs` by the kind, or by the alias of what is not counted."""
    asked = {kind: (alias, usage) for kind, (alias, usage, _) in BILLS.items()}
    asked |= {model["alias"]: (model["alias"], {}) for model, _ in UNCOUNTED}
    models = [Model.model_validate(model) for model in [*MODELS, *(model for model, _ in UNCOUNTED)]]
    calls = [
        {"model": alias, "usage": usage, "what": next((what for what in NOT_CHATS if what in alias), "chat")}
        for alias, usage in asked.values()
    ]
    done = subprocess.run(
        [python(), Path(__file__).with_name("spend.py")],
        input=json.dumps(
            {"routes": [route(model, "http://router.vllm.svc/v1", 1) for model in models], "calls": calls}
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    return printed | {"costs": dict(zip(asked, printed["costs"], strict=True))}


@pytest.fixture(scope="module")
def spent(ran: dict[str, Any]) -> dict[str, float]:
    return ran["costs"]


@pytest.mark.parametrize("kind", BILLS)
def test_spend_is_the_bill(spent: dict[str, float], kind: str) -> None:
    assert spent[kind] == pytest.approx(BILLS[kind][2], rel=1e-9)


@pytest.mark.parametrize(("model", "counted"), UNCOUNTED, ids=lambda given: str(given)[:40])
def test_what_is_not_counted_is_refused(
    spent: dict[str, float], model: dict[str, Any], counted: float
) -> None:
    assert (spent[model["alias"]] or 0) == pytest.approx(counted)
    assert [found.problem for found in Model.model_validate(model).broken() if "LiteLLM" in found.problem]


def test_no_request_passes_a_budget_but_of_a_free_model(ran: dict[str, Any]) -> None:
    assert ran["free"] == ["free"]


def test_the_models_are_accepted() -> None:
    for model in MODELS:
        assert not list(Model.model_validate(model).broken()), model["alias"]


def test_the_list_of_prices_is_the_pinned_versions() -> None:
    assert prices.MOST == MOST
    assert prices.LIST.read_text() == prices.text(), "run `python -m tests.litellm.prices`"
