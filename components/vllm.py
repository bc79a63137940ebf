"""vLLM, serving the self-hosted models on the GPU pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import egress
from components.charts import chart_inputs
from components.cluster import ClusterHandle
from components.gpu_node_pool import GpuNodePool
from components.image_source import ImageSource
from components.pod_security import ROOT_WITHOUT_RIGHTS
from components.secret_sync import SyncedSecret
from components.volumes import Volume, volumes_only_grow
from components.workload import Workload
from settings.base import urls_in
from settings.deployment import Charts
from settings.egress import Egress
from settings.names import VLLM_RELEASE as RELEASE
from settings.secrets import variable
from settings.vllm import VllmModel
from versions import VLLM_CHART, VLLM_IMAGE, VLLM_ROUTER_IMAGE

ENGINE = Workload("vllm-engine", {"environment": "engine"})
ROUTER = Workload("vllm-router", {"environment": "router"})
AUTHORITIES = "/etc/llm-gateway-authorities"
AUTHORITIES_MAP = f"{RELEASE}-authorities"
PORT = 8000
"""Of an engine and of the router."""
READER_ROLE = "roles/storage.objectViewer"
STARTUP_PERIOD = 10
"""Seconds between two startup probes, as the chart has it."""


def engine_account(cluster: ClusterHandle, logs_in: bool) -> pulumi.Input[str]:
    """The engines' Kubernetes service account; where it logs in to Google, named after the cluster as secrets' reader is."""
    if not logs_in:
        return ENGINE.name
    return pulumi.Output.format("{0}-{1}-{2}", ENGINE.name, cluster.location, cluster.name)


@dataclass(frozen=True, kw_only=True)
class VllmArgs:
    """Arguments of Vllm.

    `models`, and the repositories of their `adapters`, are by their names here, those of `pooling` make embeddings and
    reranks; `pools` are where the engines run, by the model. `account` is their Kubernetes service account, and `member` the
    IAM member that it is, which may read the `buckets`. `api_key` holds the key under `api-key`; `hugging_face` one token per
    model that needs one, under its name; `environment` the secrets in engines' environments, each under its variable's
    name. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    models: Mapping[str, VllmModel]
    adapters: Mapping[str, Sequence[str]]
    account: pulumi.Input[str]
    member: pulumi.Input[str]
    buckets: Sequence[str]
    pooling: Set[str]
    pools: Mapping[str, GpuNodePool]
    api_key: SyncedSecret
    hugging_face: SyncedSecret | None
    environment: SyncedSecret | None
    egress: Egress
    charts: Charts
    images: ImageSource
    timeout: int


class Vllm(pulumi.ComponentResource):
    """The vllm-stack Release: one engine Deployment per model, and the router in front of them."""

    url: pulumi.Output[str]
    """Base URL of the router's OpenAI-compatible API inside the cluster."""

    def __init__(self, name: str, args: VllmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:vllm:Vllm", name, None, opts)

        # An engine calls no API server: whoever breaks into it finds no token for one. The router finds engines there.
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=args.account, namespace=args.namespace),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        secrets = (args.api_key, args.hugging_face, args.environment)
        pools = list(dict.fromkeys(args.pools.values()))
        depends_on: list[pulumi.Resource] = [
            *(pool.node_pool for pool in pools if pool.node_pool),
            *(secret.ready for secret in secrets if secret),
            *args.images.ready,
        ]
        for bucket in args.buckets:
            granted = gcp.storage.BucketIAMMember(
                f"{name}-weights-{bucket}",
                bucket=bucket,
                role=READER_ROLE,
                member=args.member,
                opts=pulumi.ResourceOptions(parent=self),
            )
            depends_on.append(granted)
        authorities = egress.files(args.egress)
        if authorities:
            made = kubernetes.core.v1.ConfigMap(
                f"{name}-authorities",
                metadata=kubernetes.meta.v1.ObjectMetaArgs(name=AUTHORITIES_MAP, namespace=args.namespace),
                data=authorities,
                opts=pulumi.ResourceOptions(parent=self),
            )
            depends_on.append(made)
        # Engines and router read the key when they start: another version of it restarts them.
        restarts = args.api_key.annotation
        # Each engine has all of them, and a selector that keeps it on its own pool.
        tolerations: list[Mapping[str, str]] = []
        for pool in pools:
            tolerations += [found for found in pool.tolerations if found not in tolerations]
        kubernetes.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=args.namespace,
            **chart_inputs(args.charts, VLLM_CHART),
            timeout=args.timeout,
            values={
                "servingEngineSpec": {
                    # GKE has no RuntimeClass "nvidia", the chart's default.
                    "runtimeClassName": "",
                    # The default surge would need a second GPU.
                    "strategy": {"type": "Recreate"},
                    "labels": {**ENGINE.labels, "release": RELEASE},
                    "vllmApiKey": {"secretName": args.api_key.name, "secretKey": "api-key"},
                    "imagePullPolicy": "IfNotPresent",
                    "containerSecurityContext": ROOT_WITHOUT_RIGHTS,
                    # The default kills an engine that still downloads its model after ten minutes.
                    "startupProbe": {"failureThreshold": args.timeout // STARTUP_PERIOD},
                    "tolerations": tolerations,
                    "modelSpec": [
                        {
                            **_model_spec(model_name, model, args),
                            "podAnnotations": {
                                **restarts,
                                **(args.environment.annotation if args.environment else {}),
                                **egress.hashes(authorities),
                            },
                            "serviceAccountName": account.metadata.name,
                        }
                        for model_name, model in args.models.items()
                    ],
                },
                "routerSpec": {
                    "repository": args.images.at(VLLM_ROUTER_IMAGE).repository,
                    "tag": VLLM_ROUTER_IMAGE.pinned_tag,
                    **args.images.values,
                    "imagePullPolicy": "IfNotPresent",
                    "containerSecurityContext": ROOT_WITHOUT_RIGHTS,
                    "labels": {**ROUTER.labels, "release": f"{RELEASE}-router"},
                    "podAnnotations": restarts,
                    # The default kills a router that pulls its image or waits for engines after 20 s.
                    "startupProbe": {"failureThreshold": 60},
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=depends_on,
                hooks=pulumi.ResourceHookBinding(
                    before_update=[volumes_only_grow(f"{name}-volumes", volumes)]
                ),
            ),
        )
        self.url = pulumi.Output.format(
            "http://{0}-router-service.{1}.svc.cluster.local/v1", RELEASE, args.namespace
        )
        self.register_outputs({"url": self.url})


def volumes(inputs: Mapping[str, Any]) -> dict[str, Volume | None]:
    """The claims of the chart: a model without one needs none."""
    specs: list[dict[str, Any]] = inputs["values"]["servingEngineSpec"]["modelSpec"]
    return {
        f"models[vllm.name {spec['name']}].vllm.cacheSize": Volume(
            spec["pvcStorage"],
            f"{spec['pvcAccessMode'][0]} of class {spec.get('storageClass', 'default')}",
            "take the volume away first, with an `up` with `cache: ephemeral`: the weights are downloaded anew",
        )
        for spec in specs
        if isinstance(spec.get("pvcStorage"), str)
    }


def _model_spec(name: str, model: VllmModel, args: VllmArgs) -> dict[str, object]:
    pools = name in args.pooling
    config: dict[str, object] = {
        # The chart turns prefix caching off unless it is asked for. Of models that read both ways, as most that make
        # embeddings, vLLM supports none, and may crash with it.
        "enablePrefixCaching": not pools,
        "maxModelLen": model.max_model_len,
    }
    if model.gpus > 1:
        # The chart mounts /dev/shm with it, through which the engine's processes talk.
        config["tensorParallelSize"] = model.gpus
    # Of some models vLLM would take the weights for those of a chat.
    runner = ("--runner", "pooling") if pools else ()
    if arguments := [*runner, *_arguments(model, args.adapters.get(name, [])), *model.extra_args]:
        config["extraArgs"] = arguments
    spec: dict[str, object] = {
        "name": name,
        "repository": args.images.at(VLLM_IMAGE).repository,
        "tag": VLLM_IMAGE.pinned_tag,
        "modelURL": model.weights or model.model,
        "replicaCount": model.replicas,
        "requestCPU": model.cpu,
        "requestMemory": model.memory,
        "requestGPU": model.gpus,
        "vllmConfig": config,
        "nodeSelectorTerms": list(args.pools[name].node_selector_terms),
    }
    if model.cache == "ephemeral":
        # The chart mounts what it is given here as a volume, and makes a claim of text only.
        spec["pvcStorage"] = {"emptyDir": {"sizeLimit": model.cache_size}}
    elif model.replicas:
        # Without a pod no zone is chosen for the volume, and Helm would wait for it until its timeout.
        mode = "ReadWriteMany" if model.cache == "shared" else "ReadWriteOnce"
        spec |= {"pvcStorage": model.cache_size, "pvcAccessMode": [mode]}
        if model.cache_storage_class:
            spec["storageClass"] = model.cache_storage_class
    if args.images.login:
        spec["imagePullSecret"] = args.images.login.name
    if model.revision:
        spec["modelRevision"] = model.revision
    if environment := list(_environment(model, args)):
        spec["env"] = environment
    if args.egress.ca:
        volume, mount = egress.mounted("authorities", AUTHORITIES_MAP, AUTHORITIES)
        spec |= {"extraVolumes": [volume], "extraVolumeMounts": [mount]}
    if model.hugging_face_token and args.hugging_face:
        spec["hf_token"] = {"secretName": args.hugging_face.name, "secretKey": name}
    return spec


def _arguments(model: VllmModel, adapters: Sequence[str]) -> Iterator[str]:
    """What `vllm serve` is told beside the chart's words; `extraArgs`, which come later, are obeyed where both say something."""
    if model.weights:
        yield from ("--served-model-name", model.model, "--load-format", "runai_streamer")
    if adapters:
        # Not the chart's `enableLoRA`: with it comes a sidecar of an image that nobody pins.
        yield from ("--enable-lora", "--max-loras", str(len(adapters)), "--lora-modules")
        yield from (f"{adapter}={adapter}" for adapter in adapters)


def _environment(model: VllmModel, args: VllmArgs) -> Iterator[Mapping[str, object]]:
    """The variables of a model's engines beside the chart's."""
    yield from egress.listed(args.egress.variables(sorted(urls_in(model.environment))))
    if model.weights and "HF_HUB_OFFLINE" not in model.environment:
        yield from egress.listed({"HF_HUB_OFFLINE": "1"})
    if args.egress.ca:
        # Xet downloads in Rust, past the authorities that Python's clients are told of.
        yield from egress.listed({"PYTHONPATH": AUTHORITIES})
        yield from egress.listed({"HF_HUB_DISABLE_XET": "1", **model.environment})
    else:
        yield from egress.listed(model.environment)
    for name, secret_id in model.secret_environment.items():
        if args.environment:
            reference = {"name": args.environment.name, "key": variable(secret_id)}
            yield {"name": name, "valueFrom": {"secretKeyRef": reference}}
