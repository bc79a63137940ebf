"""What a model makes, in LiteLLM's words (`model_info.mode`), and which price of it the pinned version counts."""

from __future__ import annotations

from typing import Literal

Mode = Literal[
    "chat",
    "completion",
    "responses",
    "embedding",
    "rerank",
    "audio_speech",
    "audio_transcription",
    "image_generation",
    "video_generation",
]
"""Those that LiteLLM's health checks know how to ask."""
TEXT = frozenset({"chat", "completion", "responses"})
"""Modes whose models LiteLLM asks a chat in any of these ways."""
OF_VLLM = TEXT | {"embedding", "rerank"}
POOLING = frozenset({"embedding", "rerank"})
"""Modes that vLLM serves with its pooling runner; they read prompts and complete nothing."""
SOLD_AS = {
    "image": "image_generation",
    "video_second": "video_generation",
    "audio_second": "audio_transcription",
    "rerank": "rerank",
}
"""The mode of a model with that one of `otherCosts` and no costs per token."""
_GOOGLE = ("gemini", "vertex_ai")
_BY_SEARCH = ("azure_ai", "bedrock", "cohere")
_BY_TOKEN = ("jina_ai", "voyage", "")

Price = Literal["prompt", "completion", "image", "video_second", "audio_second", "rerank"]


def counted(mode: str, provider: str) -> tuple[Price, ...]:
    """The prices of one's own without which LiteLLM 1.89.2 would count nothing; empty where it counts none at all.

    `provider` is empty for vLLM and for an endpoint, whose reranks it asks for as jina_ai's. Each was tried:
    tests/litellm/test_modes.py.
    """
    match mode:
        case "embedding":
            return ("prompt",)
        case "rerank" if provider in _BY_SEARCH:
            return ("rerank",)
        case "rerank":
            return ("prompt",) if provider in _BY_TOKEN else ()
        case "audio_speech":
            return ()
        case "image_generation" | "image_edit" if provider not in _GOOGLE:
            return ("image",)
        case "video_generation":
            return ("video_second",)
        case "audio_transcription":
            return ("audio_second",)
        case _:
            return ("prompt", "completion")


def kind(mode: str) -> str:
    """The mode, and one word for those whose models answer each other's requests."""
    return "text" if mode in TEXT else mode
