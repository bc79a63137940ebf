"""Two proxies that share their counts, models of all three kinds, and none that needs a GPU."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sandbox.google.cloud import member_name
from sandbox.google.workload_identity import principal
from settings.names import LONGEST
from tests.support.driver import Sandbox
from tests.support.edges import VALKEY_EDGES, Edge
from tests.support.engine import COSTS, HOSTED
from tests.support.sandboxes import Sandboxes
from tests.support.waiting import wait_for

NAMESPACE = "llm-gateway"

KEYS = {"anthropic-api-key": "key-of-anthropic", "igw-key": "key-of-igw"}
CLAUDE = {"alias": "Claude-Sonnet-4.5", **COSTS, "tpm": 2_000_000, "hosted": HOSTED}
IGW = {"url": "http://igw.models.svc/v1", "model": "llama-3.1", "apiKeySecret": "igw-key"}
LLAMA = {"alias": "llama", **COSTS, "endpoint": IGW}
NAME = "q" * LONGEST
QWEN = {
    "alias": "qwen",
    **COSTS,
    "vllm": {"name": NAME, "model": "Qwen/Qwen2.5-0.5B-Instruct", "replicas": 0},
}
VERTEX = {"vertex_project": "example-llm-dev", "vertex_location": "europe-west4"}
GEMINI = {"alias": "gemini", **COSTS, "hosted": {"model": "vertex_ai/gemini-2.5-pro", "params": VERTEX}}
SETTINGS: dict[str, Any] = {
    "llm-gateway:models": [CLAUDE, LLAMA, QWEN, GEMINI],
    "llm-gateway:litellm": {"replicas": 2, "serveWithoutDatabase": False, "sharedState": {"kind": "valkey"}},
}


@pytest.fixture(scope="module")
def gateway(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which the gateway is up, the upstreams' keys having been in Secret Manager before."""
    with sandboxes.forked("empty") as sandbox:
        for secret_id, value in KEYS.items():
            sandbox.make_secret(secret_id, value)
        refused = sandbox.up(config=SETTINGS).failed().text
        assert (
            "the API aiplatform.googleapis.com is not enabled in example-llm-dev, so Google would" in refused
        )
        assert not sandbox.cloud.list("secret", "projects/example-llm-dev/secrets/litellm-")
        sandbox.enable_api("aiplatform.googleapis.com")
        sandbox.up(config=SETTINGS).succeeded()
        # The first `up` in it, whose order tests ask for; a later one writes its own log.
        log = sandbox.home.event_log("dev", "up")
        log.rename(log.with_name("dev-first.jsonl"))
        yield sandbox


@pytest.mark.parametrize("edge", VALKEY_EDGES, ids=str)
def test_edge_is_kept_by_the_engine(gateway: Sandbox, edge: Edge) -> None:
    assert gateway.kept(edge, "first")


def test_proxies_are_on_different_nodes(gateway: Sandbox) -> None:
    proxies = gateway.running(NAMESPACE, "litellm")
    nodes = {pod["spec"]["nodeName"] for pod in proxies}
    assert len(proxies) == len(nodes) == 2
    zones = {
        gateway.get(f"/api/v1/nodes/{node}")["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in nodes
    }
    assert len(zones) == 2


def test_one_proxy_may_be_disrupted_at_a_time(gateway: Sandbox) -> None:
    """From the `up` on, while the migration's finished pod, which has the proxies' labels, is still there."""
    migrations = gateway.namespaced("jobs", NAMESPACE, "litellm-migrations", group="batch/v1")
    assert migrations["status"]["succeeded"] == 1

    def status() -> dict[str, Any]:
        path = ("poddisruptionbudgets", NAMESPACE, "litellm")
        return gateway.namespaced(*path, group="policy/v1")["status"]

    wait_for(lambda: status()["disruptionsAllowed"] == 1)
    assert status()["expectedPods"] == 2


def test_readiness_asks_for_the_database(gateway: Sandbox) -> None:
    (container,) = gateway.running(NAMESPACE, "litellm")[0]["spec"]["containers"]
    asked = {"readinessProbe": "readiness", "startupProbe": "readiness", "livenessProbe": "liveliness"}
    for probe, path in asked.items():
        assert container[probe]["httpGet"]["path"] == f"/health/{path}"


def test_routes_are_in_the_proxys_configuration(gateway: Sandbox) -> None:
    text = gateway.namespaced("configmaps", NAMESPACE, "litellm-config")["data"]["config.yaml"]
    config = yaml.safe_load(text)
    for route in config["model_list"]:
        # tests/litellm/test_spend.py says what the others are worth.
        assert float(route["model_info"]["input_cost_per_token"]) == COSTS["inputCostPerToken"]
        assert float(route["model_info"]["output_cost_per_token"]) == COSTS["outputCostPerToken"]
    assert {route["model_name"]: route["litellm_params"] for route in config["model_list"]} == {
        "Claude-Sonnet-4.5": {
            "model": "anthropic/claude-sonnet-4-5",
            "api_key": "os.environ/SECRET_ANTHROPIC_API_KEY",
            "tpm": 1_000_000,  # of 2,000,000, for each of two replicas
        },
        "gemini": {"model": "vertex_ai/gemini-2.5-pro", **VERTEX},
        "llama": {
            "model": "openai/llama-3.1",
            "api_base": "http://igw.models.svc/v1",
            "api_key": "os.environ/SECRET_IGW_KEY",
        },
        "qwen": {
            "model": "hosted_vllm/Qwen/Qwen2.5-0.5B-Instruct",
            "api_base": "http://vllm-router-service.vllm.svc.cluster.local/v1",
            "api_key": "os.environ/UPSTREAM_API_KEY",
        },
    }
    assert config["general_settings"]["allow_requests_on_db_unavailable"] is False
    assert config["litellm_settings"]["cache_params"]["supported_call_types"] == []
    assert not any(value in text for value in KEYS.values())


def test_the_proxy_may_ask_vertex_ai_as_its_own_account(gateway: Sandbox) -> None:
    deployment = gateway.namespaced("deployments", NAMESPACE, "litellm", group="apps/v1")
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    member = principal(gateway.cloud, NAMESPACE, account)
    gateway.cloud.get(
        "projectIamMember", member_name("projects/example-llm-dev", "roles/aiplatform.user", member)
    )


def test_upstreams_keys_reach_the_proxy(gateway: Sandbox) -> None:
    data = gateway.namespaced("secrets", NAMESPACE, "litellm-secrets")["data"]
    values = {key: base64.b64decode(value).decode() for key, value in data.items()}
    assert values["SECRET_ANTHROPIC_API_KEY"] == KEYS["anthropic-api-key"]
    assert values["SECRET_IGW_KEY"] == KEYS["igw-key"]
    assert values["REDIS_PASSWORD"] == gateway.secret("litellm-redis-password")


def test_valkey_answers_where_the_proxy_looks_for_it(gateway: Sandbox) -> None:
    (pod,) = gateway.running(NAMESPACE, "valkey")
    service = gateway.namespaced("services", NAMESPACE, "valkey")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["ports"][0]["port"] == 6379


def test_a_model_without_replicas_costs_no_gpu_and_no_volume(gateway: Sandbox) -> None:
    engine = gateway.namespaced("deployments", "vllm", f"vllm-{NAME}-deployment-vllm", group="apps/v1")
    assert engine["spec"]["replicas"] == 0
    nodes = [node["metadata"]["labels"] for node in gateway.get("/api/v1/nodes")["items"]]
    assert nodes
    assert "llm-gpu" not in {labels.get("cloud.google.com/gke-nodepool") for labels in nodes}
    assert gateway.namespaced("persistentvolumeclaims", "vllm")["items"] == []


def test_the_longest_name_is_the_longest_that_the_api_server_takes(gateway: Sandbox) -> None:
    service = f"vllm-{NAME}-engine-service"
    assert gateway.namespaced("services", "vllm", service)["spec"]["selector"]["model"] == NAME
    assert len(service) == 63


def test_second_up_changes_nothing(gateway: Sandbox) -> None:
    gateway.up(config=SETTINGS).succeeded()
    assert gateway.changed("up") == {}


def test_the_last_self_hosted_model_takes_vllm_and_the_pool_with_it(gateway: Sandbox) -> None:
    settings = SETTINGS | {"llm-gateway:models": [CLAUDE, LLAMA]}
    gateway.up(config=settings).succeeded()
    kept = {resource["type"].split(":")[-1] for resource in gateway.resources()}
    assert not kept & {"NodePool", "Vllm", "GpuNodePool"}
    assert gateway.namespaced("deployments", "vllm", group="apps/v1")["items"] == []
    assert "UPSTREAM_API_KEY" not in gateway.namespaced("secrets", NAMESPACE, "litellm-secrets")["data"]
    assert len(gateway.running(NAMESPACE, "litellm")) == 2
    gateway.up(config=SETTINGS).succeeded()  # as it was
