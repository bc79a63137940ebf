"""Prices beside those of plain tokens."""

from __future__ import annotations

from settings import prices
from settings.base import Section, setting


class OtherCosts(Section):
    """What tokens of other kinds cost, and what is not sold by the token.

    With a price by the image, second or search a model needs no costs per token; without them its tokens cost
    nothing. LiteLLM counts no price of one's own per request of a chat, per image of a prompt or for speech.
    """

    otherwise = "budgets would count another price than the bill"

    cache_write_one_hour: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token written to a cache for an hour; unset means as cacheWriteCostPerToken, or twice "
        "inputCostPerToken where writing costs more than that.",
        write="cacheWriteOneHour: 0.000006",
    )
    reasoning: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per reasoning token; unset means as other completion tokens.",
        write="reasoning: 0.000003",
    )
    prompt_audio: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per audio token of a prompt; unset means as other prompt tokens.",
        write="promptAudio: 0.00004",
    )
    completion_audio: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per audio token of a completion; unset means as other completion tokens.",
        write="completionAudio: 0.00008",
    )
    prompt_image: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per image token of a prompt; unset means as other prompt tokens.",
        write="promptImage: 0.000002",
    )
    completion_image: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per image token of a completion; unset means as other completion tokens.",
        write="completionImage: 0.00004",
    )
    prompt_above128k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 128,000; unset means as for a shorter one.",
        write="promptAbove128K: 0.0000025",
    )
    completion_above128k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 128,000; unset means as for a shorter one.",
        write="completionAbove128K: 0.00001",
    )
    prompt_above200k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 200,000; unset means as for a shorter one.",
        write="promptAbove200K: 0.000006",
    )
    completion_above200k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 200,000; unset means as for a shorter one.",
        write="completionAbove200K: 0.0000225",
    )
    prompt_above272k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 272,000; unset means as for a shorter one.",
        write="promptAbove272K: 0.000005",
    )
    completion_above272k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 272,000; unset means as for a shorter one.",
        write="completionAbove272K: 0.0000225",
    )
    image: float | None = setting(
        None,
        gt=0,
        le=10,
        about="USD per image that is made, whatever its size. LiteLLM counts an image's tokens for Google's models, and for "
        "others only at its own prices.",
        write="image: 0.04",
    )
    video_second: float | None = setting(
        None,
        gt=0,
        le=10,
        about="USD per second of video that is made.",
        write="videoSecond: 0.1",
    )
    audio_second: float | None = setting(
        None,
        gt=0,
        le=0.01,
        about="USD per second of speech that is transcribed; LiteLLM counts tokens where an answer tells their number.",
        write="audioSecond: 0.0001",
    )
    rerank: float | None = setting(
        None,
        gt=0,
        le=1,
        about="USD per search of a rerank, for models of cohere, azure_ai and bedrock; the others sell tokens.",
        write="rerank: 0.002",
    )
    web_search: float | None = setting(
        None,
        ge=0,
        le=1,
        about="USD per web search of the model; unset means LiteLLM's price, or none.",
        write="webSearch: 0.01",
    )


FIELDS = {
    "cache_creation_input_token_cost_above_1hr": "cache_write_one_hour",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "prompt_audio",
    "output_cost_per_audio_token": "completion_audio",
    "input_cost_per_image_token": "prompt_image",
    "output_cost_per_image_token": "completion_image",
    "input_cost_per_token_above_128k_tokens": "prompt_above128k",
    "output_cost_per_token_above_128k_tokens": "completion_above128k",
    "input_cost_per_token_above_200k_tokens": "prompt_above200k",
    "output_cost_per_token_above_200k_tokens": "completion_above200k",
    "input_cost_per_token_above_272k_tokens": "prompt_above272k",
    "output_cost_per_token_above_272k_tokens": "completion_above272k",
    # Which of the two LiteLLM reads depends on the provider, and on the name of the model.
    "input_cost_per_image": "image",
    "output_cost_per_image": "image",
    "output_cost_per_video_per_second": "video_second",
    "input_cost_per_second": "audio_second",
    "output_cost_per_second": "audio_second",
    "input_cost_per_query": "rerank",
}
"""Of `otherCosts`, by LiteLLM's name of each price."""
BY_THE_PIECE = ("image", "video_second", "audio_second", "rerank")
"""Of `otherCosts`: with one of these a model needs no costs per token."""
