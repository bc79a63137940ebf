"""vLLM, serving the self-hosted models on the GPU pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from settings.gateway import VllmModel
from versions import VLLM_CHART, VLLM_IMAGE, VLLM_ROUTER_IMAGE

RELEASE = "vllm"
STARTUP_PERIOD = 10
"""Seconds between two startup probes, as the chart has it."""


@dataclass(frozen=True, kw_only=True)
class VllmArgs:
    """Arguments of Vllm.

    `models` are by alias; `node_pool` is the pool the engines run on, with the `tolerations` and `node_selector_terms` that lead there;
    `api_key_synced` says that `api_key_secret` (key `api-key`) is in the namespace. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    models: Mapping[str, VllmModel]
    node_pool: pulumi.Resource
    tolerations: Sequence[Mapping[str, str]]
    node_selector_terms: Sequence[Mapping[str, object]]
    api_key_secret: str
    api_key_synced: pulumi.Resource
    charts: ChartSource
    timeout: int


class Vllm(pulumi.ComponentResource):
    """The vllm-stack Release: one engine Deployment a model, and the router in front of them."""

    release: kubernetes.helm.v3.Release
    url: pulumi.Output[str]
    """Base URL of the router's OpenAI-compatible API inside the cluster."""

    def __init__(self, name: str, args: VllmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:vllm:Vllm", name, None, opts)

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
                    # The default kills an engine that still downloads its model after ten minutes.
                    "startupProbe": {"failureThreshold": args.timeout // STARTUP_PERIOD},
                    "tolerations": list(args.tolerations),
                    "modelSpec": [
                        _model_spec(alias, model, args.node_selector_terms)
                        for alias, model in args.models.items()
                    ],
                },
                "routerSpec": {
                    "repository": VLLM_ROUTER_IMAGE.repository,
                    "tag": VLLM_ROUTER_IMAGE.tag,
                    "imagePullPolicy": "IfNotPresent",
                    "labels": {"environment": "router", "release": f"{RELEASE}-router"},
                    # The default kills a router that pulls its image or waits for engines after 20 s.
                    "startupProbe": {"failureThreshold": 60},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.node_pool, args.api_key_synced]),
        )
        self.url = pulumi.Output.format(
            "http://{0}-router-service.{1}.svc.cluster.local/v1", RELEASE, args.namespace
        )
        self.register_outputs({"url": self.url})


def _model_spec(
    alias: str, model: VllmModel, node_selector_terms: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    config: dict[str, object] = {
        # The chart turns prefix caching off unless it is asked for.
        "enablePrefixCaching": True,
        "maxModelLen": model.max_model_len,
    }
    if model.gpus > 1:
        config["tensorParallelSize"] = model.gpus
    spec: dict[str, object] = {
        "name": alias,
        "repository": VLLM_IMAGE.repository,
        "tag": VLLM_IMAGE.tag,
        "modelURL": model.model,
        "replicaCount": model.replicas,
        "requestCPU": model.cpu,
        "requestMemory": model.memory,
        "requestGPU": model.gpus,
        "pvcStorage": model.cache_size,
        "pvcAccessMode": ["ReadWriteOnce"],
        "vllmConfig": config,
        "nodeSelectorTerms": list(node_selector_terms),
    }
    if model.revision:
        spec["modelRevision"] = model.revision
    return spec
