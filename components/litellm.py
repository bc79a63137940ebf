"""The LiteLLM proxy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import egress
from components.charts import chart_inputs
from components.cluster import ClusterHandle
from components.image_source import ImageSource
from components.pod_security import ROOT_WITHOUT_RIGHTS
from components.postgres_cluster import Database
from components.secret_sync import SyncedSecret
from components.valkey import PORT as VALKEY_PORT
from components.valkey import Valkey
from components.workload import named
from settings import modes
from settings.deployment import Charts
from settings.egress import Egress
from settings.litellm import (
    DATABASE_CONNECTIONS,
    PROXY_MASTER_KEY,
    REDIS_PASSWORD,
    UPSTREAM_API_KEY,
    Fallbacks,
)
from settings.litellm import LiteLLM as LiteLLMSettings
from settings.models import Model
from settings.secrets import variable
from versions import LITELLM_CHART, LITELLM_IMAGE

RELEASE = "litellm"
PROXY = named("litellm")
"""The migration Job's pod has the same labels."""
PORT = 4000
HOOK = Path(__file__).with_name("proxy_hooks") / "keep_spend.py"
VERTEX_AI_ROLE = "roles/aiplatform.user"
_HOOKS_PATH = "/etc/llm-gateway"
_HOOKS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": f"{RELEASE}-hooks"},
    "data": {HOOK.name: HOOK.read_text()},
}
_PODS = {**PROXY.labels, "app.kubernetes.io/instance": RELEASE}
AUTHORITIES = "/etc/llm-gateway-authorities"
REDIS_CA, DATABASE_CA = "redis.pem", "database.pem"
"""Where the pods have the certificates of whoever signs other servers' certificates."""
# Counts the pods of one revision, and no node whose taints keep them off: an empty GPU node would forbid a
# second pod on any other.
_EACH = {
    "maxSkew": 1,
    "labelSelector": {"matchLabels": _PODS},
    "matchLabelKeys": ["pod-template-hash"],
    "nodeTaintsPolicy": "Honor",
}
_SPREAD = [
    {**_EACH, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"},
    {**_EACH, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
]
# Not the chart's own, which takes in the migration's pod. A Job has no scale that the disruption controller could ask
# for, so it would let no pod be evicted until the Job is gone: two minutes after each `up`.
_DISRUPTIONS: dict[str, Any] = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": RELEASE},
    "spec": {
        "maxUnavailable": 1,
        "selector": {
            "matchLabels": _PODS,
            "matchExpressions": [{"key": "batch.kubernetes.io/job-name", "operator": "DoesNotExist"}],
        },
    },
}


def proxy_account(cluster: ClusterHandle, logs_in: bool) -> pulumi.Input[str]:
    """The proxy's Kubernetes service account; where it logs in to Google, named after the cluster as secrets' reader is."""
    if not logs_in:
        return RELEASE
    return pulumi.Output.format("{0}-{1}-{2}", RELEASE, cluster.location, cluster.name)


@dataclass(frozen=True, kw_only=True)
class LiteLLMArgs:
    """Arguments of LiteLLM.

    `groups` are LiteLLM's access groups of the models, by alias. `secret` holds what the settings and this component
    name as environment variables. `vllm_url` is the base URL of the self-hosted models' API; `valkey` None where
    `litellm` has none run. `account` is the pods' Kubernetes service account, and `member` the IAM member that it is,
    which may ask the models of Vertex AI in `vertex_projects`. `urls` are those that the settings have it ask.
    `timeout` is in seconds, migration included.
    """

    namespace: pulumi.Input[str]
    account: pulumi.Input[str]
    member: pulumi.Input[str]
    vertex_projects: Sequence[str]
    models: Sequence[Model]
    groups: Mapping[str, Sequence[str]]
    vllm_url: pulumi.Input[str] | None
    valkey: Valkey | None
    database: Database
    secret: SyncedSecret
    litellm: LiteLLMSettings
    egress: Egress
    urls: Sequence[str]
    charts: Charts
    images: ImageSource
    timeout: int


class LiteLLM(pulumi.ComponentResource):
    """The litellm-helm Release: the migration runs as a Helm hook, then the proxy is made."""

    release: kubernetes.helm.v3.Release
    url: pulumi.Output[str]
    """Base URL of the gateway inside the cluster."""

    def __init__(self, name: str, args: LiteLLMArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:litellm:LiteLLM", name, None, opts)

        depends_on: list[pulumi.Resource] = [
            args.database.ready,
            args.secret.ready,
            *([args.valkey.ready] if args.valkey else []),
            *args.images.ready,
        ]
        for project in args.vertex_projects:
            granted = gcp.projects.IAMMember(
                f"{name}-vertex-ai-{project}",
                project=project,
                role=VERTEX_AI_ROLE,
                member=args.member,
                opts=pulumi.ResourceOptions(parent=self),
            )
            depends_on.append(granted)
        # Neither the proxy nor the migration calls the API server: whoever breaks into one finds no token for it.
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=args.account, namespace=args.namespace),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        logins = args.egress.logins(args.urls)
        authorities = _authorities(args)
        files: list[tuple[str, pulumi.Input[str], str]] = [("hooks", _HOOKS["metadata"]["name"], _HOOKS_PATH)]
        if authorities:
            made = kubernetes.core.v1.ConfigMap(
                f"{name}-authorities",
                # Not of the Release: the migration, which runs before what a Release makes, may need them.
                metadata=kubernetes.meta.v1.ObjectMetaArgs(
                    name=f"{RELEASE}-authorities", namespace=args.namespace
                ),
                data=authorities,
                opts=pulumi.ResourceOptions(parent=self),
            )
            files.append(("authorities", made.metadata["name"], AUTHORITIES))
        # Readiness fails while the database is away: a pod that is to serve without it is asked for liveness.
        path = "/health/liveliness" if args.litellm.serve_without_database else "/health/readiness"
        self.release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name=RELEASE,
            namespace=args.namespace,
            **chart_inputs(args.charts, LITELLM_CHART),
            timeout=args.timeout,
            values={
                "replicaCount": args.litellm.replicas,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                **({"topologySpreadConstraints": _SPREAD} if args.litellm.replicas > 1 else {}),
                "readinessProbe": {"path": path},
                # The chart asks every 10 s, for which a proxy that answers waits 5 s on average.
                "startupProbe": {"path": path, "periodSeconds": 2, "failureThreshold": 150},
                "image": {
                    "repository": args.images.at(LITELLM_IMAGE).repository,
                    "tag": LITELLM_IMAGE.pinned_tag,
                    "pullPolicy": "IfNotPresent",
                },
                **args.images.values,
                "serviceAccount": {"create": False, "name": account.metadata.name},
                "masterkeySecretName": args.secret.name,
                "masterkeySecretKey": PROXY_MASTER_KEY,
                "environmentSecrets": [args.secret.name],
                "db": {
                    "useExisting": True,
                    "deployStandalone": False,
                    "endpoint": args.database.host,
                    "database": args.database.name,
                    **_url(args.database),
                    "secret": {
                        "name": args.database.credentials.name,
                        "usernameKey": "username",
                        "passwordKey": "password",
                    },
                },
                # Helm rolls the pods over once the migration has logged in with the password the new ones
                # will read: the Job is tried again until Postgres has taken it.
                "podAnnotations": {
                    **args.secret.annotation,
                    **args.database.credentials.annotation,
                    "llm-gateway/hooks": hashlib.sha256(HOOK.read_bytes()).hexdigest()[:16],
                    **egress.hashes(authorities),
                },
                # A pod that is to end serves on until every node has heard that it leaves the Service. Of the chart's
                # 90 s of grace it then has the rest to answer the requests under way, and 20 s of it to write spend.
                "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                **_mounted(files),
                "extraResources": [_HOOKS, *([_DISRUPTIONS] if args.litellm.replicas > 1 else [])],
                "securityContext": ROOT_WITHOUT_RIGHTS,
                # A plain Job would race the proxy; a hook is run first, and Helm fails with it.
                "migrationJob": {
                    "hooks": {"argocd": {"enabled": False}, "helm": {"enabled": True}},
                    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
                },
                "envVars": {
                    **args.litellm.environment,
                    **{
                        key: value
                        for key, value in args.egress.variables(args.urls).items()
                        if key not in logins
                    },
                    # Without it a failed migration exits 0 and the proxy starts on an old schema.
                    "ENFORCE_PRISMA_MIGRATION_CHECK": "true",
                    # Teams and keys are the stack's settings: nobody needs the UI, which would answer every client.
                    "DISABLE_ADMIN_UI": "True",
                    "NO_DOCS": "True",
                    "NO_REDOC": "True",
                    "NO_OPENAPI": "True",
                    # Batches of 1,000 records per cleanup, every ten minutes: twice what comes in meanwhile, and
                    # LiteLLM's default at least, for a retention that was lowered.
                    "SPEND_LOG_RUN_LOOPS": str(max(500, 2 * args.litellm.requests_per_day // 144_000)),
                    # Retries are the router's. LiteLLM takes its 0 for embeddings' clients as unset, which means this.
                    "DEFAULT_MAX_RETRIES": "0",
                    "LITELLM_LOG": args.litellm.log_level,
                    # Prices are the pinned version's; without it each start waits for a download that policies deny.
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_WORKER_STARTUP_HOOKS": f"{HOOK.stem}:install",
                    "PYTHONPATH": f"{_HOOKS_PATH}:{AUTHORITIES}" if args.egress.ca else _HOOKS_PATH,
                },
                **({"extraEnvVars": egress.logged_in(logins, args.secret.name)} if logins else {}),
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


def _mounted(files: Sequence[tuple[str, pulumi.Input[str], str]]) -> dict[str, object]:
    """Values that mount ConfigMaps: volume, ConfigMap and folder of each."""
    return {
        # Optional: the migration mounts the hooks too, and runs before they are made. A proxy without them does not start.
        "volumes": [
            {"name": volume, "configMap": {"name": name, **({"optional": True} if volume == "hooks" else {})}}
            for volume, name, _ in files
        ],
        "volumeMounts": [
            {"name": volume, "mountPath": folder, "readOnly": True} for volume, _, folder in files
        ],
    }


def _url(database: Database) -> dict[str, str]:
    """The chart's own URL with the port and TLS of a database that exists, as Prisma reads them.

    Of `sslmode` Prisma takes any word but these for `prefer`, and it believes any certificate unless `sslaccept` is
    strict (prisma-engines, quaint/src/connector/postgres/url.rs).
    """
    existing = database.existing
    if not existing:
        return {}
    options = {
        "none": "sslmode=disable",
        "require": "sslmode=require",
        "verify-full": "sslmode=require&sslaccept=strict",
    }[existing.tls or "none"]  # to the Auth Proxy, which encrypts what leaves the cluster
    if existing.ca:
        options += f"&sslcert={AUTHORITIES}/{DATABASE_CA}"
    login = "$(DATABASE_USERNAME):$(DATABASE_PASSWORD)"
    return {"url": f"postgresql://{login}@$(DATABASE_HOST):{existing.port}/$(DATABASE_NAME)?{options}"}


def _authorities(args: LiteLLMArgs) -> dict[str, str]:
    """The files under AUTHORITIES, by name."""
    existing = args.database.existing
    found = {REDIS_CA: args.litellm.shared_state.ca, DATABASE_CA: existing.ca if existing else None}
    return {name: pem for name, pem in found.items() if pem} | egress.files(args.egress)


def _proxy_config(args: LiteLLMArgs) -> dict[str, object]:
    """LiteLLM's own configuration, https://docs.litellm.ai/docs/proxy/config_settings."""
    router: dict[str, object] = {
        **args.litellm.router_settings,
        "stream_timeout": args.litellm.stream_timeout,
        "num_retries": args.litellm.retries,
        # A hung upstream would be waited for once more with each retry.
        "retry_policy": {"TimeoutErrorRetries": 0},
        # With an alias's only deployment cooling down, or all of them, one tenant's errors would refuse every tenant.
        "disable_cooldowns": True,
        # A request that failed at a deployment goes to the others of its alias, not to that one again.
        "enable_weighted_failover": True,
        **_fallbacks(args.litellm.fallbacks),
    }
    # The router's timeout, too, where that has none of its own.
    settings: dict[str, object] = {
        **args.litellm.litellm_settings,
        "request_timeout": args.litellm.request_timeout,
    }
    config: dict[str, object] = {
        "model_list": [
            route(model, args.vllm_url, args.litellm.replicas, args.groups.get(model.alias, ()))
            for model in args.models
        ],
        "general_settings": {
            **args.litellm.general_settings,
            "master_key": f"os.environ/{PROXY_MASTER_KEY}",
            "allow_requests_on_db_unavailable": args.litellm.serve_without_database,
            # LiteLLM writes what fails into the same table. The default runs a day after each start, so never where
            # pods live shorter.
            "maximum_spend_logs_retention_period": args.litellm.spend_log_retention,
            "maximum_spend_logs_cleanup_cron": "*/10 * * * *",
            "database_connection_pool_limit": DATABASE_CONNECTIONS,
            # Where a client asks for no usage, LiteLLM would count tokens itself: a guess for budgets.
            "always_include_stream_usage": True,
        },
    }
    if any(model.tpm or model.rpm for model in args.models):
        # Without it a model's tpm and rpm only weigh the choice between deployments of one alias.
        router["optional_pre_call_checks"] = ["enforce_model_rate_limits"]
    if redis := _redis(args):
        # Limits and budgets are counted through the cache, those of models too: the router has none of its own, and is
        # given this one. Without call types it caches no answer.
        settings |= {
            "cache": True,
            "cache_params": {"type": "redis", "supported_call_types": [], **redis},
        }
    return config | {"litellm_settings": settings, "router_settings": router}


def _fallbacks(fallbacks: Fallbacks) -> dict[str, object]:
    """Fallbacks as the router reads them; without any for a kind of error it takes those for all errors."""

    def listed(by_alias: Mapping[str, list[str]]) -> list[dict[str, list[str]]]:
        return [{alias: others} for alias, others in by_alias.items()]

    every, long, policy = fallbacks.on_error, fallbacks.on_context_length, fallbacks.on_content_policy
    kinds = {
        "fallbacks": every,
        "context_window_fallbacks": {**every, **long} if long else {},
        "content_policy_fallbacks": {**every, **policy} if policy else {},
    }
    return {kind: listed(by_alias) for kind, by_alias in kinds.items() if by_alias}


def _redis(args: LiteLLMArgs) -> dict[str, object]:
    """The Redis that replicas share their counts through, as redis-py's arguments; empty where each pod counts alone."""
    state = args.litellm.shared_state
    if state.kind == "none":
        return {}
    if args.valkey:
        where: dict[str, object] = {"host": args.valkey.host, "port": VALKEY_PORT}
    elif state.nodes:
        where = {"redis_startup_nodes": [{"host": host, "port": port} for host, port in state.servers]}
    else:
        where = {"host": state.host, "port": state.port}
    if state.username:
        where["username"] = state.username
    if args.valkey or state.password_secret:
        where["password"] = f"os.environ/{REDIS_PASSWORD}"
    if state.tls in ("verify-ca", "verify-full"):
        where |= {
            "ssl": True,  # its asynchronous client takes ssl: false for TLS, too
            "ssl_cert_reqs": "required",
            # redis-py's default is another one in each of its last versions.
            "ssl_check_hostname": state.tls == "verify-full",
            **({"ssl_ca_certs": f"{AUTHORITIES}/{REDIS_CA}"} if state.ca else {}),
        }
    return where


def route(
    model: Model, vllm_url: pulumi.Input[str] | None, replicas: int, groups: Sequence[str] = ()
) -> dict[str, object]:
    """A `model_list` entry, https://docs.litellm.ai/docs/proxy/configs; `groups` are those that it is in."""
    params: dict[str, object] = {
        # Pods share the count of a model's requests, but each compares the limit with the tokens that it counted itself.
        "tpm": model.tpm and max(1, model.tpm // replicas),
        "rpm": model.rpm,
        "weight": model.weight,
        "order": model.order,
    }
    params |= {name: f"os.environ/{variable(secret)}" for name, secret in model.secrets.items()}
    # LiteLLM counts no price of hosted_vllm's reranks. vLLM answers them as Jina AI does, whose tokens it counts.
    reranks = model.makes == "rerank"
    if model.vllm:
        params |= {
            "model": f"{'jina_ai' if reranks else 'hosted_vllm'}/{model.vllm.model}",
            "api_base": vllm_url,
            "api_key": f"os.environ/{UPSTREAM_API_KEY}",
        }
    elif model.adapter:
        params |= {
            "model": f"hosted_vllm/{model.adapter.model}",
            "api_base": vllm_url,
            "api_key": f"os.environ/{UPSTREAM_API_KEY}",
        }
    elif model.hosted:
        params |= {**model.hosted.params, "model": model.hosted.model}
    elif model.endpoint:
        provider = "jina_ai" if reranks else "openai"
        params |= {"model": f"{provider}/{model.endpoint.model}", "api_base": model.endpoint.url}
        # The client refuses to call without a key, also where the endpoint wants none.
        params.setdefault("api_key", "none")
    info: dict[str, object] = {**model.prices, **({"access_groups": groups} if groups else {})}
    if model.mode or model.makes not in modes.TEXT:
        info["mode"] = model.makes
    return {
        "model_name": model.alias,
        "litellm_params": {key: value for key, value in params.items() if value is not None},
        # Without any, LiteLLM has the prices of its own map, of every kind; with one, no other of the map counts. In
        # `litellm_params` they would also become the map's, for each other alias of the same model. It takes text for
        # numbers here: YAML 1.1 reads 5e-08, as Helm writes it, as text.
        **({"model_info": info} if info else {}),
    }
