"""The LiteLLM proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from components.pod_security import ROOT_WITHOUT_RIGHTS
from settings import gateway
from versions import LITELLM_CHART, LITELLM_IMAGE

RELEASE = "litellm"
PORT = 4000
# Counts the pods of one revision, and no node whose taints keep them off: an empty GPU node would forbid a second pod
# on any other.
SPREAD = {
    "maxSkew": 1,
    "labelSelector": {
        "matchLabels": {"app.kubernetes.io/name": "litellm", "app.kubernetes.io/instance": RELEASE}
    },
    "matchLabelKeys": ["pod-template-hash"],
    "nodeTaintsPolicy": "Honor",
}


@dataclass(frozen=True, kw_only=True)
class Redis:
    """The Redis that replicas share their counts through; `ready` says that it answers.

    With `has_password`, the proxy's Secret holds it under `settings.gateway.REDIS_PASSWORD`.
    """

    host: pulumi.Input[str]
    port: int
    has_password: bool
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class LiteLLMArgs:
    """Arguments of LiteLLM.

    `database_ready` says that the database answers, `secrets_synced` that `secrets` (PROXY_MASTER_KEY,
    LITELLM_SALT_KEY, UPSTREAM_API_KEY and each model's `api_key_variable`) is in the namespace, `secret_versions` which
    values each Secret holds: pods read them when they start, so that another one restarts them. `database_secret` holds
    `username` and `password`. `vllm_url` is the base URL of the self-hosted models' API, `redis` None where each pod
    counts for itself. `timeout` is in seconds, migration included.
    """

    namespace: pulumi.Input[str]
    models: Sequence[gateway.Model]
    vllm_url: pulumi.Input[str] | None
    redis: Redis | None
    database_host: pulumi.Input[str]
    database: str
    database_secret: str
    database_ready: pulumi.Resource
    secrets: str
    secrets_synced: pulumi.Resource
    secret_versions: Mapping[str, pulumi.Input[str]]
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

        depends_on: list[pulumi.Resource] = [
            args.database_ready,
            args.secrets_synced,
            *(args.redis.ready if args.redis else []),
        ]
        # Readiness fails while the database is away; a pod that is to serve without it must not be asked for it.
        path = "/health/liveliness" if args.litellm.serve_without_database else "/health/readiness"
        self.release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=args.namespace,
            **args.charts.inputs(LITELLM_CHART),
            timeout=args.timeout,
            values={
                "replicaCount": args.litellm.replicas,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                **(_spread() if args.litellm.replicas > 1 else {}),
                "readinessProbe": {"path": path},
                "startupProbe": {"path": path},
                "image": {
                    "repository": LITELLM_IMAGE.repository,
                    "tag": LITELLM_IMAGE.pinned_tag,
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
                # Helm rolls the pods over once the migration has logged in with the password the new ones will read:
                # the Job is tried again until Postgres has taken it.
                "podAnnotations": {
                    f"llm-gateway/{secret}": versions for secret, versions in args.secret_versions.items()
                },
                "securityContext": ROOT_WITHOUT_RIGHTS,
                # As a plain Job the migration races the proxy; as a hook Helm runs it first and fails with it.
                "migrationJob": {
                    "hooks": {"argocd": {"enabled": False}, "helm": {"enabled": True}},
                    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
                },
                "envVars": {
                    # Without it a failed migration exits 0 and the proxy starts on an old schema.
                    "ENFORCE_PRISMA_MIGRATION_CHECK": "true",
                    "LITELLM_LOG": args.litellm.log_level,
                    # Costs are the settings'; without it each start waits for a download that policies deny.
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                },
                "proxy_config": _proxy_config(args),
                "resources": {
                    "requests": {"cpu": args.litellm.cpu, "memory": args.litellm.memory},
                    "limits": {"memory": args.litellm.memory},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        self.url = pulumi.Output.format("http://{0}.{1}.svc.cluster.local:{2}", RELEASE, args.namespace, PORT)
        self.register_outputs({"url": self.url})


def _spread() -> dict[str, object]:
    """Values that keep the loss of a node from taking every replica, and a drain from taking two."""
    return {
        "pdb": {"enabled": True, "maxUnavailable": 1},
        "topologySpreadConstraints": [
            {**SPREAD, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"},
            {**SPREAD, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
    }


def _proxy_config(args: LiteLLMArgs) -> dict[str, object]:
    """LiteLLM's own configuration, https://docs.litellm.ai/docs/proxy/config_settings."""
    router: dict[str, object] = {}
    config: dict[str, object] = {
        "model_list": [_route(model, args.vllm_url) for model in args.models],
        "general_settings": {
            "master_key": "os.environ/PROXY_MASTER_KEY",
            "allow_requests_on_db_unavailable": args.litellm.serve_without_database,
            # Where a client does not ask for usage, LiteLLM would count tokens itself, and budgets follow that guess.
            "always_include_stream_usage": True,
        },
    }
    if any(model.tpm or model.rpm for model in args.models):
        # Without it a model's tpm and rpm only weigh the choice between deployments of one alias.
        router["optional_pre_call_checks"] = ["enforce_model_rate_limits"]
    if args.redis:
        redis: dict[str, object] = {"host": args.redis.host, "port": args.redis.port}
        if args.redis.has_password:
            redis["password"] = f"os.environ/{gateway.REDIS_PASSWORD}"
        router |= {f"redis_{key}": value for key, value in redis.items()}
        # Keys' and teams' limits and budgets are counted through the cache; no call type means no answer is cached.
        config["litellm_settings"] = {
            "cache": True,
            "cache_params": {"type": "redis", "supported_call_types": [], **redis},
        }
    if router:
        config["router_settings"] = router
    return config


def _route(model: gateway.Model, vllm_url: pulumi.Input[str] | None) -> dict[str, object]:
    """A `model_list` entry, https://docs.litellm.ai/docs/proxy/configs."""
    params: dict[str, object] = {
        "tpm": model.tpm,
        "rpm": model.rpm,
        # Here they are numbers to LiteLLM even as Helm writes them: YAML 1.1 reads 5e-08 as text.
        "input_cost_per_token": model.input_cost_per_token,
        "output_cost_per_token": model.output_cost_per_token,
    }
    if model.api_key_secret:
        params["api_key"] = f"os.environ/{model.api_key_variable}"
    if model.vllm:
        params |= {
            "model": f"hosted_vllm/{model.vllm.model}",
            "api_base": vllm_url,
            "api_key": "os.environ/UPSTREAM_API_KEY",
        }
    elif model.hosted:
        params["model"] = model.hosted.model
    elif model.endpoint:
        params |= {"model": f"openai/{model.endpoint.model}", "api_base": model.endpoint.url}
        # The client refuses to call without a key, also where the endpoint wants none.
        params.setdefault("api_key", "none")
    return {
        "model_name": model.alias,
        "litellm_params": {key: value for key, value in params.items() if value is not None},
    }
