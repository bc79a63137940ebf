"""What the pinned version counts as spent is what the provider bills, for each kind of token.

The bills are reckoned here from the providers' own pages: gpt-4o 2.50, cached 1.25, completions 10 USD per million tokens;
claude-sonnet-4-5 3, cache reads 0.30, writes 3.75, for an hour 6, completions 15, above 200k tokens twice these and
completions 22.50; gpt-4o-audio-preview audio 40 and 80; text-embedding-3-small 0.02.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.litellm import route
from settings.gateway import Model
from settings.prices import MOST
from tests.litellm import prices
from tests.litellm.environment import python

M = 1e-6


def hosted(alias: str, model: str, **more: Any) -> dict[str, Any]:
    return {"alias": alias, "hosted": {"model": model, "apiKeySecret": "a-key"}} | more


def endpoint(alias: str, **more: Any) -> dict[str, Any]:
    return {"alias": alias, "endpoint": {"url": "http://models.svc/v1", "model": alias}} | more


OWN = {"inputCostPerToken": 2 * M, "outputCostPerToken": 8 * M}
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
        },
    ),
    endpoint("own-embedding", inputCostPerToken=0.1 * M, outputCostPerToken=0),
    endpoint("free", free=True),
]


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
        1000 * 2 * M + 50 * 8 * M + 50 * 13 * M,
    ),
    "own above 128k": ("kinds", openai(130_000, 1000), 130_000 * 4 * M + 0.016),
    "own above 200k": ("kinds", openai(210_000, 1000), 210_000 * 5 * M + 0.02),
    "own embedding": ("own-embedding", openai(1000, 0), 1000 * 0.1 * M),
    "free": ("free", openai(100_000, 1000), 0),
}


@pytest.fixture(scope="module")
def spent() -> dict[str, float]:
    models = [Model.model_validate(model) for model in MODELS]
    calls = [
        {"model": alias, "usage": usage, "embed": "embedding" in alias} for alias, usage, _ in BILLS.values()
    ]
    ran = subprocess.run(
        [python(), Path(__file__).with_name("spend.py")],
        input=json.dumps(
            {"routes": [route(model, "http://router.vllm.svc/v1") for model in models], "calls": calls}
        ),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(BILLS, json.loads(ran.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("kind", BILLS)
def test_spend_is_the_bill(spent: dict[str, float], kind: str) -> None:
    assert spent[kind] == pytest.approx(BILLS[kind][2], rel=1e-9)


def test_the_models_are_accepted() -> None:
    for model in MODELS:
        assert not list(Model.model_validate(model).broken()), model["alias"]


def test_the_list_of_prices_is_the_pinned_versions() -> None:
    assert prices.MOST == MOST
    assert prices.LIST.read_text() == prices.text(), "run `python -m tests.litellm.prices`"
