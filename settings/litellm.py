"""The LiteLLM proxy: its pods, its timeouts, what of LiteLLM's own settings is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from settings import litellm_settings
from settings.base import (
    Bytes,
    Cpu,
    SecretReference,
    Section,
    VariableValue,
    Violation,
    broken_variables,
    rule,
    section,
    setting,
)
from settings.egress import VARIABLES as EGRESS_VARIABLES
from settings.shared_state import SharedState

_OWN_VARIABLES = re.compile(
    r"(DATABASE|LD|PRISMA|PYTHON|REDIS|SECRET|UI)_?.*|LITELLM_(?!LICENSE$).*|PROXY_MASTER_KEY|UPSTREAM_API_KEY|HOME|PATH|HOST|PORT|"
    r"NUM_WORKERS|CONFIG_FILE_PATH|DIRECT_URL|STORE_MODEL_IN_DB|DISABLE_.*|NO_(DOCS|REDOC|OPENAPI)|ENFORCE_PRISMA_MIGRATION_CHECK|"
    rf"SPEND_LOG_.*|SERVER_ROOT_PATH|USE_.*|WORKER_CONFIG|{EGRESS_VARIABLES}"
)
"""Environment variables of the proxy that this program, the chart or the image sets, or that end what the settings promise."""

PROXY_MASTER_KEY = "PROXY_MASTER_KEY"
UPSTREAM_API_KEY = "UPSTREAM_API_KEY"
REDIS_PASSWORD = "REDIS_PASSWORD"
"""Environment variables of the proxy that hold the master key, vLLM's API key and the Redis password."""


DATABASE_CONNECTIONS = 10
"""Connections to Postgres per worker of the proxy; a pod has one worker."""
ROLLOUT_PODS = 3
"""Pods of a rollout beside the replicas: one that starts, in 45 s or more, and two that end, in 90 s at most."""


class Fallbacks(Section):
    """Which models answer in another's place, by its alias: tried in their order, once its own deployments and retries failed.

    A fallback answers whether or not the key that asked may ask for it, and is paid for at its own costs.
    """

    otherwise = "the request would fail in its place"

    on_error: dict[str, list[str]] = setting(
        default_factory=dict,
        about="After any error, timeouts and limits included.",
        write="onError: {gpt-4o: [claude]}",
    )
    on_context_length: dict[str, list[str]] = setting(
        default_factory=dict,
        about="Where the prompt is too long; without an entry as onError.",
        write="onContextLength: {gpt-4o: [gemini]}",
    )
    on_content_policy: dict[str, list[str]] = setting(
        default_factory=dict,
        about="Where the provider's content policy refuses the request; without an entry as onError.",
        write="onContentPolicy: {gpt-4o: [claude]}",
    )

    @property
    def given(self) -> Mapping[str, Mapping[str, list[str]]]:
        """The fallbacks by alias, by key of this section."""
        kinds = ("on_error", "on_context_length", "on_content_policy")
        return {to_camel(kind): getattr(self, kind) for kind in kinds}


class LiteLLM(Section):
    """The LiteLLM proxy."""

    otherwise = "the API server would refuse the Deployment"

    replicas: int = setting(
        1, ge=1, le=50, about="Proxy pods; more than one needs sharedState.", write="replicas: 2"
    )
    serve_without_database: bool = setting(
        False,
        about="While the database is away, true: answer, and let unchecked keys through (fail open); "
        "false: refuse (fail closed).",
        otherwise="it would not be clear what happens without a database",
        write="serveWithoutDatabase: true",
    )
    shared_state: SharedState = section(SharedState)
    cpu: Cpu = setting(
        "1", about="CPU request per pod; LiteLLM recommends about one per worker.", write='cpu: "1"'
    )
    memory: Bytes = setting(
        "4Gi",
        about="Memory request and limit per pod; LiteLLM recommends about 4Gi per worker.",
        otherwise="the pod would be killed for lack of memory",
    )
    spend_log_retention: str = setting(
        "30d",
        pattern=r"^[1-9][0-9]{0,3}d$",
        about="How long LiteLLM keeps its record of each request, errors included; budgets and the spend of keys and "
        "teams are kept apart from it.",
        otherwise="LiteLLM would never delete a record, and the database's volume would fill",
        write="spendLogRetention: 90d",
    )
    requests_per_day: int = setting(
        40_000,
        ge=1,
        le=100_000_000,
        about="Requests that you expect per day, of all tenants together; with spendLogRetention it says how large "
        "postgres.storageSize must be. It is no limit.",
        otherwise="the database's volume could be too small for the records",
        write="requestsPerDay: 500000",
    )
    request_timeout: int = setting(
        600,
        ge=1,
        le=3600,
        about="Longest wait for a whole answer of an upstream, s; then the client gets 408, and no retry follows, but for "
        "images, which LiteLLM asks for three times. "
        "LiteLLM's own default is 6,000.",
        otherwise="an upstream that hangs would hold each request, its memory and its client for as long",
    )
    stream_timeout: int = setting(
        120,
        ge=1,
        le=3600,
        about="Longest wait for the first, or the next, part of a streamed answer, s; a model that thinks long "
        "before its first token needs more.",
        otherwise="an upstream that hangs would hold each request, its memory and its client for as long",
    )
    retries: int = setting(
        2,
        ge=0,
        le=10,
        about="How often a request is repeated that an upstream refused or failed; never after a timeout.",
        otherwise="a failing upstream would get each request many times over",
    )
    fallbacks: Fallbacks = section(Fallbacks)
    general_settings: dict[str, Any] = setting(
        default_factory=dict,
        about="More of LiteLLM's general_settings, by its names. What the pinned version does not know is refused, and what would undo "
        "a promise of the stack; so it is with routerSettings and litellmSettings.",
        otherwise="LiteLLM would not start",
        write="generalSettings: {max_request_size_mb: 20}",
    )
    router_settings: dict[str, Any] = setting(
        default_factory=dict,
        about="More of LiteLLM's router_settings.",
        otherwise="LiteLLM would not start",
        write="routerSettings: {enable_pre_call_checks: true}",
    )
    litellm_settings: dict[str, Any] = setting(
        default_factory=dict,
        about="More of LiteLLM's litellm_settings: drop_params, callbacks ...",
        otherwise="LiteLLM would not start",
        write="litellmSettings: {drop_params: true, callbacks: [prometheus]}",
    )
    environment: dict[str, VariableValue] = setting(
        default_factory=dict,
        about="Environment variables of the proxy, such as a callback's. A URL's port is let out by the NetworkPolicy.",
        otherwise="the API server would refuse the Deployment",
        write='environment: {LANGFUSE_HOST: "https://langfuse.example.com"}',
    )
    secret_environment: dict[str, SecretReference] = setting(
        default_factory=dict,
        about="Environment variables of the proxy whose values are secrets: ids of Secret Manager secrets.",
        otherwise="pods would never start",
        write="secretEnvironment: {LANGFUSE_SECRET_KEY: langfuse-secret-key}",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "INFO", about="Log level (LITELLM_LOG).", otherwise="LiteLLM would not start"
    )

    @property
    def tells_slack(self) -> bool:
        """Whether LiteLLM sends what happens to budgets to Slack (proxy/utils.py, budget_alerts)."""
        types = self.general_settings.get("alert_types") or ["budget_alerts"]
        return "slack" in (self.general_settings.get("alerting") or ()) and "budget_alerts" in types

    @property
    def spend_logs(self) -> int:
        """Records of requests that the database holds."""
        return self.requests_per_day * int(self.spend_log_retention.removesuffix("d"))

    @property
    def connections(self) -> int:
        """Connections to the database at most, those of a rollout's pods included."""
        return (self.replicas + ROLLOUT_PODS) * DATABASE_CONNECTIONS

    @rule
    def litellm_takes_its_settings(self) -> Iterator[Violation]:
        variables = {*self.environment, *self.secret_environment}
        for kind, given in (
            ("general", self.general_settings),
            ("router", self.router_settings),
            ("litellm", self.litellm_settings),
        ):
            for found in litellm_settings.broken(kind, given, variables):
                yield replace(found, key=f"{kind}Settings.{found.key}")

    @rule
    def variables_are_free(self) -> Iterator[Violation]:
        yield from broken_variables(self.environment, self.secret_environment, _OWN_VARIABLES, "the proxy")

    @rule
    def streams_do_not_outwait_requests(self) -> Iterator[Violation]:
        if self.stream_timeout > self.request_timeout:
            yield Violation(
                "streamTimeout",
                f"streamTimeout {self.stream_timeout} is more than requestTimeout {self.request_timeout}",
                "a client would wait longer for a part of an answer than for a whole one",
                f"streamTimeout: {self.request_timeout}",
            )

    @rule
    def replicas_count_together(self) -> Iterator[Violation]:
        if self.replicas > 1 and self.shared_state.kind == "none":
            yield Violation(
                "sharedState.kind",
                f"{self.replicas} replicas share no rate-limit state",
                "each pod would count TPM and RPM on its own, so every limit would be multiplied by the pods",
                "kind: valkey, or replicas: 1",
            )
