"""The models that clients can ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from settings import modes, prices, wildcards
from settings.base import Violation, rule, setting
from settings.costs import Priced
from versions import LITELLM_CHART


class Model(Priced):
    """A model that clients ask for by its alias; either vllm, hosted, endpoint or adapter says where it is."""

    tpm: int | None = setting(
        None,
        ge=1,
        about="Tokens per minute, over all keys; more are refused. Each replica has an equal share. Unset means no limit.",
        write="tpm: 100000",
    )
    rpm: int | None = setting(
        None,
        ge=1,
        about="Requests per minute, over all replicas and keys; more are refused. Unset means no limit.",
        write="rpm: 600",
    )
    weight: int | None = setting(
        None,
        ge=1,
        le=1_000_000,
        about="Share of the requests for its alias, where several entries have that alias: each is a deployment, and one that "
        "fails leaves the request to the others.",
        otherwise="LiteLLM would spread the requests otherwise than is meant",
        write="weight: 1",
    )
    order: int | None = setting(
        None,
        ge=1,
        le=1000,
        about="Place among the entries with its alias: a deployment is asked once those with a lower order have failed.",
        otherwise="LiteLLM would ask the deployments in another order than is meant",
        write="order: 1",
    )

    @property
    def members(self) -> Sequence[Model]:
        """The models that a wildcard stands for; of any other model itself."""
        if not self.alias.endswith(wildcards.SIGN) or not self.hosted:
            return [self]
        start, known = self.alias.removesuffix(wildcards.SIGN), self.hosted.model.removesuffix(wildcards.SIGN)
        return [
            self.model_copy(
                update={
                    "alias": start + name.removeprefix(known),
                    "hosted": self.hosted.model_copy(update={"model": name}),
                }
            )
            for name in wildcards.names(self.hosted.model)
        ]

    @rule
    def a_wildcard_stands_for_listed_models(self) -> Iterator[Violation]:
        wild = self.alias.endswith(wildcards.SIGN)
        known = self.hosted.model if self.hosted else ""
        unpriced = (
            "models whose price LiteLLM does not know would cost nothing, and no budget would ever bind"
        )
        if wild != known.endswith(wildcards.SIGN) or wildcards.SIGN in known[:-1]:
            yield Violation(
                "alias" if wild else "hosted.model",
                f"{self.alias} is {'a' if wild else 'no'} wildcard, and the model is {known or 'not hosted'}",
                "LiteLLM would ask the provider for a model of another name",
                "a * at the end of both, such as alias: openai/* and hosted: {model: openai/*}",
            )
        elif wild and (
            self.has_costs or self.free or self.mode or (self.hosted and "base_model" in self.hosted.params)
        ):
            yield Violation(
                "alias",
                f"{self.alias} stands for many models, and the entry has a price or a mode",
                "it would be that of each of them",
                "neither, for LiteLLM's own; what differs in an entry of its own, whose alias comes before the wildcard",
            )
        elif wild and not self.members:
            yield Violation(
                "hosted.model",
                f"LiteLLM {LITELLM_CHART.version} knows no price of a model called {known}",
                unpriced,
                "each model in an entry of its own, with its costs",
            )

    @rule
    def its_place_makes_that(self) -> Iterator[Violation]:
        fails = "LiteLLM would send it requests that it does not take"
        listed = prices.mode(self.hosted.priced_as) if self.hosted else ""
        if self.vllm and self.makes not in modes.OF_VLLM:
            yield Violation(
                "mode",
                f"the stack has vLLM serve no {self.makes}",
                "every request for it would fail",
                "chat, embedding or rerank; or the model as hosted or endpoint",
            )
        if listed and modes.kind(self.makes) != modes.kind(listed):
            yield Violation(
                "mode",
                f"LiteLLM {LITELLM_CHART.version} knows {self.hosted and self.hosted.priced_as} as {listed}, not as {self.makes}",
                fails,
                f"mode: {listed}, or leave it out",
            )
        if (
            self.endpoint
            and self.makes == "rerank"
            and not re.fullmatch(r"https?://[^/]+/v1/?", self.endpoint.url)
        ):
            yield Violation(
                "endpoint.url",
                "reranks are asked for at /v1/rerank of the host, whatever path the URL has",
                "every request for it would fail",
                "a URL that ends in /v1 behind the host, such as http://reranker.models.svc/v1",
            )
