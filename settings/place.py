"""Where a model is, and what clients call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import StringConstraints

from settings import modes, names, prices
from settings.adapter import AdapterModel
from settings.base import Section, Violation, rule, setting
from settings.endpoint import EndpointModel
from settings.hosted import HostedModel
from settings.litellm_settings import VARIABLE
from settings.vllm import VllmModel

# As clients send it. LiteLLM splits a request's model at a comma.
ModelAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._:/@+]{0,126}[-A-Za-z0-9._:/@+*]?$")
]
_MEANS_MORE = ("all-team-models", "all-proxy-models", "no-default-models")
"""What LiteLLM takes for several models, or none, in the models of a key or a team (SpecialModelNames)."""


class Place(Section):
    """Which model it is: its alias, what it makes, and the one place that it is in."""

    otherwise = "no request would ever be routed to it"

    alias: ModelAlias = setting(
        about="Model name that clients ask for, as they send it: gpt-4.1, openai/gpt-4o, Qwen2.5:7b. `vllm.name` follows it. With a * "
        "at its end, as in openai/*, all hosted models of that name whose price LiteLLM knows, each under its own name.",
        otherwise="LiteLLM takes a comma for several models; other signs and spaces clients get wrong",
        write="alias: qwen-local",
    )
    mode: modes.Mode | None = setting(
        None,
        about="What the model makes: it decides how LiteLLM checks its health, how vLLM serves it, and which price counts. Unset: what "
        "LiteLLM knows of the hosted model, what the one price of otherCosts is for, else chat.",
        otherwise="LiteLLM would send it requests that it does not take",
        write="mode: embedding",
    )
    vllm: VllmModel | None = setting(
        None, about="Served by vLLM on the GPU pool.", write="vllm: {model: Qwen/Qwen2.5-0.5B-Instruct}"
    )
    hosted: HostedModel | None = setting(
        None,
        about="Hosted by a provider that LiteLLM knows.",
        write="hosted: {model: anthropic/claude-sonnet-4-5, apiKeySecret: anthropic-api-key}",
    )
    endpoint: EndpointModel | None = setting(
        None,
        about="Behind an OpenAI-compatible URL.",
        write="endpoint: {url: http://inference-gateway.models.svc.cluster.local/v1, model: llama-3.1-8b-instruct}",
    )
    adapter: AdapterModel | None = setting(
        None,
        about="A LoRA adapter on a self-hosted model of this stack.",
        write="adapter: {of: qwen-local, model: my-org/qwen2.5-support-lora}",
    )

    @property
    def secrets(self) -> Mapping[str, str]:
        """Ids of the secrets that the upstream wants, by LiteLLM's name of the parameter; empty for vLLM."""
        if self.hosted:
            return self.hosted.secrets
        key = self.endpoint.api_key_secret if self.endpoint else None
        return {"api_key": key} if key else {}

    @property
    def on_own_gpus(self) -> bool:
        """Whether this stack's engines serve it."""
        return bool(self.vllm or self.adapter)

    @property
    def vllm_name(self) -> str:
        """The name of what vLLM's chart makes of the model; empty where it is not self-hosted."""
        return (self.vllm.name or names.from_alias(self.alias)) if self.vllm else ""

    @property
    def provider(self) -> str:
        """LiteLLM's name of who hosts the model; empty where it is not hosted."""
        return self.hosted.provider if self.hosted else ""

    @property
    def listed_prices(self) -> prices.Prices:
        """What the pinned LiteLLM knows of the price."""
        return prices.listed(self.hosted.priced_as) if self.hosted else {}

    @rule
    def alias_is_one_models(self) -> Iterator[Violation]:
        if self.alias in _MEANS_MORE:
            yield Violation(
                "alias",
                f"{self.alias} has a meaning of its own in LiteLLM",
                "a key or a team with this model could ask for all of them, or for none",
                "alias: qwen-local",
            )
        if self.alias.startswith(VARIABLE):
            yield Violation(
                "alias",
                f"LiteLLM reads what begins with {VARIABLE} from the environment",
                "the model would have another name, or none",
                f"alias: {self.alias.removeprefix(VARIABLE) or 'qwen-local'}",
            )

    @rule
    def vllm_can_be_named(self) -> Iterator[Violation]:
        name = self.vllm_name
        if not self.vllm or self.vllm.name or (re.match(names.PATTERN, name) and names.is_text(name)):
            return
        problem = f"the alias makes it {name!r}, which YAML reads as null, a boolean or a number"
        if names.is_text(name):
            problem = f"the alias makes it {name!r}, {len(name)} characters, and {names.LONGEST} are the most"
        yield Violation(
            "vllm.name",
            problem,
            "the API server would refuse what vLLM's chart makes of it",
            f"name: {name[: names.LONGEST].strip('-') if names.is_text(name) else f'model-{name}'}",
        )

    @rule
    def is_in_one_place(self) -> Iterator[Violation]:
        given = [key for key in ("vllm", "hosted", "endpoint", "adapter") if getattr(self, key)]
        if len(given) != 1:
            yield Violation(
                "",
                f"{' and '.join(given) or 'none'} of vllm, hosted, endpoint and adapter is given",
                "LiteLLM would not know where to send its requests",
                "exactly one, such as vllm: {model: Qwen/Qwen2.5-0.5B-Instruct}",
            )
