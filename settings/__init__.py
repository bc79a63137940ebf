"""The stack's settings: one validated, typed object read from `Pulumi.<stack>.yaml`.

Each top-level field of `Settings` is one `llm-gateway:<key>` entry. Mistakes are reported together, before any
resource is registered, each with the key as written in the file, what would happen and what to write instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pydantic import ValidationError

from settings.base import Broken, Section, section, setting
from settings.data import Postgres
from settings.deployment import Charts, Namespaces, Network, Timeouts
from settings.errors import SettingsError, describe
from settings.gateway import LiteLLM, Model
from settings.google import Cluster, Gcp, GpuPool
from settings.secrets import Secrets

PROJECT = "llm-gateway"


class Settings(Section):
    """All settings of one stack."""

    gcp: Gcp = setting(
        about="The Google Cloud project.",
        otherwise="there would be no project to deploy to",
        write="{project: my-project-id}",
    )
    cluster: Cluster = setting(
        about="The GKE cluster.",
        otherwise="there would be no cluster to deploy to",
        write="{name: platform-dev, location: europe-west4}",
    )
    models: list[Model] = setting(
        min_length=1,
        about="The models that clients can ask for.",
        otherwise="the gateway would answer no request",
        write="- {alias: qwen-local, inputCostPerToken: 0.00000005, outputCostPerToken: 0.0000002, "
        "vllm: {model: Qwen/Qwen2.5-0.5B-Instruct}}",
    )
    protect: bool = setting(
        False,
        about="Protect the database, the secrets and the node pool from deletion; the salt always is.",
        otherwise="a `pulumi destroy`, or a change that replaces them, could delete them",
        write="protect: true",
    )
    namespaces: Namespaces = section(Namespaces, "The namespaces.")
    gpu_pool: GpuPool = section(GpuPool, "The GPU node pool.")
    secrets: Secrets = section(Secrets, "The secrets.")
    postgres: Postgres = section(Postgres, "The database.")
    litellm: LiteLLM = section(LiteLLM, "The proxy.")
    network: Network = section(Network, "Network policies.")
    charts: Charts = section(Charts, "The Helm charts' source.")
    timeouts: Timeouts = section(Timeouts, "Timeouts.")

    def rules(self) -> Iterator[Broken]:
        aliases = [model.alias for model in self.models]
        for alias in sorted({alias for alias in aliases if aliases.count(alias) > 1}):
            yield Broken(
                "models",
                f"two models have the alias {alias!r}",
                "LiteLLM would spread requests over both and vLLM's objects would overwrite each other",
                "a different alias for each model",
            )
        for index, model in enumerate(self.models):
            if model.vllm and model.vllm.gpus > self.gpu_pool.accelerator_count:
                yield Broken(
                    f"models[{index}].vllm.gpus",
                    f"{model.vllm.gpus} GPUs are asked for, a node of gpuPool has {self.gpu_pool.accelerator_count}",
                    "the engine would fit no node and stay Pending",
                    f"gpus: {self.gpu_pool.accelerator_count}, or a larger gpuPool.machineType",
                )


def parse(entries: Mapping[str, str], stack: str) -> Settings:
    """Validate the stack's configuration.

    Args:
        entries: configuration as Pulumi hands it over: `llm-gateway:<key>` to a string, JSON for objects.
        stack: the stack's name, for messages.

    Raises:
        SettingsError: with every mistake, each with key, consequence and fix.
    """
    values: dict[str, Any] = {}
    for entry, value in entries.items():
        namespace, _, key = entry.partition(":")
        if namespace == PROJECT:
            try:
                values[key] = json.loads(value)
            except json.JSONDecodeError:
                values[key] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as failure:
        mistakes = [text for error in failure.errors(include_url=False) for text in describe(Settings, error)]
        listed = "\n  ".join(f"{PROJECT}:{mistake}" for mistake in mistakes)
        raise SettingsError(
            f"Pulumi.{stack}.yaml: {len(mistakes)} wrong setting(s); nothing was touched.\n  {listed}"
        ) from None


def load() -> Settings:
    """The current stack's settings. Raises SettingsError."""
    config = pulumi.runtime.config
    return parse({**config.get_config_env(), **config.CONFIG.get()}, pulumi.get_stack())
