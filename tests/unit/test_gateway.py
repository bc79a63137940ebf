"""The proxy, its models of all three kinds, and the state that replicas share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.litellm import HOOK
from tests.support.certificates import Authority
from tests.support.engine import COSTS, HOSTED, SETTINGS, Mocks, Recording, run_program

CA = Authority().pem

PROMPT_PRICES = (
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
    "input_cost_per_audio_token",
)
"""What LiteLLM would take for 0 where prompts have a cost."""
LISTED_BY_A_THIRD = {
    "input_cost_per_token": 1e-06,
    "output_cost_per_token": 2e-06,
    "cache_read_input_token_cost": pytest.approx(1e-07),
    "cache_creation_input_token_cost": pytest.approx(1.25e-06),
    "cache_creation_input_token_cost_above_1hr": 2e-06,
    "input_cost_per_audio_token": 1e-06,
    "input_cost_per_token_above_200k_tokens": pytest.approx(2e-06),
    "output_cost_per_token_above_200k_tokens": pytest.approx(3e-06),
    "cache_read_input_token_cost_above_200k_tokens": pytest.approx(2e-07),
    "cache_creation_input_token_cost_above_200k_tokens": pytest.approx(2.5e-06),
    "search_context_cost_per_query": {
        f"search_context_size_{size}": 0.01 for size in ("high", "low", "medium")
    },
}
"""claude-sonnet-4-5 where prompts cost a third of what LiteLLM knows, and completions two fifteenths."""
QWEN: Mapping[str, Any] = SETTINGS["models"][0]
CLAUDE: Mapping[str, Any] = {"alias": "claude-4", **COSTS, "tpm": 100_000, "rpm": 60, "hosted": HOSTED}
IGW = {"url": "http://igw.models.svc/v1", "model": "llama-3.1"}
LLAMA: Mapping[str, Any] = {"alias": "llama", **COSTS, "endpoint": IGW}
PROD: Mapping[str, Any] = {
    "models": [QWEN, CLAUDE, LLAMA],
    "litellm": {"replicas": 2, "sharedState": {"kind": "valkey"}},
}
WAITS: Mapping[str, Any] = {
    "stream_timeout": 120,
    "num_retries": 2,
    "retry_policy": {"TimeoutErrorRetries": 0},
    "disable_cooldowns": True,
    "enable_weighted_failover": True,
}
OPEN = "/health/liveliness"
CLOSED = "/health/readiness"


def values(recording: Recording, release: str) -> Any:
    return recording.one("Release", f"gateway-{release}-release").inputs["values"]


def routes(recording: Recording) -> dict[str, Any]:
    models = values(recording, "litellm")["proxy_config"]["model_list"]
    return {route["model_name"]: route for route in models}


def synced(recording: Recording, secret: str) -> dict[str, str]:
    """Keys of a Secret and the ids in Secret Manager they come from."""
    data = recording.one("ExternalSecret", f"gateway-secret-sync-{secret}").inputs["spec"]["data"]
    return {entry["secretKey"]: entry["remoteRef"]["key"] for entry in data}


def names(recording: Recording, kinds: Sequence[str]) -> set[str]:
    return {name for type_, name in recording.resources if type_.split(":")[-1] in kinds}


@pytest.fixture(scope="module")
def prod() -> Recording:
    return run_program(PROD)


def test_a_model_is_routed_to_where_it_is_served_at_its_costs(prod: Recording) -> None:
    told = {alias: route["model_info"] for alias, route in routes(prod).items()}
    assert told == {
        "qwen-local": {
            **{"input_cost_per_token": 5e-08, "output_cost_per_token": 2e-07},
            **dict.fromkeys(PROMPT_PRICES, 5e-08),
        },
        "claude-4": LISTED_BY_A_THIRD,
        "llama": {
            **{"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
            **dict.fromkeys(PROMPT_PRICES, 1e-06),
        },
    }
    params = {alias: route["litellm_params"] for alias, route in routes(prod).items()}
    assert params == {
        "qwen-local": {
            "model": "hosted_vllm/Qwen/Qwen2.5-0.5B-Instruct",
            "api_base": "http://vllm-router-service.vllm.svc.cluster.local/v1",
            "api_key": "os.environ/UPSTREAM_API_KEY",
        },
        "claude-4": {
            "model": "anthropic/claude-sonnet-4-5",
            "api_key": "os.environ/SECRET_ANTHROPIC_API_KEY",
            "tpm": 50_000,  # of 100,000, the share of one of two pods
            "rpm": 60,
        },
        "llama": {
            "model": "openai/llama-3.1",
            "api_base": "http://igw.models.svc/v1",
            "api_key": "none",
        },
    }


def test_limits_of_a_model_are_enforced(prod: Recording, program: Recording) -> None:
    router = values(prod, "litellm")["proxy_config"]["router_settings"]
    assert router["optional_pre_call_checks"] == ["enforce_model_rate_limits"]
    assert values(program, "litellm")["proxy_config"]["router_settings"] == WAITS


def test_records_are_deleted_and_connections_bounded() -> None:
    busy = {"spendLogRetention": "7d", "requestsPerDay": 100_000_000}
    recording = run_program({"litellm": busy, "postgres": {"storageSize": "5Ti"}})
    assert values(recording, "litellm")["envVars"]["SPEND_LOG_RUN_LOOPS"] == "1388"
    general = values(recording, "litellm")["proxy_config"]["general_settings"]
    assert general["maximum_spend_logs_retention_period"] == "7d"
    assert general["maximum_spend_logs_cleanup_cron"] == "*/10 * * * *"
    assert general["database_connection_pool_limit"] == 10


def test_the_admin_ui_is_off(program: Recording) -> None:
    variables = values(program, "litellm")["envVars"]
    assert {variables[name] for name in ("DISABLE_ADMIN_UI", "NO_DOCS", "NO_REDOC", "NO_OPENAPI")} == {"True"}


def test_how_long_a_request_is_held_and_repeated_is_the_settings() -> None:
    recording = run_program({"litellm": {"requestTimeout": 900, "streamTimeout": 300, "retries": 0}})
    config = values(recording, "litellm")["proxy_config"]
    waits = {**WAITS, "stream_timeout": 300, "num_retries": 0}
    assert config["router_settings"] == waits
    assert config["litellm_settings"]["request_timeout"] == 900


def test_an_upstreams_key_is_only_referenced(prod: Recording) -> None:
    assert "gateway-secrets-anthropic-api-key" not in names(
        prod, ["Secret", "SecretVersion", "RandomPassword"]
    )
    access = prod.one("SecretIamMember", "gateway-secrets-anthropic-api-key-reader")
    external_secret = prod.one("ExternalSecret", "gateway-secret-sync-litellm-secrets")
    assert access.urn in prod.direct_dependencies(external_secret)
    assert synced(prod, "litellm-secrets") == {
        "PROXY_MASTER_KEY": "litellm-master-key",
        "LITELLM_SALT_KEY": "litellm-salt-key",
        "UPSTREAM_API_KEY": "vllm-api-key",
        "REDIS_PASSWORD": "litellm-redis-password",
        "SECRET_ANTHROPIC_API_KEY": "anthropic-api-key",
    }


def test_an_upstreams_key_may_be_of_one_version() -> None:
    """A preview shows another one, and pods restart with it; the newest arrives unseen, in pods that start later."""

    def claude(alias: str, version: str) -> dict[str, Any]:
        secret = {"apiKeySecret": f"anthropic-api-key{version}"}
        return {"alias": alias, **COSTS, "hosted": HOSTED | secret}

    models = [claude("pinned", "/versions/3"), claude("other", "/versions/4"), claude("newest", "")]
    google = Mocks(versions=[("anthropic-api-key", "3"), ("anthropic-api-key", "4")])
    recording = run_program({"models": models}, google)
    assert len([n for n in names(recording, ["SecretIamMember"]) if "anthropic" in n]) == 1
    spec = recording.one("ExternalSecret", "gateway-secret-sync-litellm-secrets").inputs["spec"]
    read = [entry["remoteRef"] for entry in spec["data"] if entry["secretKey"].startswith("SECRET_")]
    assert {reference["key"] for reference in read} == {"anthropic-api-key"}
    assert {reference["version"] for reference in read} == {"3", "4", "latest"}
    annotations = values(recording, "litellm")["podAnnotations"]
    assert "anthropic-api-key=3" in annotations["llm-gateway/litellm-secrets"].split(",")

    with pytest.raises(
        pulumi.RunError, match=r"anthropic-api-key/versions/5, and example-llm-dev has no such"
    ):
        run_program({"models": [claude("pinned", "/versions/5")]}, google)


def test_models_may_share_a_key() -> None:
    other = {**LLAMA, "endpoint": {**IGW, "apiKeySecret": "anthropic-api-key"}}
    recording = run_program({"models": [CLAUDE, other]})
    for alias in ("llama", "claude-4"):
        key = routes(recording)[alias]["litellm_params"]["api_key"]
        assert key == "os.environ/SECRET_ANTHROPIC_API_KEY"
    assert synced(recording, "litellm-secrets")["SECRET_ANTHROPIC_API_KEY"] == "anthropic-api-key"


def test_vertex_ai_is_asked_as_an_account_of_the_proxys_own() -> None:
    def gemini(alias: str, project: str) -> dict[str, Any]:
        params = {"vertex_project": project, "vertex_location": "europe-west4"}
        return {"alias": alias, "hosted": {"model": "vertex_ai/gemini-2.5-pro", "params": params}}

    projects = ["example-ai", "example-ai", "other-ai"]
    recording = run_program({"models": [gemini(f"gemini-{n}", of) for n, of in enumerate(projects)]})
    account = "litellm-europe-west4-platform-dev"
    assert recording.one("ServiceAccount", "gateway-litellm-account").inputs["metadata"]["name"] == account
    assert values(recording, "litellm")["serviceAccount"] == {"create": False, "name": account}
    grants = sorted(recording.all("IAMMember"), key=lambda grant: grant.inputs["project"])
    pool = "projects/123456789012/locations/global/workloadIdentityPools/example-llm-dev.svc.id.goog"
    member = f"principal://iam.googleapis.com/{pool}/subject/ns/llm-gateway/sa/{account}"
    assert [grant.inputs for grant in grants] == [
        {"project": project, "role": "roles/aiplatform.user", "member": member}
        for project in ("example-ai", "other-ai")
    ]
    waited = recording.direct_dependencies(recording.one("Release", "gateway-litellm-release"))
    assert {grant.urn for grant in grants} <= waited


def test_a_proxy_that_logs_in_nowhere_has_no_rights_at_google(prod: Recording) -> None:
    assert not prod.all("IAMMember")
    assert prod.one("ServiceAccount", "gateway-litellm-account").inputs["metadata"]["name"] == "litellm"


def test_litellms_own_settings_stand_beside_the_stacks() -> None:
    litellm = {
        "generalSettings": {"max_request_size_mb": 20},
        "routerSettings": {"enable_pre_call_checks": True},
        "litellmSettings": {"drop_params": True, "s3_callback_params": {"s3_region_name": "os.environ/A"}},
        "environment": {"A": "b", "LANGFUSE_HOST": "https://langfuse.example.com"},
        "secretEnvironment": {"LANGFUSE_SECRET_KEY": "langfuse-key"},
    }
    own, more = (values(run_program({"litellm": each}), "litellm") for each in ({}, litellm))
    for section, added in (
        ("general_settings", litellm["generalSettings"]),
        ("router_settings", litellm["routerSettings"]),
        ("litellm_settings", litellm["litellmSettings"]),
    ):
        assert more["proxy_config"][section] == own["proxy_config"][section] | added
    assert more["envVars"] == own["envVars"] | litellm["environment"]


def test_the_proxys_secret_variables_come_from_secret_manager() -> None:
    recording = run_program({"litellm": {"secretEnvironment": {"LANGFUSE_SECRET_KEY": "langfuse-key"}}})
    assert synced(recording, "litellm-secrets")["LANGFUSE_SECRET_KEY"] == "langfuse-key"
    assert recording.one("SecretIamMember", "gateway-secrets-langfuse-key-reader")
    assert "LANGFUSE_SECRET_KEY" not in values(recording, "litellm")["envVars"]


def test_engines_have_their_environment_and_start_once_its_secrets_are_there() -> None:
    environment = {
        "environment": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        "secretEnvironment": {"AWS_KEY": "weights-key"},
    }
    recording = run_program({"models": [{**QWEN, "vllm": {**QWEN["vllm"], **environment}}]})
    (engine,) = values(recording, "vllm")["servingEngineSpec"]["modelSpec"]
    reference = {"name": "vllm-environment", "key": "SECRET_WEIGHTS_KEY"}
    assert engine["env"] == [
        {"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"},
        {"name": "AWS_KEY", "valueFrom": {"secretKeyRef": reference}},
    ]
    assert synced(recording, "vllm-environment") == {"SECRET_WEIGHTS_KEY": "weights-key"}
    assert "llm-gateway/vllm-environment" in engine["podAnnotations"]
    gate = recording.one("ConfigMap", "gateway-secret-sync-vllm-environment-synced")
    assert gate.urn in recording.direct_dependencies(recording.one("Release", "gateway-vllm-release"))


def test_secrets_whose_ids_look_alike_have_variables_of_their_own() -> None:
    ids = ["a-key", "a_key", "A-key", "A_KEY"]
    models = [{**LLAMA, "alias": secret, "endpoint": {**IGW, "apiKeySecret": secret}} for secret in ids]
    keys = synced(run_program({"models": models}), "litellm-secrets")
    assert sorted(keys.values()) == sorted([*ids, "litellm-master-key", "litellm-salt-key"])


def test_a_providers_parameters_and_secrets_reach_litellm() -> None:
    bedrock = {
        "model": "bedrock/claude",
        "params": {"aws_region_name": "eu-central-1", "temperature": 0.2},
        "secretParams": {"aws_access_key_id": "key-id", "aws_secret_access_key": "key"},
    }
    recording = run_program({"models": [{"alias": "claude", **COSTS, "hosted": bedrock}]})
    assert routes(recording)["claude"]["litellm_params"] == {
        "model": "bedrock/claude",
        "aws_region_name": "eu-central-1",
        "temperature": 0.2,
        "aws_access_key_id": "os.environ/SECRET_KEY_ID",
        "aws_secret_access_key": "os.environ/SECRET_KEY",
    }
    keys = synced(recording, "litellm-secrets")
    assert (keys["SECRET_KEY_ID"], keys["SECRET_KEY"]) == ("key-id", "key")


@pytest.mark.parametrize(("serve", "path"), [(True, OPEN), (False, CLOSED)])
def test_readiness_agrees_with_serving_without_a_database(serve: bool, path: str) -> None:
    litellm = values(run_program({"litellm": {"serveWithoutDatabase": serve}}), "litellm")
    assert litellm["proxy_config"]["general_settings"]["allow_requests_on_db_unavailable"] is serve
    assert litellm["readinessProbe"] == {"path": path}
    assert litellm["startupProbe"]["path"] == path


def test_replicas_are_spread_and_disrupted_one_at_a_time(prod: Recording, program: Recording) -> None:
    litellm = values(prod, "litellm")
    assert litellm["replicaCount"] == 2
    (budget,) = [item for item in litellm["extraResources"] if item["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["maxUnavailable"] == 1
    # tests/rehearsal/test_gateway.py asks the controller.
    assert budget["spec"]["selector"]["matchExpressions"][0]["operator"] == "DoesNotExist"
    assert [
        (rule["topologyKey"], rule["whenUnsatisfiable"]) for rule in litellm["topologySpreadConstraints"]
    ] == [("kubernetes.io/hostname", "DoNotSchedule"), ("topology.kubernetes.io/zone", "ScheduleAnyway")]
    alone = values(program, "litellm")
    assert "topologySpreadConstraints" not in alone
    assert [item["kind"] for item in alone["extraResources"]] == ["ConfigMap"]


def test_no_rollout_goes_below_the_replicas(prod: Recording) -> None:
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    assert values(prod, "litellm")["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_a_pod_that_ends_serves_until_nobody_asks_it(program: Recording) -> None:
    assert values(program, "litellm")["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


def test_the_proxy_runs_what_keeps_its_spend(program: Recording) -> None:
    litellm = values(program, "litellm")
    (code,), (volume,), (mount,) = (litellm[key] for key in ("extraResources", "volumes", "volumeMounts"))
    (module,) = (Path(file).stem for file in code["data"])
    assert code["data"][f"{module}.py"] == HOOK.read_text()
    assert litellm["envVars"]["LITELLM_WORKER_STARTUP_HOOKS"] == f"{module}:install"
    assert volume["configMap"]["name"] == code["metadata"]["name"]
    assert (volume["name"], mount["mountPath"]) == (mount["name"], litellm["envVars"]["PYTHONPATH"])
    assert litellm["podAnnotations"]["llm-gateway/hooks"] in hashlib.sha256(HOOK.read_bytes()).hexdigest()


def test_counts_are_shared_through_valkey_and_no_answer_is_cached(prod: Recording) -> None:
    config = values(prod, "litellm")["proxy_config"]
    host, password = "valkey.llm-gateway.svc.cluster.local", "os.environ/REDIS_PASSWORD"
    checks = ["enforce_model_rate_limits"]
    assert config["router_settings"] == {**WAITS, "optional_pre_call_checks": checks}
    cache = {"type": "redis", "supported_call_types": [], "host": host, "port": 6379, "password": password}
    assert config["litellm_settings"] == {"request_timeout": 600, "cache": True, "cache_params": cache}


def test_valkey_keeps_nothing_and_asks_for_its_password(prod: Recording) -> None:
    server = prod.one("Deployment", "gateway-valkey-server").inputs
    assert server["spec"]["strategy"] == {"type": "Recreate"}
    (container,) = server["spec"]["template"]["spec"]["containers"]
    shell, _, script = container["command"]
    assert (shell, container.get("args")) == ("sh", None)
    assert script.startswith("exec valkey-server --save '' --appendonly no ")
    assert '\nrequirepass "$REDIS_PASSWORD"\n' in script
    key = {"name": "litellm-secrets", "key": "REDIS_PASSWORD"}
    assert container["env"] == [{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": key}}]
    assert server["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["image"].startswith("valkey/valkey:")


def test_another_version_of_its_password_restarts_valkey_and_no_other_secret_does(prod: Recording) -> None:
    """A pod reads the password when it starts: proxies with another one would be refused by a pod with the old."""
    server = prod.one("Deployment", "gateway-valkey-server")
    pod = server.inputs["spec"]["template"]["metadata"]
    assert pod["annotations"] == {"llm-gateway/password-version": "3"}
    versions = {version.urn for version in prod.all("SecretVersion")}
    password = prod.one("SecretVersion", "gateway-secrets-litellm-redis-password")
    assert prod.direct_dependencies(server) & versions == {password.urn}


def redis(**state: Any) -> tuple[Recording, dict[str, Any]]:
    """A run with an existing Redis, and what LiteLLM is told of it."""
    recording = run_program({"litellm": {"replicas": 2, "sharedState": {"kind": "redis", **state}}})
    told = values(recording, "litellm")["proxy_config"]["litellm_settings"]["cache_params"]
    return recording, {
        key: value for key, value in told.items() if key not in ("type", "supported_call_types")
    }


def test_a_redis_elsewhere_is_used_as_it_is() -> None:
    recording, told = redis(host="10.0.0.3", port=6390, passwordSecret="redis-password", username="litellm")
    assert told == {
        "host": "10.0.0.3",
        "port": 6390,
        "username": "litellm",
        "password": "os.environ/REDIS_PASSWORD",
    }
    assert synced(recording, "litellm-secrets")["REDIS_PASSWORD"] == "redis-password"
    assert not names(recording, ["Deployment"])
    assert "gateway-secrets-litellm-redis-password" not in names(recording, ["Secret"])
    assert "gateway-litellm-authorities" not in names(recording, ["ConfigMap"])


def test_a_redis_without_a_password_is_asked_for_none() -> None:
    _, told = redis(host="10.0.0.3")
    assert told == {"host": "10.0.0.3", "port": 6379}


def test_a_redis_with_tls_is_believed_by_its_authority() -> None:
    recording, told = redis(host="10.0.0.3", port=6378, tls="verify-ca", ca=CA)
    tls = {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": False}
    file = "/etc/llm-gateway-authorities/redis.pem"
    assert told == {"host": "10.0.0.3", "port": 6378, **tls, "ssl_ca_certs": file}
    made = recording.one("ConfigMap", "gateway-litellm-authorities")
    assert made.inputs["data"] == {"redis.pem": CA}
    release = recording.one("Release", "gateway-litellm-release")
    assert made.urn in recording.direct_dependencies(release)
    litellm = release.inputs["values"]
    # The hooks are optional, for the migration; what TLS needs is not.
    assert litellm["volumes"][1] == {"name": "authorities", "configMap": {"name": "litellm-authorities"}}
    assert litellm["volumeMounts"][1]["mountPath"] == str(Path(file).parent)
    assert litellm["podAnnotations"]["llm-gateway/redis.pem"] == hashlib.sha256(CA.encode()).hexdigest()[:16]


def test_a_redis_with_a_name_needs_no_authority_of_its_own() -> None:
    recording, told = redis(host="redis.example.com", tls="verify-full")
    assert told == {
        "host": "redis.example.com",
        "port": 6379,
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }
    assert "gateway-litellm-authorities" not in names(recording, ["ConfigMap"])


def test_plain_text_is_said_by_no_key() -> None:
    """LiteLLM's asynchronous client takes `ssl: false` for TLS."""
    assert redis(host="10.0.0.3", port=6380, tls="none")[1] == {"host": "10.0.0.3", "port": 6380}


def test_a_redis_cluster_is_known_by_its_nodes() -> None:
    nodes = ["redis.redis.svc.cluster.local:6379", "10.0.0.5:6380"]
    _, told = redis(nodes=nodes, tls="none", nodeAddresses=["10.0.0.0/24"])
    assert told == {
        "redis_startup_nodes": [
            {"host": "redis.redis.svc.cluster.local", "port": 6379},
            {"host": "10.0.0.5", "port": 6380},
        ]
    }


def test_without_a_self_hosted_model_there_is_neither_vllm_nor_a_gpu() -> None:
    recording = run_program({"models": [CLAUDE]})
    assert not names(recording, ["NodePool", "Vllm", "GpuNodePool"])
    assert "gateway-vllm-release" not in names(recording, ["Release"])
    assert "gateway-secrets-vllm-api-key" not in names(recording, ["Secret"])
    assert "gateway-secret-sync-vllm-api-key" not in names(recording, ["ExternalSecret"])
    assert "UPSTREAM_API_KEY" not in synced(recording, "litellm-secrets")
    assert list(routes(recording)) == ["claude-4"]
    assert recording.outputs["gpuNodePool"] == ""
    assert "vllmApiKey" not in recording.outputs["secretNames"]


def engine(alias: str = "qwen-local", /, **changes: Any) -> tuple[Recording, dict[str, Any]]:
    """A run with one self-hosted model so changed, and that model in vLLM's values."""
    model = {**QWEN, "alias": alias, "vllm": {**QWEN["vllm"], **changes}}
    pool = {"machineType": "g2-standard-24", "acceleratorCount": 2}
    recording = run_program({"models": [model], "gpuPool": pool})
    (spec,) = values(recording, "vllm")["servingEngineSpec"]["modelSpec"]
    return recording, spec


def test_a_model_without_replicas_asks_for_no_volume() -> None:
    recording, spec = engine(replicas=0, cache="disk")
    assert spec["replicaCount"] == 0
    assert "pvcStorage" not in spec
    assert "qwen-local" in routes(recording)


def test_weights_are_kept_where_every_engine_can_have_them() -> None:
    """By default no volume ties a model to one zone, or its second engine to the node of the first."""
    _, spec = engine(replicas=2)
    assert spec["pvcStorage"] == {"emptyDir": {"sizeLimit": "20Gi"}}
    assert spec.keys().isdisjoint({"pvcAccessMode", "storageClass"})
    _, spec = engine(cache="disk")
    assert (spec["pvcStorage"], spec["pvcAccessMode"]) == ("20Gi", ["ReadWriteOnce"])
    assert "storageClass" not in spec
    _, spec = engine(cache="shared", cacheSize="1Ti", cacheStorageClass="standard-rwx", replicas=2)
    assert (spec["pvcStorage"], spec["pvcAccessMode"]) == ("1Ti", ["ReadWriteMany"])
    assert spec["storageClass"] == "standard-rwx"


def test_an_engine_gets_its_arguments() -> None:
    _, spec = engine(gpus=2, extraArgs=["--kv-cache-dtype", "fp8"], revision="main")
    assert spec["requestGPU"] == spec["vllmConfig"]["tensorParallelSize"] == 2
    assert spec["vllmConfig"]["extraArgs"] == ["--kv-cache-dtype", "fp8"]
    assert spec["modelRevision"] == "main"


@pytest.mark.parametrize(
    "words",
    [
        ["--max-num-batched-tokens", "16k", "--max_num_seqs=64", "--no-enable-prefix-caching"],
        ["-q", "awq", "-O3", "-O", "2", "--enforce-eager"],
        ["--compilation_config.mode", "3", "-cc.pass_config.fuse_norm=true", "--hf-overrides", "{}"],
        ["--limit-mm-per-prompt", '{"image": 2}', "--kv-transfer-config", '{"cpu_bytes_to_use": 80m}'],
        ["--kv-offloading-size", "None", "--gpu-mem", ".9", "--lora-target-modules", "a", "b"],
        [
            "--enable-auto-tool-choice",
            "--tool-call-parser",
            "hermes",
            "--middleware",
            "a.b",
            "--middleware",
            "c.d",
        ],
    ],
)
def test_what_vllms_parser_takes_passes(words: list[str]) -> None:
    assert engine(extraArgs=words)[1]["vllmConfig"]["extraArgs"] == words


def test_a_gated_model_gets_its_token() -> None:
    recording, spec = engine(huggingFaceToken="hf-token")
    assert spec["hf_token"] == {"secretName": "hugging-face-tokens", "secretKey": "qwen-local"}
    assert synced(recording, "hugging-face-tokens") == {"qwen-local": "hf-token"}
    gate = recording.one("ConfigMap", "gateway-secret-sync-hugging-face-tokens-synced")
    assert gate.urn in recording.direct_dependencies(recording.one("Release", "gateway-vllm-release"))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("gpt-4.1", "gpt-4-1"),
        ("openai/gpt-4o", "openai-gpt-4o"),
        ("Claude-Sonnet", "claude-sonnet"),
        ("qwen2.5:7b", "qwen2-5-7b"),
        ("4o-mini", "4o-mini"),
        ("a_b-", "a-b"),
    ],
)
def test_litellm_has_the_alias_and_vllms_objects_a_name_of_it(alias: str, name: str) -> None:
    recording, spec = engine(alias, huggingFaceToken="hf-token")
    assert [*routes(recording)] == recording.outputs["modelAliases"] == [alias]
    assert (spec["name"], spec["hf_token"]["secretKey"]) == (name, name)
    assert synced(recording, "hugging-face-tokens") == {name: "hf-token"}


def test_a_name_of_ones_own_is_vllms_alone() -> None:
    recording, spec = engine("Qwen2.5:7b", name="q" * 43)
    assert (spec["name"], [*routes(recording)]) == ("q" * 43, ["Qwen2.5:7b"])


def test_protect_covers_the_pool(program: Recording) -> None:
    pool = run_program({"protect": True}).one("NodePool", "gateway-gpu-pool-nodes")
    assert pool.request.protect is True
    assert pool.inputs["deletionPolicy"] == "PREVENT"
    assert program.one("NodePool", "gateway-gpu-pool-nodes").request.protect is False
    assert program.one("NodePool", "gateway-gpu-pool-nodes").inputs["deletionPolicy"] == "DELETE"


def test_nodes_come_from_a_reservation_only_if_there_is_one(program: Recording) -> None:
    reserved = run_program({"gpuPool": {"reservation": "l4-west"}}).one("NodePool", "gateway-gpu-pool-nodes")
    assert reserved.inputs["nodeConfig"]["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["l4-west"],
    }
    assert "reservationAffinity" not in program.one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]


def test_a_pool_starts_empty_whatever_its_bounds() -> None:
    recording = run_program({"gpuPool": {"minNodes": 1, "maxNodes": 2}})
    pool = recording.one("NodePool", "gateway-gpu-pool-nodes").inputs
    assert pool["initialNodeCount"] == 0
    assert pool["autoscaling"]["totalMinNodeCount"] == 1


def test_a_model_that_litellm_knows_has_litellms_own_prices() -> None:
    hosted = {"model": "openai/gpt-4o", "apiKeySecret": "openai-key"}
    known = run_program({"models": [{"alias": "gpt", "hosted": hosted}]})
    assert "model_info" not in routes(known)["gpt"]


def test_a_known_model_gets_the_prices_that_litellm_would_take_for_nothing() -> None:
    """The map of 1.89.2 has no price of what claude-sonnet-4-5 caches for an hour."""
    hosted = {"model": "anthropic/claude-sonnet-4-5", "apiKeySecret": "anthropic-key"}
    known = run_program({"models": [{"alias": "claude", "hosted": hosted}]})
    told = routes(known)["claude"]["model_info"]
    assert told["cache_creation_input_token_cost_above_1hr"] == pytest.approx(6e-06)
    assert told["cache_creation_input_token_cost"] == pytest.approx(3.75e-06)


def test_what_is_not_sold_by_the_token_is_not_told_as_free() -> None:
    """Where prompts and completions cost 0, LiteLLM lets a request pass every budget."""
    whisper = {"url": "http://whisper.models.svc/v1", "model": "whisper"}
    rerank = {"model": "cohere/rerank-v3.5", "apiKeySecret": "cohere-key"}
    told = routes(
        run_program(
            {
                "models": [
                    {"alias": "whisper", "otherCosts": {"audioSecond": 0.0001}, "endpoint": whisper},
                    {"alias": "rerank", "otherCosts": {"rerank": 0.001}, "hosted": rerank},
                ]
            }
        )
    )
    assert told["whisper"]["model_info"] == {
        "input_cost_per_second": 0.0001,
        "output_cost_per_second": 0.0001,
        "mode": "audio_transcription",
    }
    assert told["rerank"]["model_info"] == {
        "input_cost_per_second": 0.0,
        "input_cost_per_query": 0.001,
        "mode": "rerank",
    }


def test_what_needs_no_api_server_has_no_token_for_it(program: Recording) -> None:
    accounts = {
        program.one("ServiceAccount", f"gateway-{part}-account").inputs["metadata"]["name"]: program.one(
            "ServiceAccount", f"gateway-{part}-account"
        ).inputs["automountServiceAccountToken"]
        for part in ("litellm", "vllm")
    }
    assert accounts == {"litellm": False, "vllm-engine": False}
    litellm = program.one("Release", "gateway-litellm-release").inputs["values"]
    # With an account of the chart's making, the migration, which is a hook, would run as `default`.
    assert litellm["serviceAccount"] == {"create": False, "name": "litellm"}
    (engine,) = program.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"][
        "modelSpec"
    ]
    assert engine["serviceAccountName"] == "vllm-engine"
