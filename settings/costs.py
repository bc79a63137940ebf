"""What a model costs: the prices that are given, and those that the pinned LiteLLM counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic.alias_generators import to_camel

from settings import modes, prices, wildcards
from settings.base import Violation, rule, section, setting
from settings.other_costs import BY_THE_PIECE, OtherCosts
from settings.other_costs import FIELDS as OTHER_PRICES
from settings.place import Place
from versions import LITELLM_CHART

_PRICES = {
    "input_cost_per_token": "input_cost_per_token",
    "output_cost_per_token": "output_cost_per_token",
    "cache_read_cost_per_token": "cache_read_input_token_cost",
    "cache_write_cost_per_token": "cache_creation_input_token_cost",
}
"""LiteLLM's name of each price that is a setting of a model."""
_WANTED: Mapping[modes.Price, tuple[str, str]] = {
    "prompt": ("inputCostPerToken", "0.00000005"),
    "completion": ("outputCostPerToken", "0.0000002"),
    "image": ("otherCosts.image", "0.04"),
    "video_second": ("otherCosts.videoSecond", "0.1"),
    "audio_second": ("otherCosts.audioSecond", "0.0001"),
    "rerank": ("otherCosts.rerank", "0.002"),
}
"""Key of each price, and one that it could be."""
_UNCOUNTED = ("huggingface", "lemonade", "replicate", "together_ai")
"""Providers for which LiteLLM counts no price of one's own: nothing, its own, or one by the size that it reads in a name."""
_FLAT = ("databricks", "fireworks_ai")
"""Providers for which LiteLLM counts all tokens of a prompt alike, and all of a completion."""


def _far(given: float, listed: float | None, most: float = 100) -> bool:
    """Whether no discount and no surcharge makes the one price of the other, at `most` times it or a part of it."""
    return bool(listed) and not 1 / most <= given / listed <= most


class Priced(Place):
    """What a model costs, and what LiteLLM is told of it."""

    input_cost_per_token: float | None = setting(
        None,
        ge=0,
        allow_inf_nan=False,
        about="USD per prompt token. Unset for a hosted model that LiteLLM knows: its own prices, of every kind; and for a "
        "model that otherCosts gives a price by the image, second or search.",
        otherwise="every request would cost $0 and no budget would ever bind",
        write="inputCostPerToken: 0.00000005",
    )
    output_cost_per_token: float | None = setting(
        None,
        ge=0,
        allow_inf_nan=False,
        about="USD per completion token; embeddings and reranks have none. Unset as inputCostPerToken is.",
        otherwise="every request would cost $0 and no budget would ever bind",
        write="outputCostPerToken: 0.0000002",
    )
    cache_read_cost_per_token: float | None = setting(
        None,
        ge=0,
        allow_inf_nan=False,
        about="USD per prompt token that the upstream had in its cache. Unset: LiteLLM's share of inputCostPerToken where it "
        "knows the hosted model, else all of that.",
        otherwise="budgets would count another price than the bill",
        write="cacheReadCostPerToken: 0.000000025",
    )
    cache_write_cost_per_token: float | None = setting(
        None,
        ge=0,
        allow_inf_nan=False,
        about="USD per prompt token that the upstream wrote to its cache. Unset: as for cacheReadCostPerToken.",
        otherwise="budgets would count another price than the bill",
        write="cacheWriteCostPerToken: 0.0000000625",
    )
    other_costs: OtherCosts = section(OtherCosts)
    free: bool = setting(
        False,
        about="The model costs nothing: no budget counts or refuses its requests.",
        otherwise="no budget would ever bind for it",
        write="free: true",
    )

    @property
    def makes(self) -> str:
        """LiteLLM's name of what the model makes: a `Mode`, or one that it knows of a hosted model."""
        listed = prices.mode(self.hosted.priced_as) if self.hosted else ""
        by_token = self.input_cost_per_token is not None or self.output_cost_per_token is not None
        sold = [mode for field, mode in modes.SOLD_AS.items() if getattr(self.other_costs, field)]
        return self.mode or listed or next(iter(sold if not (by_token or self.vllm) else []), "chat")

    @property
    def given_prices(self) -> prices.Prices:
        """The prices in the settings."""
        found = {price: getattr(self, field) for field, price in _PRICES.items()}
        if self.makes in modes.POOLING and self.input_cost_per_token is not None and not self.listed_prices:
            found["output_cost_per_token"] = self.output_cost_per_token or 0.0
        found |= {price: getattr(self.other_costs, field) for price, field in OTHER_PRICES.items()}
        return {price: usd for price, usd in found.items() if usd is not None}

    @property
    def has_costs(self) -> bool:
        """Whether the settings say anything that the model costs."""
        return bool(self.given_prices) or self.other_costs.web_search is not None

    @property
    def prices(self) -> Mapping[str, float | prices.Prices]:
        """What LiteLLM is told of the price; empty where it uses its own prices."""
        if self.free:
            return {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
        uncounted = self.provider in _UNCOUNTED
        if uncounted or not (self.has_costs or prices.gaps(self.listed_prices)):
            return {}
        search = self.other_costs.web_search
        told: dict[str, float | prices.Prices] = {
            **prices.completed(prices.scaled(self.listed_prices, self.given_prices)),
            **(prices.tables(self.hosted.priced_as) if self.hosted else {}),
        }
        return told if search is None else {**told, **prices.searches(search)}

    @rule
    def has_a_price(self) -> Iterator[Violation]:
        if self.alias.endswith(wildcards.SIGN):
            return
        nothing = "every request would cost $0 and no budget would ever bind"
        if self.free:
            if self.has_costs:
                yield Violation(
                    "free",
                    "the model has costs and is free",
                    "no budget would count the costs",
                    "either the costs or free: true",
                )
            return
        own = {
            "inputCostPerToken": self.input_cost_per_token,
            "outputCostPerToken": self.output_cost_per_token,
        }
        by_the_piece = not self.on_own_gpus and any(
            getattr(self.other_costs, field) for field in BY_THE_PIECE
        )
        if self.provider in _UNCOUNTED:
            if self.has_costs or not self.listed_prices:
                yield Violation(
                    "hosted.model",
                    f"LiteLLM {LITELLM_CHART.version} counts no price of one's own for {self.provider}",
                    nothing,
                    "the provider's OpenAI-compatible URL as an endpoint, with the costs",
                )
            return
        needed = modes.counted(self.makes, self.provider)
        if not needed and (not self.listed_prices or self.makes in modes.POOLING):
            yield Violation(
                "mode",
                f"LiteLLM {LITELLM_CHART.version} counts no price of one's own for {self.makes} of {self.provider or 'an endpoint'}",
                nothing,
                "params with the base_model whose price it is, such as openai/tts-1; or free: true"
                if self.makes == "audio_speech"
                else "the model as an endpoint, whose reranks are counted by the token; or free: true",
            )
            return
        by_the_image = self.other_costs.image and self.makes.startswith("image")
        for price in () if self.listed_prices or by_the_image else needed:
            key, example = _WANTED[price]
            given = own[key] if key in own else getattr(self.other_costs, price)
            if given is None:
                known = (
                    f"LiteLLM {LITELLM_CHART.version} knows no price of {self.hosted.priced_as}"
                    if self.hosted
                    else ""
                )
                yield Violation(
                    key,
                    known or "the key is missing",
                    nothing,
                    f"{key.rpartition('.')[2]}: {example}, or free: true",
                )
        completes = own["outputCostPerToken"] is not None or self.makes in modes.POOLING
        if own["inputCostPerToken"] is not None and completes and not any(own.values()):
            yield Violation(
                "inputCostPerToken",
                "prompts and completions cost nothing",
                nothing,
                "neither of the two beside otherCosts" if by_the_piece else "what they cost, or free: true",
            )

    @rule
    def litellm_counts_the_costs(self) -> Iterator[Violation]:
        """What the pinned version takes and does not count, without a word (tests/litellm/test_spend.py)."""
        model, litellm = self.hosted.priced_as if self.hosted else "", f"LiteLLM {LITELLM_CHART.version}"
        provider, name = self.provider, model.partition("/")[2]
        google = provider in ("gemini", "vertex_ai")
        mode, other = self.makes if self.listed_prices else "", self.other_costs
        refused: list[tuple[str, str, str]] = []
        by_token = "inputCostPerToken and outputCostPerToken"
        if self.on_own_gpus and (other.image or other.video_second or other.rerank):
            refused.append(("otherCosts", "vLLM sells tokens, no images, videos or searches", by_token))
        elif other.rerank and provider not in ("cohere", "azure_ai", "bedrock"):
            refused.append(
                (
                    "otherCosts.rerank",
                    f"{litellm} counts no searches of {provider or 'an endpoint'}",
                    "mode: rerank and inputCostPerToken"
                    if modes.counted("rerank", provider)
                    else "the model as an endpoint, with mode: rerank and inputCostPerToken",
                )
            )
        elif other.image and (provider == "openrouter" or (google and name.startswith("gemini"))):
            refused.append(
                ("otherCosts.image", f"{litellm} counts only the tokens of this model's images", by_token)
            )
        cached = (self.cache_read_cost_per_token, self.cache_write_cost_per_token)
        kinds = [getattr(self.other_costs, field) for field in set(OTHER_PRICES.values()) - set(BY_THE_PIECE)]
        if (provider in (*_FLAT, "perplexity") and cached != (None, None)) or (
            provider in _FLAT and any(price is not None for price in kinds)
        ):
            refused.append(("", f"{litellm} counts all tokens of {provider}'s prompts alike", by_token))
        own = "no costs, for LiteLLM's own"
        if self.given_prices and mode == "audio_speech":
            refused.append(("", f"{litellm} counts only its own prices of speech", own))
        elif self.given_prices and mode.startswith("image") and not google and not other.image:
            refused.append(
                (
                    "",
                    f"{litellm} counts only its own prices of an image's tokens",
                    f"otherCosts: {{image: 0.04}}, or {own}",
                )
            )
        for key, problem, write in refused:
            yield Violation(key, problem, "budgets would count another price than the bill", write)

    @rule
    def a_model_costs_that_much(self) -> Iterator[Violation]:
        for field, price in _PRICES.items():
            given, key = getattr(self, field), to_camel(field)
            listed = self.listed_prices.get(price)
            if not given or (prices.LEAST <= given <= prices.MOST and not _far(given, listed)):
                continue
            yield Violation(
                key,
                f"{prices.plain(given)} USD per token is {given * 1e6:,.15g} USD per million tokens"
                + (f", and LiteLLM knows {prices.plain(listed)}" if listed else ""),
                "no budget would ever bind"
                if given < (listed or prices.LEAST)
                else "a few requests would use up every budget",
                f"{key}: {prices.meant(given, listed)}",
            )

    @rule
    def other_costs_are_near_the_listed_ones(self) -> Iterator[Violation]:
        known = {
            field: self.listed_prices[price]
            for price, field in OTHER_PRICES.items()
            if price in self.listed_prices
        }
        for field, listed in known.items():
            given, key = getattr(self.other_costs, field), to_camel(field)
            # A price per minute is 60 times one per second.
            if given and listed and _far(given, listed, most=30):
                yield Violation(
                    f"otherCosts.{key}",
                    f"{prices.plain(given)} USD, and LiteLLM knows {prices.plain(listed)}",
                    "budgets would count another price than the bill",
                    f"{key}: {prices.plain(listed)}, which is LiteLLM's price, or leave it out",
                )
