"""A model at a provider: what the provider takes and needs, as the pinned LiteLLM has it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from settings.base import SecretReference, Section, Violation, holds_a_key, is_url, rule, setting, urls_in
from settings.litellm_settings import VARIABLE, texts
from versions import LITELLM_CHART

_LITELLM = f"LiteLLM {LITELLM_CHART.version}"
_REGION = "LiteLLM would ask in us-west-2, whatever region is meant"
_NEEDS = {"aws_region_name": _REGION}
"""What LiteLLM has a default for that is hardly ever meant, with what would happen."""
_MISSING = {
    "api_base": (
        "LiteLLM would not know where the model is, and fail every request",
        "https://{provider}.example.com",
    ),
    "api_version": (
        "LiteLLM would ask for a version of its own, another one with each upgrade",
        '"2024-10-21"',
    ),
    "aws_region_name": (_REGION, "eu-central-1"),
    "vertex_location": ("LiteLLM would ask in us-central1, whatever region is meant", "europe-west4"),
    "vertex_project": ("LiteLLM would ask in the project of whoever it logs in as", "my-project-id"),
}
"""What would happen without a parameter, and a value of it."""
_ELSEWHERE = {
    "api_key": "apiKeySecret: the id of the secret that holds it",
    "model": "hosted.model",
    "custom_llm_provider": "hosted.model, the provider first",
    "tpm": "tpm of the model",
    "rpm": "rpm of the model",
    "weight": "weight of the model",
    "order": "order of the model",
    "timeout": "litellm.requestTimeout, for all models",
    "stream_timeout": "litellm.streamTimeout, for all models",
    "num_retries": "litellm.retries, for all models",
    "max_retries": "litellm.retries, for all models",
}
"""What LiteLLM takes with a model and a setting says."""
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "aws_access_key_id": ("aws_secret_access_key",),
    "aws_secret_access_key": ("aws_access_key_id",),
    "aws_session_token": ("aws_access_key_id", "aws_secret_access_key"),
    "aws_web_identity_token": ("aws_role_name", "aws_session_name"),
    "azure_password": ("azure_username", "client_id"),
    "client_secret": ("client_id", "tenant_id"),
}
"""Secrets that log nobody in without other parameters."""
_FORMS: Mapping[str, tuple[str, str]] = {
    "api_version": (r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?|v1|latest|preview", '"2024-10-21", in quotes'),
    "aws_region_name": (r"[a-z]{2}(-[a-z]+)+-[0-9]", "eu-central-1"),
    "vertex_location": (r"global|us|eu|[a-z]+-[a-z]+[0-9]+", "europe-west4"),
    "vertex_project": (r"[a-z][-a-z0-9]{4,28}[a-z0-9]", "my-project-id"),
}
"""Of parameters that are text: their form, and an example."""


@cache
def _providers() -> Mapping[str, Mapping[str, Any]]:
    """`python -m tests.litellm.providers` writes them; it says what is in them."""
    return json.loads(Path(__file__).with_name("providers.json").read_text())


class HostedModel(Section):
    """A model that somebody else hosts and that LiteLLM has a provider for."""

    model: str = setting(
        pattern=r"^[\w.-]+/\S+$",
        about="LiteLLM's name of the model, provider first.",
        otherwise="LiteLLM would refuse every request for it",
        write="model: anthropic/claude-sonnet-4-5",
    )
    api_key_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with the provider's API key. Unset: `secretParams` log in, the provider wants "
        "no key, or, for `vertex_ai`, the proxy's own Google identity does.",
        otherwise="the provider would refuse every request",
        write="apiKeySecret: anthropic-api-key",
    )
    params: dict[str, Any] = setting(
        default_factory=dict,
        about="What the provider needs beside the model's name, and defaults of its requests, by LiteLLM's names: api_base, "
        "api_version, aws_region_name, vertex_project, temperature ... What the pinned version does not know of the provider is refused.",
        otherwise="LiteLLM would fail every request for it",
        write='params: {api_base: "https://my-resource.openai.azure.com", api_version: "2024-10-21"}',
    )
    secret_params: dict[str, SecretReference] = setting(
        default_factory=dict,
        about="Parameters whose values are secrets, where a provider has others than one API key: ids of Secret Manager secrets by "
        "LiteLLM's names of the parameters.",
        otherwise="the provider would refuse every request",
        write="secretParams: {aws_access_key_id: bedrock-key-id, aws_secret_access_key: bedrock-key}",
    )

    @property
    def provider(self) -> str:
        """LiteLLM's name of who hosts the model."""
        return self.model.partition("/")[0]

    @property
    def secrets(self) -> Mapping[str, str]:
        """Ids of secrets by LiteLLM's name of the parameter that has the value."""
        key = {"api_key": self.api_key_secret} if self.api_key_secret else {}
        return {**key, **self.secret_params}

    @property
    def texts(self) -> set[str]:
        """Ids of the secrets that hold a file's text, not one word."""
        names = _providers().get(self.provider, {}).get("texts", ())
        return {secret for name, secret in self.secrets.items() if name in names}

    @property
    def as_workload(self) -> bool:
        """Whether the proxy logs in as its own Kubernetes service account (Workload Identity Federation)."""
        return self.provider.startswith("vertex_ai") and not self.secrets

    @property
    def priced_as(self) -> str:
        """LiteLLM's name of the model that has its price: `base_model`, where a deployment has a name of its own."""
        base = str(self.params.get("base_model", self.model))
        return base if base.startswith(f"{self.provider}/") else f"{self.provider}/{base}"

    @property
    def urls(self) -> set[str]:
        """Where the provider is, as far as the settings say."""
        return urls_in(self.params)

    @rule
    def provider_exists(self) -> Iterator[Violation]:
        if self.provider in _providers():
            return
        near = difflib.get_close_matches(self.provider.lower(), _providers(), cutoff=0.6)
        yield Violation(
            "model",
            f"{_LITELLM} has no provider {self.provider}",
            "LiteLLM would refuse every request for it",
            " or ".join(f"model: {name}/{self.model.partition('/')[2]}" for name in near)
            or "the provider first, such as model: openai/gpt-4o; or the model as an endpoint",
        )

    @rule
    def provider_takes_the_parameters(self) -> Iterator[Violation]:
        provider = _providers().get(self.provider)
        if provider is None:
            return
        names = {*provider.get("params", ()), *_providers()["*"]["params"]}
        for key, given in (("params", self.params), ("secretParams", self.secret_params)):
            for name in given:
                if name in _ELSEWHERE or "_cost" in name:
                    other = _ELSEWHERE.get(name, "the model's costs, such as inputCostPerToken")
                    yield Violation(
                        f"{key}.{name}", "another setting says it", "one of the two would be ignored", other
                    )
                elif name not in names:
                    yield self._unknown(f"{key}.{name}", name, provider.get("params", ()), names)
        for name in self.params.keys() & self.secret_params.keys():
            yield Violation(
                f"params.{name}", "secretParams has it, too", "one of the two would be ignored", "one of them"
            )

    def _unknown(self, key: str, name: str, own: Any, names: set[str]) -> Violation:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        listed = f"one of {', '.join(own or ['api_base'])}, a parameter of chats, or extra_body with what only the provider knows"
        return Violation(
            key,
            f"{_LITELLM} knows no parameter {name} of {self.provider}",
            "LiteLLM would ignore it, or the provider refuse every request",
            near[0] if near else listed,
        )

    @rule
    def provider_has_what_it_needs(self) -> Iterator[Violation]:
        provider = _providers().get(self.provider)
        if provider is None:
            return
        needs = {*provider.get("needs", ()), *(_NEEDS.keys() & provider.get("params", ()))}
        if re.search(r"arn:aws[\w-]*:\w+:[a-z]", f"{self.model} {self.params.get('model_id', '')}"):
            needs.discard("aws_region_name")  # LiteLLM reads it in the name
        for name in sorted(needs - self.params.keys() - self.secret_params.keys()):
            otherwise, value = _MISSING.get(name, ("LiteLLM would fail every request for it", "..."))
            written = value.format(provider=self.provider.replace("_", "-"))
            yield Violation(
                f"params.{name}",
                f"{self.provider} needs it, and it is missing",
                otherwise,
                f"params: {{{name}: {written}}}",
            )

    @rule
    def provider_lets_the_proxy_in(self) -> Iterator[Violation]:
        provider = _providers().get(self.provider)
        if provider is None:
            return
        key, secrets = provider["key"], provider.get("secrets", ())
        refused = "the provider would refuse every request"
        by_secrets = f"secretParams with {' or '.join(secrets)}"
        if self.api_key_secret and secrets and key in ("secrets", "none"):
            keyless = ", or neither: the proxy's own Google identity" if key == "none" else ""
            yield Violation(
                "apiKeySecret", f"{self.provider} takes no API key", refused, f"{by_secrets}{keyless}"
            )
        asked = key in ("needed", "secrets") or (key == "taken" and "api_base" not in self.params)
        if asked and not self.secrets:
            by_key = "" if key == "secrets" else f"apiKeySecret: {self.provider.replace('_', '-')}-api-key"
            yield Violation(
                "apiKeySecret" if by_key else "secretParams",
                f"{self.provider} lets nobody in without a key",
                refused,
                " or ".join(filter(None, [by_key, by_secrets if secrets else ""])),
            )
        there = {*self.params, *self.secret_params}
        for name in self.secret_params:
            if missing := [other for other in _BESIDE.get(name, ()) if other not in there]:
                yield Violation(
                    f"secretParams.{name}",
                    f"it logs nobody in without {' and '.join(missing)}",
                    refused,
                    f"{' and '.join(missing)} beside it, in params or secretParams",
                )

    @rule
    def secrets_are_named(self) -> Iterator[Violation]:
        provider = _providers().get(self.provider, {})
        for name, value in self.params.items():
            found = list(texts(value))
            if name in provider.get("secrets", ()) or any(map(holds_a_key, found)):
                yield Violation(
                    f"params.{name}",
                    "its value is a secret, or looks like one",
                    "everyone who can read the stack file, the state or the ConfigMap could read it",
                    f"secretParams: {{{name}: the id of the secret that holds it}}",
                )
            elif any(text.startswith(VARIABLE) for text in found):
                yield Violation(
                    f"params.{name}",
                    f"LiteLLM reads what begins with {VARIABLE} from the environment",
                    "the parameter would have another value, or none",
                    "the value itself, or the name of a secret in secretParams",
                )

    @rule
    def parameters_have_their_form(self) -> Iterator[Violation]:
        for name, (form, example) in _FORMS.items():
            value = self.params.get(name)
            if name not in self.params or (isinstance(value, str) and re.fullmatch(form, value)):
                continue
            # YAML reads 2024-10-21 without quotes as a date, and the engine hands on what it makes of that.
            date = isinstance(value, str) and value.endswith(" 00:00:00 +0000 UTC")
            given = (
                "a date, as YAML reads it without quotes"
                if date
                else "not of the form that the provider knows"
            )
            yield Violation(
                f"params.{name}",
                f"it is {given}",
                "the provider would refuse every request",
                f"{name}: {example}",
            )
        for name, value in self.params.items():
            a_url = name == "api_base" or (isinstance(value, str) and value.startswith("http"))
            if a_url and not (isinstance(value, str) and is_url(value)):
                yield Violation(
                    f"params.{name}",
                    "it is no URL",
                    "the provider could not be reached",
                    f"{name}: https://host.example.com",
                )
        base = self.params.get("base_model", "")
        if not isinstance(base, str):
            yield Violation(
                "params.base_model",
                "it is no text",
                "LiteLLM would count no price",
                "base_model: azure/gpt-4o",
            )
