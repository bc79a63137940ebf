"""The prices that the pinned LiteLLM knows, as `settings/prices.json` keeps them.

`python -m tests.litellm.prices` writes that file anew, after the pin has moved. This module also runs itself in LiteLLM's
own environment, where it prints the list: a name is in it where the pinned version, asked for that name, answers with a
price, and computes from it what the price says. Left out are prices over `MOST`, which no model costs: the map of 1.89.2
has Weights & Biases' prices 100,000 times too high, and a budget of any size would be gone with one request.
"""

# Runs where litellm is installed, too, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "settings" / "prices.json"
MOST = 0.001
"""USD per token."""


def text() -> str:
    """The list as LiteLLM's own environment prints it."""
    from tests.litellm.environment import python

    return subprocess.run([python(), __file__], capture_output=True, text=True, check=True).stdout


def known() -> dict[str, dict[str, Any]]:
    """By name, provider first: what a `model_info` may say of the price, by LiteLLM's names, USD.

    Each is a number, but for the tables: `search_context_cost_per_query`, one per size of a web search's answer, and
    `provider_specific_entry`, factors. `mode`, what the model makes, is there where that is something else than a chat.
    """
    import litellm
    from litellm.types.utils import CustomPricingLiteLLMParams, ModelInfoBase

    costs = [field for field in ModelInfoBase.__annotations__ if "cost" in field]
    fields = sorted({*CustomPricingLiteLLMParams.model_fields, *costs})
    found: dict[str, dict[str, Any]] = {}
    for key, entry in litellm.model_cost.items():
        provider = str(entry.get("litellm_provider", ""))
        if provider == "bedrock_converse":
            provider = "bedrock"
        elif provider.startswith("vertex_ai"):
            provider = "vertex_ai"
        name = key if key.startswith(f"{provider}/") else f"{provider}/{key}"
        prices = {field: float(entry[field]) for field in fields if isinstance(entry.get(field), int | float)}
        if entry.get("supports_audio_input") and prices.get("input_cost_per_token"):
            prices.setdefault(
                "input_cost_per_audio_token", 0.0
            )  # LiteLLM counts 0, not nothing: settings/prices.py
        per_token = [price for field, price in prices.items() if field.endswith("_cost_per_token")]
        if any(prices.values()) and max(per_token, default=0) <= MOST and _computes(name, prices):
            more = {
                "search_context_cost_per_query": entry.get("search_context_cost_per_query"),
                "provider_specific_entry": {
                    which: factor
                    for which, factor in (entry.get("provider_specific_entry") or {}).items()
                    if isinstance(factor, int | float)
                },
                "mode": mode if (mode := entry.get("mode")) != "chat" else None,
            }
            found[name] = prices | {field: value for field, value in more.items() if value}
    return found


def _computes(name: str, prices: dict[str, float]) -> bool:
    """Whether the pinned version resolves this name, and to these prices where they are per token."""
    import litellm

    try:
        model, provider, *_ = litellm.get_llm_provider(name)
        litellm.get_model_info(model, provider)
        if "input_cost_per_token" not in prices:
            return True
        paid = litellm.cost_per_token(
            model=model, custom_llm_provider=provider, prompt_tokens=1000, completion_tokens=1000
        )
    except Exception:  # litellm raises Exception itself where it knows no price
        return False
    completion = prices.get("output_cost_per_token") or prices.get("output_cost_per_image_token", 0)
    expected = 1000 * (prices["input_cost_per_token"] + completion)
    return abs(sum(paid) - expected) <= 1e-9 * max(expected, 1e-9)


if __name__ == "__main__":
    if Path(sys.prefix).parent.name == "litellm":
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # LiteLLM prints advice where it does not know a provider
            found = sorted(known().items())
        lines = [f"{json.dumps(name)}: {json.dumps(prices, separators=(',', ':'))}" for name, prices in found]
        sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
    else:
        LIST.write_text(text())
