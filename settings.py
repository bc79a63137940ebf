"""The stack's settings: one validated, typed object read from `Pulumi.<stack>.yaml`.

Each top-level field of `Settings` is one `llm-gateway:<key>` entry. Every mistake is reported at once, before
any resource is registered, with the key as written in the file, what would happen and what to write instead.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pulumi
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

PROJECT = "llm-gateway"

# vllm-stack sets the pod's hostname to vllm-<alias>-vllm-stack, 63 characters at most.
ModelAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$")]
DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
ProjectId = Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+(-[a-z])?$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
SecretId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?$")]
Seconds = Annotated[int, Field(ge=30, le=7200)]
TaintEffect = Literal["NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"]

# Machine families that carry a GPU of their own, with the counts each size has:
# https://cloud.google.com/compute/docs/gpus (G2, A2, A3 machine types).
_BUILT_IN_GPUS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "g2-standard": (
        "nvidia-l4",
        {"4": 1, "8": 1, "12": 1, "16": 1, "24": 2, "32": 1, "48": 4, "96": 8},
    ),
    "a2-highgpu": ("nvidia-tesla-a100", {"1g": 1, "2g": 2, "4g": 4, "8g": 8}),
    "a2-ultragpu": ("nvidia-a100-80gb", {"1g": 1, "2g": 2, "4g": 4, "8g": 8}),
}


class SettingsError(pulumi.RunError):
    """The stack file is wrong; the message lists every mistake. Nothing was registered."""


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are frozen, keys are camelCase in the file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=False
    )


def setting(default: Any = ..., *, about: str, otherwise: str, write: str, **constraints: Any) -> Any:
    """A settings field.

    Args:
        default: the default, or `...` for a required key.
        about: what the key is, with its unit.
        otherwise: what would happen were a wrong value let through.
        write: an example of a right value, as it stands in the YAML file.
        **constraints: pydantic's `ge`, `le`, `min_length`, `default_factory`, ...
    """
    extra: dict[str, Any] = {"otherwise": otherwise, "write": write}
    if "default_factory" in constraints:
        return Field(description=about, json_schema_extra=extra, **constraints)
    return Field(default, description=about, json_schema_extra=extra, **constraints)


def broken_rule(key: str, problem: str, otherwise: str, write: str) -> PydanticCustomError:
    """A cross-field mistake, worded like a field's own: key (relative to its section), consequence and fix."""
    return PydanticCustomError(
        "rule", "{problem}", {"key": key, "problem": problem, "otherwise": otherwise, "write": write}
    )


class Gcp(Section):
    """The Google Cloud project everything is made in."""

    project: ProjectId = setting(
        about="Project id (not number) that holds the cluster and the secrets.",
        otherwise="Google Cloud would refuse every call, half-way through the first `up`",
        write="project: my-project-id",
    )


class Cluster(Section):
    """The existing GKE cluster, looked up by name."""

    name: PoolName = setting(
        about="Name of the cluster.",
        otherwise="the cluster lookup would fail",
        write="name: platform-dev",
    )
    location: Location = setting(
        about="Region or zone of the cluster.",
        otherwise="the cluster lookup would fail",
        write="location: europe-west4",
    )


class Namespaces(Section):
    """The namespaces this stack makes and owns."""

    gateway: DnsLabel = setting(
        "llm-gateway",
        about="LiteLLM, its database and their secrets.",
        otherwise="the API server would refuse the namespace",
        write="gateway: llm-gateway",
    )
    serving: DnsLabel = setting(
        "vllm",
        about="vLLM's engines and router.",
        otherwise="the API server would refuse the namespace",
        write="serving: vllm",
    )
    cnpg: DnsLabel = setting(
        "cnpg-system",
        about="The CloudNativePG operator.",
        otherwise="the API server would refuse the namespace",
        write="cnpg: cnpg-system",
    )
    external_secrets: DnsLabel = setting(
        "external-secrets",
        about="The External Secrets operator.",
        otherwise="the API server would refuse the namespace",
        write="externalSecrets: external-secrets",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Namespaces:
        names = [self.gateway, self.serving, self.cnpg, self.external_secrets]
        for name in names:
            if names.count(name) > 1:
                raise broken_rule(
                    "",
                    f"two namespaces are both called {name!r}",
                    "two components would fight over one namespace and deleting one would delete the other",
                    "four different names",
                )
        return self


class Taint(Section):
    """The taint that keeps other workloads off the GPU nodes."""

    key: str = setting(
        "nvidia.com/gpu",
        min_length=1,
        about="Taint key.",
        otherwise="GKE would refuse the node pool",
        write="key: nvidia.com/gpu",
    )
    value: str = setting(
        "present",
        about="Taint value.",
        otherwise="GKE would refuse the node pool",
        write="value: present",
    )
    effect: TaintEffect = setting(
        "NO_SCHEDULE",
        about="Taint effect.",
        otherwise="GKE would refuse the node pool",
        write="effect: NO_SCHEDULE",
    )


class GpuPool(Section):
    """The autoscaled node pool vLLM runs on."""

    name: PoolName = setting(
        "llm-gpu",
        about="Name of the node pool; changing it replaces the pool.",
        otherwise="GKE would refuse the node pool",
        write="name: llm-gpu",
    )
    machine_type: str = setting(
        "g2-standard-4",
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$",
        about="Compute Engine machine type of a node.",
        otherwise="GKE would refuse the node pool",
        write="machineType: g2-standard-4",
    )
    accelerator: str = setting(
        "nvidia-l4",
        pattern=r"^nvidia(-[a-z0-9]+)+$",
        about="GPU type of a node.",
        otherwise="GKE would refuse the node pool",
        write="accelerator: nvidia-l4",
    )
    accelerator_count: int = setting(
        1,
        ge=1,
        le=16,
        about="GPUs a node.",
        otherwise="GKE would refuse the node pool",
        write="acceleratorCount: 1",
    )
    min_nodes: int = setting(
        0,
        ge=0,
        le=1000,
        about="Fewest nodes the autoscaler keeps, over all zones; 0 means no GPU bill while nothing is asked for.",
        otherwise="GKE would refuse the autoscaling limits",
        write="minNodes: 0",
    )
    max_nodes: int = setting(
        1,
        ge=1,
        le=1000,
        about="Most nodes the autoscaler makes, over all zones: the upper bound of the GPU bill.",
        otherwise="no GPU node could ever be made and vLLM would wait until its timeout",
        write="maxNodes: 1",
    )
    zones: list[Zone] = setting(
        default_factory=list,
        about="Zones to put nodes in; empty means the cluster's own zones.",
        otherwise="GKE would refuse the node pool",
        write="zones: [europe-west4-a, europe-west4-b]",
    )
    disk_size_gb: int = setting(
        100,
        ge=50,
        le=65536,
        about="Boot disk of a node, GB; vLLM's image alone takes over 10 GB.",
        otherwise="nodes would run out of disk while pulling the image",
        write="diskSizeGb: 100",
    )
    disk_type: Literal["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"] = setting(
        "pd-balanced",
        about="Boot disk type of a node.",
        otherwise="GKE would refuse the node pool",
        write="diskType: pd-balanced",
    )
    image_type: Literal["COS_CONTAINERD", "UBUNTU_CONTAINERD"] = setting(
        "COS_CONTAINERD",
        about="Node image.",
        otherwise="GKE would refuse the node pool",
        write="imageType: COS_CONTAINERD",
    )
    driver_version: Literal["DEFAULT", "LATEST"] = setting(
        "DEFAULT",
        about="NVIDIA driver that GKE installs.",
        otherwise="nodes would come up without a driver and offer no GPU",
        write="driverVersion: DEFAULT",
    )
    spot: bool = setting(
        False,
        about="Use spot capacity: cheaper, taken away at any time.",
        otherwise="GKE would refuse the node pool",
        write="spot: true",
    )
    image_streaming: bool = setting(
        False,
        about="Stream container images from Artifact Registry (GKE image streaming).",
        otherwise="GKE would refuse the node pool",
        write="imageStreaming: true",
    )
    max_surge: int = setting(
        0,
        ge=0,
        le=20,
        about="Extra nodes an upgrade may make; 0 where GPUs are scarce.",
        otherwise="an upgrade would wait for GPUs that cannot be had",
        write="maxSurge: 0",
    )
    max_unavailable: int = setting(
        1,
        ge=0,
        le=20,
        about="Nodes an upgrade may take away at once.",
        otherwise="an upgrade could not proceed",
        write="maxUnavailable: 1",
    )
    service_account: str | None = setting(
        None,
        pattern=r"^[^@\s]+@[^@\s]+\.iam\.gserviceaccount\.com$",
        about="Service account (email) of the nodes; unset means the project's default one.",
        otherwise="GKE would refuse the node pool",
        write="serviceAccount: gke-nodes@my-project-id.iam.gserviceaccount.com",
    )
    labels: dict[str, str] = setting(
        default_factory=dict,
        about="More Kubernetes labels of the nodes.",
        otherwise="GKE would refuse the node pool",
        write="labels: {team: platform}",
    )
    taint: Taint = setting(
        default_factory=Taint,
        about="Taint of the nodes.",
        otherwise="GKE would refuse the node pool",
        write="taint: {key: nvidia.com/gpu, value: present, effect: NO_SCHEDULE}",
    )

    @model_validator(mode="after")
    def _consistent(self) -> GpuPool:
        if self.min_nodes > self.max_nodes:
            raise broken_rule(
                "minNodes",
                f"minNodes {self.min_nodes} is more than maxNodes {self.max_nodes}",
                "GKE would refuse the autoscaling limits",
                f"minNodes: {self.max_nodes}",
            )
        if self.max_surge + self.max_unavailable == 0:
            raise broken_rule(
                "maxUnavailable",
                "maxSurge and maxUnavailable are both 0",
                "GKE would refuse the pool: an upgrade could neither add nor take away a node",
                "maxUnavailable: 1",
            )
        family, _, size = self.machine_type.rpartition("-")
        if family in _BUILT_IN_GPUS:
            accelerator, counts = _BUILT_IN_GPUS[family]
            if self.accelerator != accelerator:
                raise broken_rule(
                    "accelerator",
                    f"{self.machine_type} carries {accelerator}, not {self.accelerator}",
                    "GKE would refuse the node pool",
                    f"accelerator: {accelerator}",
                )
            if self.accelerator_count != counts.get(size, self.accelerator_count):
                raise broken_rule(
                    "acceleratorCount",
                    f"{self.machine_type} carries {counts[size]} {accelerator}, not {self.accelerator_count}",
                    "GKE would refuse the node pool",
                    f"acceleratorCount: {counts[size]}",
                )
        return self


class Secrets(Section):
    """The secrets in Secret Manager."""

    replica_locations: list[Location] = setting(
        default_factory=list,
        about="Regions Secret Manager keeps the secrets in; empty means automatic. Fixed once made.",
        otherwise="Secret Manager would refuse the secrets",
        write="replicaLocations: [europe-west4, europe-west1]",
    )
    master_key_generation: int = setting(
        1,
        ge=1,
        about="Raise by one to rotate LiteLLM's master key.",
        otherwise="no new master key would be made",
        write="masterKeyGeneration: 2",
    )
    database_password_generation: int = setting(
        1,
        ge=1,
        about="Raise by one to rotate the database password.",
        otherwise="no new password would be made",
        write="databasePasswordGeneration: 2",
    )
    existing_vllm_api_key: SecretId | None = setting(
        None,
        about="Id of an existing Secret Manager secret to use as vLLM's API key; unset means one is made.",
        otherwise="the vLLM key could not be read and vLLM would not start",
        write="existingVllmApiKey: vllm-api-key",
    )


class Postgres(Section):
    """LiteLLM's database, a CloudNativePG Cluster."""

    instances: int = setting(
        1,
        ge=1,
        le=9,
        about="Postgres instances: one primary, the others standbys.",
        otherwise="CloudNativePG would refuse the Cluster",
        write="instances: 1",
    )
    storage_size: Quantity = setting(
        "10Gi",
        about="Volume of an instance; can grow, never shrink.",
        otherwise="CloudNativePG would refuse the Cluster",
        write="storageSize: 10Gi",
    )
    storage_class: DnsLabel = setting(
        "standard-rwo",
        about="StorageClass of the volumes.",
        otherwise="the volumes would stay Pending and the Cluster never become ready",
        write="storageClass: standard-rwo",
    )
    cpu: Quantity = setting(
        "500m",
        about="CPU request of an instance.",
        otherwise="the API server would refuse the pods",
        write="cpu: 500m",
    )
    memory: Quantity = setting(
        "1Gi",
        about="Memory request and limit of an instance.",
        otherwise="the API server would refuse the pods",
        write="memory: 1Gi",
    )


class LiteLLM(Section):
    """The LiteLLM proxy."""

    replicas: Literal[1] = setting(
        1,
        about="Proxy pods.",
        otherwise="each pod would count TPM and RPM on its own, so every limit would be multiplied by the pods",
        write="replicas: 1",
    )
    cpu: Quantity = setting(
        "1",
        about="CPU request of a pod; LiteLLM asks for about one a worker.",
        otherwise="the API server would refuse the pods",
        write='cpu: "1"',
    )
    memory: Quantity = setting(
        "4Gi",
        about="Memory request and limit of a pod; LiteLLM asks for about 4Gi a worker.",
        otherwise="the pod would be killed for lack of memory",
        write="memory: 4Gi",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "INFO",
        about="LITELLM_LOG.",
        otherwise="LiteLLM would not start",
        write="logLevel: INFO",
    )


class Model(Section):
    """A self-hosted model: vLLM serves it, LiteLLM routes its alias to it."""

    alias: ModelAlias = setting(
        about="Model alias that clients ask for; also names the Deployment.",
        otherwise="the vLLM chart would render objects that the API server refuses",
        write="alias: qwen-local",
    )
    model: str = setting(
        pattern=r"^[\w.-]+/[\w.-]+$",
        about="Hugging Face repository that vLLM loads, also the served model name.",
        otherwise="vLLM would fail to load the model and restart for ever",
        write="model: Qwen/Qwen2.5-0.5B-Instruct",
    )
    revision: str | None = setting(
        None,
        pattern=r"^[\w./-]+$",
        about="Branch, tag or commit of the repository; unset means its default branch.",
        otherwise="vLLM would fail to load the model",
        write="revision: main",
    )
    input_cost_per_token: float = setting(
        gt=0,
        about="USD a prompt token.",
        otherwise="every request would cost $0 and no budget would ever bind",
        write="inputCostPerToken: 0.00000005",
    )
    output_cost_per_token: float = setting(
        gt=0,
        about="USD a completion token.",
        otherwise="every request would cost $0 and no budget would ever bind",
        write="outputCostPerToken: 0.0000002",
    )
    replicas: int = setting(
        1,
        ge=0,
        le=100,
        about="vLLM engines; 0 means none runs and none is paid for.",
        otherwise="the API server would refuse the Deployment",
        write="replicas: 1",
    )
    gpus: int = setting(
        1,
        ge=1,
        le=16,
        about="GPUs an engine.",
        otherwise="the engine would be scheduled without a GPU and crash",
        write="gpus: 1",
    )
    cpu: int = setting(
        2,
        ge=1,
        about="CPU request of an engine, cores.",
        otherwise="the vLLM chart would refuse the model",
        write="cpu: 2",
    )
    memory: Quantity = setting(
        "8Gi",
        about="Memory request of an engine.",
        otherwise="the API server would refuse the pods",
        write="memory: 8Gi",
    )
    max_model_len: int = setting(
        4096,
        ge=128,
        about="Longest context, tokens.",
        otherwise="vLLM would refuse to start",
        write="maxModelLen: 4096",
    )
    cache_size: Quantity = setting(
        "20Gi",
        about="Volume that keeps the model's weights between restarts.",
        otherwise="the engine would run out of disk while downloading the model",
        write="cacheSize: 20Gi",
    )


class Charts(Section):
    """Where the Helm charts come from."""

    mirror: str | None = setting(
        None,
        pattern=r"^(oci://|https://|/).+[^/]$",
        about="oci:// or https:// prefix, or an absolute folder, that holds all four charts; unset means upstream.",
        otherwise="Helm would not find the charts",
        write="mirror: oci://europe-west4-docker.pkg.dev/my-project-id/charts",
    )


class Timeouts(Section):
    """How long `up` waits, in seconds, before it fails and names what it waited for."""

    node_pool: Seconds = setting(
        1800,
        about="GPU node pool, s.",
        otherwise="`up` would give up too early or hang",
        write="nodePool: 1800",
    )
    operator: Seconds = setting(
        300,
        about="An operator's Release, and then its webhook, s.",
        otherwise="`up` would give up too early or hang",
        write="operator: 300",
    )
    secret_sync: Seconds = setting(
        180,
        about="An ExternalSecret becoming Ready, s; a new IAM binding may take minutes to be in force.",
        otherwise="`up` would give up too early or hang",
        write="secretSync: 180",
    )
    postgres: Seconds = setting(
        900,
        about="The database becoming healthy, s.",
        otherwise="`up` would give up too early or hang",
        write="postgres: 900",
    )
    litellm: Seconds = setting(
        900,
        about="LiteLLM's migration and proxy together, s.",
        otherwise="`up` would give up too early or hang",
        write="litellm: 900",
    )
    vllm: Seconds = setting(
        1800,
        about="vLLM: GPU node, image pull, weights and start-up together, s.",
        otherwise="`up` would give up too early or hang",
        write="vllm: 1800",
    )


def _section(section: type[Section], about: str) -> Any:
    return setting(
        default_factory=section, about=about, otherwise="the section could not be read", write="a mapping"
    )


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
        write="- {alias: qwen-local, model: Qwen/Qwen2.5-0.5B-Instruct, "
        "inputCostPerToken: 0.00000005, outputCostPerToken: 0.0000002}",
    )
    namespaces: Namespaces = _section(Namespaces, "The namespaces.")
    gpu_pool: GpuPool = _section(GpuPool, "The GPU node pool.")
    secrets: Secrets = _section(Secrets, "The secrets.")
    postgres: Postgres = _section(Postgres, "The database.")
    litellm: LiteLLM = _section(LiteLLM, "The proxy.")
    charts: Charts = _section(Charts, "The Helm charts' source.")
    timeouts: Timeouts = _section(Timeouts, "Timeouts.")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        aliases = [model.alias for model in self.models]
        for alias in aliases:
            if aliases.count(alias) > 1:
                raise broken_rule(
                    "models",
                    f"two models have the alias {alias!r}",
                    "LiteLLM would spread requests over both and vLLM's objects would overwrite each other",
                    "a different alias for each model",
                )
        for index, model in enumerate(self.models):
            if model.gpus > self.gpu_pool.accelerator_count:
                raise broken_rule(
                    f"models[{index}].gpus",
                    f"{model.gpus} GPUs are asked for, a node of gpuPool has {self.gpu_pool.accelerator_count}",
                    "the engine would fit no node and stay Pending",
                    f"gpus: {self.gpu_pool.accelerator_count}, or a larger gpuPool.machineType",
                )
        return self


def _annotation(section: type[Section], key: str) -> tuple[Any, dict[str, str]] | None:
    for name, field in section.model_fields.items():
        if key in (field.alias or to_camel(name), name):
            extra = field.json_schema_extra
            return field.annotation, typing.cast("dict[str, str]", extra if isinstance(extra, dict) else {})
    return None


def _nested_section(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `list[Model]` or `Section | None`."""
    if isinstance(annotation, types.GenericAlias | types.UnionType):
        return next(filter(None, map(_nested_section, typing.get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _describe(error: ErrorDetails) -> str:
    """One mistake as text: key, problem, consequence, fix."""
    section: type[Section] | None = Settings
    hints: dict[str, str] = {}
    key = ""
    for part in error["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        key += f".{part}" if key else str(part)
        found = _annotation(section, str(part)) if section else None
        if error["type"] == "extra_forbidden" and found is None and section is not None:
            known = [field.alias or to_camel(name) for name, field in section.model_fields.items()]
            close = difflib.get_close_matches(str(part), known, n=1, cutoff=0.6)
            hints = {
                "otherwise": "it would be ignored and a default used in its place",
                "write": close[0] if close else f"one of {', '.join(known)}",
            }
            break
        if found:
            section, hints = _nested_section(found[0]), found[1]
    problem = error["msg"]
    context = error.get("ctx", {})
    if error["type"] == "rule":
        key = ".".join(filter(None, (key, context["key"])))
        hints = {"otherwise": context["otherwise"], "write": context["write"]}
    elif error["type"] == "extra_forbidden":
        problem = "no such key"
    elif error["type"] == "missing":
        problem = "the key is missing"
    else:
        problem = f"{problem} (it is {json.dumps(error['input'], default=str)})"
    return (
        f"{PROJECT}:{key}: {problem}.\n"
        f"    What would happen: {hints.get('otherwise', 'the value could not be used')}.\n"
        f"    Write instead: {hints.get('write', 'a value of the right type')}"
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
        mistakes = [_describe(error) for error in failure.errors(include_url=False)]
        listed = "\n  ".join(mistakes)
        raise SettingsError(
            f"Pulumi.{stack}.yaml: {len(mistakes)} wrong setting(s); nothing was touched.\n  {listed}"
        ) from None


def load() -> Settings:
    """The current stack's settings. Raises SettingsError."""
    config = pulumi.runtime.config
    return parse({**config.get_config_env(), **config.CONFIG.get()}, pulumi.get_stack())
