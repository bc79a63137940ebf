"""A model that vLLM serves: its engines, their weights and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from settings import names, vllm_arguments
from settings.base import (
    Bytes,
    ClusterName,
    SecretReference,
    VariableValue,
    Violation,
    broken_variables,
    is_like_a_key,
    rule,
    setting,
)
from settings.egress import VARIABLES as EGRESS_VARIABLES
from settings.names import VllmName
from settings.weights import Weights
from versions import VLLM_IMAGE

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
