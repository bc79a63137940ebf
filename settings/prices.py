"""What the pinned LiteLLM knows of hosted models' prices, and what it is told of the others'."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

MOST = 0.001
"""USD per token: more than any model costs; the dearest of `prices.json` takes 0.0006."""
LEAST = 1e-10
"""USD per token: less than any model costs, but for those that cost nothing."""

_HOUR = "cache_creation_input_token_cost_above_1hr"
_AUDIO = "input_cost_per_audio_token"

Prices = Mapping[str, float]
"""USD by LiteLLM's name of the price, such as `cache_read_input_token_cost`."""


_ALIAS = re.compile(r"[-A-Za-z0-9._:/@+]{1,128}")
_BY_TOKEN = ("input_cost_per_token", "output_cost_per_token")


@cache
def _all() -> Mapping[str, Mapping[str, Any]]:
    return json.loads(Path(__file__).with_name("prices.json").read_text())


def listed(model: str) -> Prices:
    """The prices of a model by LiteLLM's name of it, provider first; empty where the pinned version knows none."""
    return {name: price for name, price in _all().get(model, {}).items() if isinstance(price, float)}


def names(prefix: str) -> list[str]:
    """The listed models whose names begin so and can be an alias of their own."""
    return sorted(name for name in _all() if name.startswith(prefix) and _ALIAS.fullmatch(name))


def tables(model: str) -> Mapping[str, Prices]:
    """What a listed model's price also depends on: USD per web search by the answer's size, factors by region."""
    names = ("search_context_cost_per_query", "provider_specific_entry")
    return {name: table for name, table in _all().get(model, {}).items() if name in names}


def mode(model: str) -> str:
    """LiteLLM's name of what a listed model makes; empty where the pinned version knows no price of it."""
    return _all()[model].get("mode", "chat") if model in _all() else ""


def searches(price: float) -> Mapping[str, Prices]:
    """USD per web search as LiteLLM reads it, the same for each size of the answer."""
    sizes = (f"search_context_size_{size}" for size in ("low", "medium", "high"))
    return {"search_context_cost_per_query": dict.fromkeys(sizes, price)}


def gaps(prices: Prices) -> bool:
    """Whether the pinned version would count 0 for tokens that cost: cached ones, those cached for an hour, spoken ones."""
    hour = "cache_creation_input_token_cost" in prices and _HOUR not in prices
    unread = "cache_read_input_token_cost" not in prices
    return bool(prices.get("input_cost_per_token")) and (hour or unread or prices.get(_AUDIO) == 0)


def scaled(prices: Prices, own: Prices) -> dict[str, float]:
    """Listed prices where the model's own per prompt and completion token differ: the others by the same factors."""
    factors = {
        name: own[name] / prices[name] if name in own and prices.get(name) else 1.0 for name in _BY_TOKEN
    }
    return {
        name: price * factors[f"{'output' if name.startswith('output') else 'input'}_cost_per_token"]
        for name, price in prices.items()
        if price or name != _AUDIO  # 0 there: the model takes audio, and LiteLLM knows no price of it
    } | dict(own)


def completed(prices: Prices) -> dict[str, float]:
    """The prices with those that LiteLLM would take for 0: cached and spoken tokens cost what others of a prompt do.

    Where a model is told one price, the pinned version looks for no other (litellm_core_utils/llm_cost_calc/utils.py):
    it takes 0 for these, and what completion or prompt tokens cost for reasoning, image and spoken completion tokens.
    """
    full = dict(prices)
    if not any(full.get(name) for name in _BY_TOKEN):
        # Tokens at 0 would make the model free of every budget (proxy/auth/auth_checks.py). Without a price of prompt
        # tokens or seconds LiteLLM would read none of the others (cost_calculator.py).
        left = {name: price for name, price in full.items() if name not in _BY_TOKEN}
        return {"input_cost_per_second": 0.0} | left
    prompt = full.setdefault("input_cost_per_token", 0.0)
    for name in ("cache_read_input_token_cost", _AUDIO):
        full.setdefault(name, prompt)
    written = full.setdefault("cache_creation_input_token_cost", prompt)
    # Who charges more for writing charges double for an hour: Anthropic, also where others host its models.
    full.setdefault(_HOUR, max(written, 2 * prompt) if written > prompt else written)
    # LiteLLM reads no price of what is written to a cache above 272,000 tokens.
    for above, names in (("200k", ("cache_read", "cache_creation")), ("272k", ("cache_read",))):
        if dear := full.get(f"input_cost_per_token_above_{above}_tokens"):
            for name in (f"{name}_input_token_cost" for name in names):
                full.setdefault(f"{name}_above_{above}_tokens", max(dear, full[name]))
    return full


def meant(given: float, known: float | None) -> str:
    """What a price that no model has was probably meant to be, as the number to write instead."""
    if given < LEAST and not known:
        return f"at least {plain(LEAST)}; what costs nothing says free: true"
    options = {
        unit: price
        for unit, price in {"a million tokens": given / 1e6, "a thousand tokens": given / 1e3}.items()
        if (known / 10 if known else LEAST) <= price <= (known * 10 if known else MOST)
    }
    if known and not options:
        return f"{plain(known)}, which is LiteLLM's price, or leave it out"
    if not options:
        return f"at most {plain(MOST)}, in USD per token"
    return " or ".join(
        f"{plain(price)}, if {plain(given)} is the price of {unit}" for unit, price in options.items()
    )


def plain(number: float) -> str:
    """A number without an exponent, as a stack file holds it."""
    return f"{number:.15f}".rstrip("0").rstrip(".")
