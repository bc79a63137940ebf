"""The LiteLLM proxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from settings import gateway
from versions import LITELLM_CHART, LITELLM_IMAGE

RELEASE = "litellm"
PORT = 4000


@dataclass(frozen=True, kw_only=True)
class LiteLLMArgs:
    """Arguments of LiteLLM.

    `database_ready` says that the database answers, `secrets_synced` that `secrets` (PROXY_MASTER_KEY,
    LITELLM_SALT_KEY, UPSTREAM_API_KEY) is in the namespace. `database_secret` holds `username` and `password`.
    `vllm_url` is the base URL of the self-hosted models' API. `timeout` is in seconds, migration included.
    """

    namespace: pulumi.Input[str]
    models: Sequence[gateway.Model]
    vllm_url: pulumi.Input[str]
    database_host: pulumi.Input[str]
    database: str
    database_secret: str
    database_ready: pulumi.Resource
    secrets: str
    secrets_synced: pulumi.Resource
    litellm: gateway.LiteLLM
    charts: ChartSource
    timeout: int


class LiteLLM(pulumi.ComponentResource):
    """The litellm-helm Release: the migration runs as a Helm hook, then the proxy is made."""

    release: kubernetes.helm.v3.Release
    url: pulumi.Output[str]
    """Base URL of the gateway inside the cluster."""

    def __init__(self, name: str, args: LiteLLMArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:litellm:LiteLLM", name, None, opts)

        self.release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=args.namespace,
            **args.charts.inputs(LITELLM_CHART),
            timeout=args.timeout,
            values={
                "replicaCount": args.litellm.replicas,
                "image": {
                    "repository": LITELLM_IMAGE.repository,
                    "tag": LITELLM_IMAGE.tag,
                    "pullPolicy": "IfNotPresent",
                },
                "masterkeySecretName": args.secrets,
                "masterkeySecretKey": "PROXY_MASTER_KEY",
                "environmentSecrets": [args.secrets],
                "db": {
                    "useExisting": True,
                    "deployStandalone": False,
                    "endpoint": args.database_host,
                    "database": args.database,
                    "secret": {
                        "name": args.database_secret,
                        "usernameKey": "username",
                        "passwordKey": "password",
                    },
                },
                # As a plain Job the migration races the proxy; as a hook Helm runs it first and fails with it.
                "migrationJob": {"hooks": {"argocd": {"enabled": False}, "helm": {"enabled": True}}},
                "envVars": {
                    # Without it a failed migration exits 0 and the proxy starts on an old schema.
                    "ENFORCE_PRISMA_MIGRATION_CHECK": "true",
                    "LITELLM_LOG": args.litellm.log_level,
                },
                "proxy_config": {
                    "model_list": [_route(model, args.vllm_url) for model in args.models],
                    "general_settings": {"master_key": "os.environ/PROXY_MASTER_KEY"},
                },
                "resources": {
                    "requests": {"cpu": args.litellm.cpu, "memory": args.litellm.memory},
                    "limits": {"memory": args.litellm.memory},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.database_ready, args.secrets_synced]),
        )
        self.url = pulumi.Output.format("http://{0}.{1}.svc.cluster.local:{2}", RELEASE, args.namespace, PORT)
        self.register_outputs({"url": self.url})


def _route(model: gateway.Model, vllm_url: pulumi.Input[str]) -> dict[str, object]:
    """A `model_list` entry, https://docs.litellm.ai/docs/proxy/configs."""
    assert model.vllm
    return {
        "model_name": model.alias,
        "litellm_params": {
            "model": f"hosted_vllm/{model.vllm.model}",
            "api_base": vllm_url,
            "api_key": "os.environ/UPSTREAM_API_KEY",
        },
        "model_info": {
            "input_cost_per_token": model.input_cost_per_token,
            "output_cost_per_token": model.output_cost_per_token,
        },
    }
