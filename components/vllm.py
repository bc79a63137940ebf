"""vLLM, serving the self-hosted models on the GPU pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from components.pod_security import ROOT_WITHOUT_RIGHTS
from settings.gateway import VllmModel
from versions import VLLM_CHART, VLLM_IMAGE, VLLM_ROUTER_IMAGE

RELEASE = "vllm"
STARTUP_PERIOD = 10
"""Seconds between two startup probes, as the chart has it."""


@dataclass(frozen=True, kw_only=True)
class VllmArgs:
    """Arguments of Vllm.

    `models` are by alias; `node_pool` is the pool the engines run on, with the `tolerations` and `node_selector_terms`
    that lead there. `secrets_synced` says that `api_key_secret` (key `api-key`) and, where a model needs a token,
    `hugging_face_secret` (a key a model: its alias) are in the namespace, `api_key_versions` which key it is. `timeout`
    is in seconds.
    """

    namespace: pulumi.Input[str]
    models: Mapping[str, VllmModel]
    node_pool: pulumi.Resource
    tolerations: Sequence[Mapping[str, str]]
    node_selector_terms: Sequence[Mapping[str, object]]
    api_key_secret: str
    api_key_versions: pulumi.Input[str]
    hugging_face_secret: str
    secrets_synced: Sequence[pulumi.Resource]
    charts: ChartSource
    timeout: int


class Vllm(pulumi.ComponentResource):
    """The vllm-stack Release: one engine Deployment a model, and the router in front of them."""

    release: kubernetes.helm.v3.Release
    url: pulumi.Output[str]
    """Base URL of the router's OpenAI-compatible API inside the cluster."""

    def __init__(self, name: str, args: VllmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:vllm:Vllm", name, None, opts)

        # Engines and router read the key when they start: another version of it restarts them.
        restarts = {f"llm-gateway/{args.api_key_secret}": args.api_key_versions}
        self.release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=args.namespace,
            **args.charts.inputs(VLLM_CHART),
            timeout=args.timeout,
            values={
                "servingEngineSpec": {
                    # GKE has no RuntimeClass "nvidia", the chart's default.
                    "runtimeClassName": "",
                    # The default surge would need a second GPU.
                    "strategy": {"type": "Recreate"},
                    "labels": {"environment": "engine", "release": RELEASE},
                    "vllmApiKey": {"secretName": args.api_key_secret, "secretKey": "api-key"},
                    "imagePullPolicy": "IfNotPresent",
                    "containerSecurityContext": ROOT_WITHOUT_RIGHTS,
                    # The default kills an engine that still downloads its model after ten minutes.
                    "startupProbe": {"failureThreshold": args.timeout // STARTUP_PERIOD},
                    "tolerations": list(args.tolerations),
                    "modelSpec": [
                        {
                            **_model_spec(alias, model, args),
                            "podAnnotations": restarts,
                        }
                        for alias, model in args.models.items()
                    ],
                },
                "routerSpec": {
                    "repository": VLLM_ROUTER_IMAGE.repository,
                    "tag": VLLM_ROUTER_IMAGE.pinned_tag,
                    "imagePullPolicy": "IfNotPresent",
                    "containerSecurityContext": ROOT_WITHOUT_RIGHTS,
                    "labels": {"environment": "router", "release": f"{RELEASE}-router"},
                    "podAnnotations": restarts,
                    # The default kills a router that pulls its image or waits for engines after 20 s.
                    "startupProbe": {"failureThreshold": 60},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.node_pool, *args.secrets_synced]),
        )
        self.url = pulumi.Output.format(
            "http://{0}-router-service.{1}.svc.cluster.local/v1", RELEASE, args.namespace
        )
        self.register_outputs({"url": self.url})


def _model_spec(alias: str, model: VllmModel, args: VllmArgs) -> dict[str, object]:
    config: dict[str, object] = {
        # The chart turns prefix caching off unless it is asked for.
        "enablePrefixCaching": True,
        "maxModelLen": model.max_model_len,
    }
    if model.gpus > 1:
        # The chart mounts /dev/shm with it, through which the engine's processes talk.
        config["tensorParallelSize"] = model.gpus
    if model.extra_args:
        config["extraArgs"] = model.extra_args
    spec: dict[str, object] = {
        "name": alias,
        "repository": VLLM_IMAGE.repository,
        "tag": VLLM_IMAGE.pinned_tag,
        "modelURL": model.model,
        "replicaCount": model.replicas,
        "requestCPU": model.cpu,
        "requestMemory": model.memory,
        "requestGPU": model.gpus,
        "vllmConfig": config,
        "nodeSelectorTerms": list(args.node_selector_terms),
    }
    if model.replicas:
        # Without a pod no zone is chosen for the volume, and Helm would wait for it until its timeout.
        spec |= {"pvcStorage": model.cache_size, "pvcAccessMode": ["ReadWriteOnce"]}
    if model.revision:
        spec["modelRevision"] = model.revision
    if model.hugging_face_token:
        spec["hf_token"] = {"secretName": args.hugging_face_secret, "secretKey": alias}
    return spec
