"""Entries of a stack file for tests of the settings: the tests' stack with one thing changed."""

from typing import Any

from tests.support.certificates import Authority
from tests.support.engine import SETTINGS

MODEL = SETTINGS["models"][0]
VLLM = MODEL["vllm"]

HOSTED = {"model": "anthropic/claude-sonnet-4-5", "apiKeySecret": "anthropic-api-key"}
LONG = "a" * 51
KEY = "sk-ant-api03-Zx8vQ2mLt5RwYc7NbKd4"


H200 = {"machineType": "a3-ultragpu-8g", "accelerator": "nvidia-h200-141gb", "acceleratorCount": 8}

CA = Authority().pem

Cases = list[tuple[dict[str, Any], str, str]]
"""What is changed, the start of the message, and a part of what to write instead."""


def model(**changes: Any) -> dict[str, Any]:
    return {"models": [{key: value for key, value in (MODEL | changes).items() if value is not None}]}


def vllm(**changes: Any) -> dict[str, Any]:
    return model(vllm=VLLM | changes)


def hosted(**changes: Any) -> dict[str, Any]:
    return model(vllm=None, hosted=HOSTED | changes)


def priced(of: str = HOSTED["model"], **changes: Any) -> dict[str, Any]:
    """A hosted model with the costs of the model that vLLM serves, or others."""
    return model(vllm=None, hosted=HOSTED | {"model": of}, **changes)


def provider(name: str, **params: Any) -> dict[str, Any]:
    """A model at the provider, with an API key and these parameters."""
    return hosted(model=f"{name}/a-model", params=params)


def fallback(on_error: dict[str, list[str]], *models: dict[str, Any]) -> dict[str, Any]:
    return {"models": [*models, MODEL], "litellm": {"fallbacks": {"onError": on_error}}}


def litellm(**changes: Any) -> dict[str, Any]:
    return {"litellm": changes}


def unsold(of: str, **changes: Any) -> dict[str, Any]:
    """A hosted model without costs per token."""
    return priced(of, inputCostPerToken=None, outputCostPerToken=None, **changes)


def endpoint(**changes: Any) -> dict[str, Any]:
    return model(vllm=None, endpoint={"url": "http://gateway.models.svc/v1", "model": "llama"} | changes)


def redis(**changes: Any) -> dict[str, Any]:
    return {"litellm": {"sharedState": {"kind": "redis", "host": "10.0.0.3", **changes}}}


def cluster(*nodes: str, **changes: Any) -> dict[str, Any]:
    return {"litellm": {"sharedState": {"kind": "redis", "nodes": [*nodes], **changes}}}


def database(beside: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    existing = {"host": "10.20.0.5", "passwordSecret": "cloudsql", "tls": "require", **changes}
    kept = {key: value for key, value in existing.items() if value is not None}
    return {"postgres": {"existing": kept, **(beside or {})}}
