"""The proxy and the models it routes to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import StringConstraints
from pydantic.alias_generators import to_camel

from settings import litellm_settings, modes, names, prices, vllm_arguments, wildcards
from settings.adapters import AdapterModel
from settings.base import (
    Bytes,
    ClusterName,
    Cpu,
    SecretReference,
    Section,
    VariableValue,
    Violation,
    broken_variables,
    is_like_a_key,
    rule,
    section,
    setting,
)
from settings.egress import VARIABLES as EGRESS_VARIABLES
from settings.hosted import HostedModel
from settings.litellm_settings import VARIABLE
from settings.names import VllmName
from settings.shared_state import SharedState
from settings.weights import Weights
from versions import LITELLM_CHART, VLLM_IMAGE

# As clients send it. LiteLLM splits a request's model at a comma.
ModelAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._:/@+]{0,126}[-A-Za-z0-9._:/@+*]?$")
]
_MEANS_MORE = ("all-team-models", "all-proxy-models", "no-default-models")
"""What LiteLLM takes for several models, or none, in the models of a key or a team (SpecialModelNames)."""
_OWN_VARIABLES = re.compile(
    r"(DATABASE|LD|PRISMA|PYTHON|REDIS|SECRET|UI)_?.*|LITELLM_(?!LICENSE$).*|PROXY_MASTER_KEY|UPSTREAM_API_KEY|HOME|PATH|HOST|PORT|"
    r"NUM_WORKERS|CONFIG_FILE_PATH|DIRECT_URL|STORE_MODEL_IN_DB|DISABLE_.*|NO_(DOCS|REDOC|OPENAPI)|ENFORCE_PRISMA_MIGRATION_CHECK|"
    rf"SPEND_LOG_.*|SERVER_ROOT_PATH|USE_.*|WORKER_CONFIG|{EGRESS_VARIABLES}"
)
"""Environment variables of the proxy that this program, the chart or the image sets, or that end what the settings promise."""

_TWICE = "vLLM would get it twice and obey the one that the rest does not know of"
_MORE_GPUS = "vLLM would ask for more GPUs than the engine has, and crash"
_UNREACHABLE = "the chart's Service and probes, which expect HTTP on 0.0.0.0:8000, would not reach it"
_SET_ALREADY: Mapping[str, tuple[str, str]] = {
    "model": (_TWICE, "model in its place"),
    "revision": (_TWICE, "revision in its place"),
    "max-model-len": (_TWICE, "maxModelLen in its place"),
    "served-model-name": (
        "LiteLLM would ask for the model by a name that vLLM does not know",
        "alias in its place",
    ),
    "tensor-parallel-size": (_MORE_GPUS, "gpus in its place"),
    "pipeline-parallel-size": (_MORE_GPUS, "gpus in its place"),
    "prefill-context-parallel-size": (_MORE_GPUS, "gpus in its place"),
    "data-parallel-size": (_MORE_GPUS, "replicas in its place"),
    "data-parallel-size-local": (_MORE_GPUS, "replicas in its place"),
    "nnodes": ("the engine would wait for other nodes for ever", "replicas in its place"),
    "runner": (
        "vLLM would serve another kind of model than LiteLLM asks for",
        "mode of the model in its place",
    ),
    "download-dir": (
        "the weights would be kept beside the volume that is there for them",
        "cache in its place",
    ),
    "api-key": ("everyone who can see the pod could read it", "secrets.existingVllmApiKey in its place"),
    "hf-token": ("everyone who can see the pod could read it", "huggingFaceToken in its place"),
    "host": (_UNREACHABLE, "leave it out"),
    "port": (_UNREACHABLE, "leave it out"),
    "uds": (_UNREACHABLE, "leave it out"),
    "ssl-keyfile": (_UNREACHABLE, "leave it out"),
    "ssl-certfile": (_UNREACHABLE, "leave it out"),
    "grpc": (_UNREACHABLE, "leave it out"),
    "headless": (_UNREACHABLE, "leave it out"),
    "config": ("vLLM would look for a file that the image does not have", "the file's options, in extraArgs"),
    "enable-lora": ("LiteLLM would not know of the adapters", "a model with adapter in its place"),
    "lora-modules": ("LiteLLM would not know of the adapters", "a model with adapter in its place"),
    "help": ("vLLM would print its help and end", "leave it out"),
}
"""Options of `vllm serve` that this program or the chart sets: what would happen were they given, and what to write."""

_ENGINES_VARIABLES = re.compile(
    r"(LD|PYTHON|NVIDIA)_?.*|CUDA_VISIBLE_DEVICES|HF_(HOME|TOKEN)|HOME|PATH|POD_IP|PROMETHEUS_MULTIPROC_DIR|RELEASE_NAME|"
    rf"VLLM_(API_KEY|HOST_IP|PORT|USE_V1)|{EGRESS_VARIABLES}"
)
"""Environment variables of the engines that the chart, the image or the node sets."""
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


class VllmModel(Weights):
    """A self-hosted model: vLLM serves it on the GPU pool."""

    otherwise = "vLLM would not start"

    replicas: int = setting(
        1,
        ge=0,
        le=100,
        about="vLLM engines, each with GPUs that are paid for all the time, asked or not. 0: no GPU or cache volume is "
        "paid for, requests for the model fail, and the next engine downloads the weights anew.",
    )
    pool: ClusterName | None = setting(
        None,
        about="Name of the pool in moreGpuPools that the engines run on; unset means gpuPool.",
        otherwise="the engines would run on other GPUs than is meant, or on none",
        write="pool: llm-gpu-h100",
    )
    gpus: int = setting(
        1,
        ge=1,
        le=16,
        about="GPUs per engine (tensor parallel size).",
        otherwise="the engine would be scheduled without a GPU and crash",
    )
    cpu: int = setting(2, ge=1, le=512, about="CPU request per engine, cores.")
    memory: Bytes = setting("8Gi", about="Memory request per engine.")
    max_model_len: int = setting(
        4096,
        ge=128,
        le=999_999,
        about="Longest context, tokens. The chart would write a million or more as 1e+06.",
    )
    extra_args: list[str] = setting(
        default_factory=list,
        about="More arguments of `vllm serve`, options and values each apart. What the settings or the chart set is refused, as "
        "is what the pinned version would not take.",
        otherwise="each engine would end at once and start again for ever",
        write='extraArgs: ["--kv-cache-dtype", "fp8"]',
    )

    environment: dict[str, VariableValue] = setting(
        default_factory=dict,
        about="Environment variables of the engines. A URL's port is let out by the NetworkPolicy.",
        otherwise="the API server would refuse the Deployment",
        write='environment: {VLLM_LOGGING_LEVEL: "DEBUG"}',
    )
    secret_environment: dict[str, SecretReference] = setting(
        default_factory=dict,
        about="Environment variables of the engines whose values are secrets: ids of Secret Manager secrets.",
        otherwise="engines would never start",
        write="secretEnvironment: {AWS_SECRET_ACCESS_KEY: weights-key}",
    )
    name: VllmName | None = setting(
        None,
        about=f"Name of the model's Deployment, Service and claim, as vllm-<name>-...: small letters, digits and dashes, "
        f"{names.LONGEST} at most. Unset means the alias, in small letters and with dashes for all else. Another name on a live stack makes another Deployment and "
        "claim, deletes the former, and downloads the weights anew.",
        otherwise="the API server would refuse what vLLM's chart makes of it, or, on a live stack, another Deployment and "
        "claim would be made and the former deleted",
        write="name: qwen-local",
    )

    @rule
    def variables_are_free(self) -> Iterator[Violation]:
        yield from broken_variables(
            self.environment, self.secret_environment, _ENGINES_VARIABLES, "the engine"
        )

    @property
    def offline(self) -> bool:
        """Whether the engines ask no Hugging Face, whatever they lack; as huggingface_hub reads the variable."""
        return self.environment.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on")

    @property
    def asks_hugging_face(self) -> bool:
        """Whether the engines download from Hugging Face itself."""
        return not (self.weights or self.offline or "HF_ENDPOINT" in self.environment)

    @rule
    def offline_engines_have_weights(self) -> Iterator[Violation]:
        if self.offline and self.cache == "ephemeral" and not self.weights:
            yield Violation(
                "environment.HF_HUB_OFFLINE",
                "the cache is empty when an engine starts, and Hugging Face may not be asked",
                "no engine would find its weights, each would end at once and start again for ever",
                "weights: gs://<bucket>/<folder>; or a cache that has them: disk or shared, filled by a first `up` without the variable",
            )

    @rule
    def engines_can_share_the_cache(self) -> Iterator[Violation]:
        if self.cache == "disk" and self.replicas > 1:
            yield Violation(
                "cache",
                f"{self.replicas} engines, and a disk that one node can mount",
                "the engines on other nodes would never start (Multi-Attach error)",
                "cache: ephemeral, or cache: shared with a cacheStorageClass",
            )

    @rule
    def vllm_takes_the_arguments(self) -> Iterator[Violation]:
        try:
            options = vllm_arguments.given(self.extra_args)
        except ValueError as error:
            said = "one that may be a key" if is_like_a_key(str(error)) else str(error)
            yield Violation(
                "extraArgs",
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: {said}",
                "each engine would end at once and start again for ever",
                'options and values of `vllm serve`, each of them apart: ["--kv-cache-dtype", "fp8"]',
            )
            return
        if self.weights and "load-format" in options:
            yield Violation(
                "extraArgs",
                "--load-format is not for extraArgs beside weights",
                "vLLM would look for the weights in another way than a bucket's are read",
                "leave it out",
            )
        for option in sorted(_SET_ALREADY.keys() & options.keys()):
            otherwise, write = _SET_ALREADY[option]
            yield Violation("extraArgs", f"--{option} is not for extraArgs", otherwise, write)


class EndpointModel(Section):
    """A model behind any OpenAI-compatible URL, such as an existing inference gateway."""

    otherwise = "the endpoint would refuse every request"

    url: str = setting(
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/\S*)?$",
        about="Base URL of the API, without credentials.",
        otherwise="LiteLLM could not reach the model",
        write="url: http://inference-gateway.models.svc.cluster.local/v1",
    )
    model: str = setting(
        pattern=r"^\S+$", about="Model name the endpoint knows.", write="model: llama-3.1-8b-instruct"
    )
    api_key_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with the endpoint's API key, or `<id>/versions/<number>`; unset means it wants none.",
        write="apiKeySecret: inference-gateway-key",
    )

    @rule
    def port_exists(self) -> Iterator[Violation]:
        port = self.url.split("/")[2].partition(":")[2]
        if port and not 1 <= int(port) <= 65535:
            yield Violation(
                "url",
                f"there is no port {port}",
                "LiteLLM could not reach the model",
                "a port from 1 to 65535, or none",
            )


class OtherCosts(Section):
    """What tokens of other kinds cost, and what is not sold by the token.

    With a price by the image, second or search a model needs no costs per token; without them its tokens cost
    nothing. LiteLLM counts no price of one's own per request of a chat, per image of a prompt or for speech.
    """

    otherwise = "budgets would count another price than the bill"

    cache_write_one_hour: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token written to a cache for an hour; unset means as cacheWriteCostPerToken, or twice "
        "inputCostPerToken where writing costs more than that.",
        write="cacheWriteOneHour: 0.000006",
    )
    reasoning: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per reasoning token; unset means as other completion tokens.",
        write="reasoning: 0.000003",
    )
    prompt_audio: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per audio token of a prompt; unset means as other prompt tokens.",
        write="promptAudio: 0.00004",
    )
    completion_audio: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per audio token of a completion; unset means as other completion tokens.",
        write="completionAudio: 0.00008",
    )
    prompt_image: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per image token of a prompt; unset means as other prompt tokens.",
        write="promptImage: 0.000002",
    )
    completion_image: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per image token of a completion; unset means as other completion tokens.",
        write="completionImage: 0.00004",
    )
    prompt_above128k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 128,000; unset means as for a shorter one.",
        write="promptAbove128K: 0.0000025",
    )
    completion_above128k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 128,000; unset means as for a shorter one.",
        write="completionAbove128K: 0.00001",
    )
    prompt_above200k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 200,000; unset means as for a shorter one.",
        write="promptAbove200K: 0.000006",
    )
    completion_above200k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 200,000; unset means as for a shorter one.",
        write="completionAbove200K: 0.0000225",
    )
    prompt_above272k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per prompt token where the prompt has more than 272,000; unset means as for a shorter one.",
        write="promptAbove272K: 0.000005",
    )
    completion_above272k: float | None = setting(
        None,
        ge=0,
        le=prices.MOST,
        about="USD per completion token where the prompt has more than 272,000; unset means as for a shorter one.",
        write="completionAbove272K: 0.0000225",
    )
    image: float | None = setting(
        None,
        gt=0,
        le=10,
        about="USD per image that is made, whatever its size. LiteLLM counts an image's tokens for Google's models, and for "
        "others only at its own prices.",
        write="image: 0.04",
    )
    video_second: float | None = setting(
        None,
        gt=0,
        le=10,
        about="USD per second of video that is made.",
        write="videoSecond: 0.1",
    )
    audio_second: float | None = setting(
        None,
        gt=0,
        le=0.01,
        about="USD per second of speech that is transcribed; LiteLLM counts tokens where an answer tells their number.",
        write="audioSecond: 0.0001",
    )
    rerank: float | None = setting(
        None,
        gt=0,
        le=1,
        about="USD per search of a rerank, for models of cohere, azure_ai and bedrock; the others sell tokens.",
        write="rerank: 0.002",
    )
    web_search: float | None = setting(
        None,
        ge=0,
        le=1,
        about="USD per web search of the model; unset means LiteLLM's price, or none.",
        write="webSearch: 0.01",
    )


_PRICES = {
    "input_cost_per_token": "input_cost_per_token",
    "output_cost_per_token": "output_cost_per_token",
    "cache_read_cost_per_token": "cache_read_input_token_cost",
    "cache_write_cost_per_token": "cache_creation_input_token_cost",
}
"""LiteLLM's name of each price that is a setting of a model."""
_OTHER_PRICES = {
    "cache_creation_input_token_cost_above_1hr": "cache_write_one_hour",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "prompt_audio",
    "output_cost_per_audio_token": "completion_audio",
    "input_cost_per_image_token": "prompt_image",
    "output_cost_per_image_token": "completion_image",
    "input_cost_per_token_above_128k_tokens": "prompt_above128k",
    "output_cost_per_token_above_128k_tokens": "completion_above128k",
    "input_cost_per_token_above_200k_tokens": "prompt_above200k",
    "output_cost_per_token_above_200k_tokens": "completion_above200k",
    "input_cost_per_token_above_272k_tokens": "prompt_above272k",
    "output_cost_per_token_above_272k_tokens": "completion_above272k",
    # Which of the two LiteLLM reads depends on the provider, and on the name of the model.
    "input_cost_per_image": "image",
    "output_cost_per_image": "image",
    "output_cost_per_video_per_second": "video_second",
    "input_cost_per_second": "audio_second",
    "output_cost_per_second": "audio_second",
    "input_cost_per_query": "rerank",
}
"""Of `otherCosts`, by LiteLLM's name of each price."""
_BY_THE_PIECE = ("image", "video_second", "audio_second", "rerank")
"""Of `otherCosts`: with one of these a model needs no costs per token."""


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


class Model(Section):
    """A model that clients ask for by its alias; either vllm, hosted, endpoint or adapter says where it is."""

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
        found |= {price: getattr(self.other_costs, field) for price, field in _OTHER_PRICES.items()}
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

    @property
    def provider(self) -> str:
        """LiteLLM's name of who hosts the model; empty where it is not hosted."""
        return self.hosted.provider if self.hosted else ""

    @property
    def listed_prices(self) -> prices.Prices:
        """What the pinned LiteLLM knows of the price."""
        return prices.listed(self.hosted.priced_as) if self.hosted else {}

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
            getattr(self.other_costs, field) for field in _BY_THE_PIECE
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
        kinds = [
            getattr(self.other_costs, field) for field in set(_OTHER_PRICES.values()) - set(_BY_THE_PIECE)
        ]
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
            for price, field in _OTHER_PRICES.items()
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
