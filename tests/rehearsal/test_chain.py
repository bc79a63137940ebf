"""Three stacks in one sandbox: the cluster's, the gateway's on that cluster, and a consumer's of that gateway."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from sandbox.paths import REPOSITORY
from tests.support.driver import PROJECT, UNCHANGED, Result, Sandbox

IN_CHAIN = yaml.safe_load((REPOSITORY / "examples/gateway.yaml").read_text())
NODE_LABEL = "cloud.google.com/gke-nodepool"
WEBHOOK = ("cnpg-webhook-service", "cnpg-system")
PROBE = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Cluster",
    "metadata": {"name": "probe"},
    "spec": {"instances": 1, "storage": {"size": "1Gi"}},
}


@dataclass(frozen=True)
class Chain:
    """The programs in the order in which they are run."""

    cluster: Sandbox
    gateway: Sandbox
    consumer: Sandbox
    too_early: Result
    """A preview of the consumer while there was no gateway."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder: Path = tmp_path_factory.mktemp("chain")
    cluster, gateway = Sandbox(folder, example="cluster"), Sandbox(folder)
    consumer = Sandbox(folder, example="consumer")
    try:
        too_early = consumer.run("preview")
        cluster.run("up").succeeded()
        gateway.run("up", config=IN_CHAIN).succeeded()
        consumer.run("up").succeeded()
        yield Chain(cluster, gateway, consumer, too_early)
    finally:
        cluster.run("down").succeeded()


def test_outputs_flow_down_the_chain(chain: Chain) -> None:
    made, gateway = chain.cluster.outputs(), chain.gateway.outputs()
    assert made == {
        "clusterName": "gateway-dev",
        "clusterLocation": "europe-west4",
        "clusterProject": PROJECT,
        "nodeServiceAccount": f"gateway-dev-nodes@{PROJECT}.iam.gserviceaccount.com",
    }
    assert gateway["cluster"] == {"name": "gateway-dev", "location": "europe-west4", "project": PROJECT}
    (row,) = chain.cluster.cloud.list("cluster")
    assert row["name"] == f"projects/{PROJECT}/locations/europe-west4/clusters/gateway-dev"
    pools = {node["metadata"]["labels"][NODE_LABEL] for node in chain.cluster.get("/api/v1/nodes")["items"]}
    assert pools == {"cpu", "llm-gpu"}


def test_the_consumer_runs_with_its_virtual_key(chain: Chain) -> None:
    secret = chain.consumer.namespaced("secrets", "search", "caller-key")
    assert base64.b64decode(secret["data"]["key"]).decode() == chain.gateway.secret("litellm-key-search-app")
    (pod,) = chain.consumer.namespaced("pods", "search")["items"]
    assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}["Ready"] == "True"
    (container,) = pod["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["URL"] == f"{chain.gateway.outputs()['gatewayUrl']}/v1/chat/completions"
    assert json.loads(environment["REQUEST"])["model"] in chain.gateway.outputs()["modelAliases"]
    assert chain.gateway.secret("litellm-key-search-app") not in json.dumps(chain.consumer.export())


def test_second_ups_change_nothing(chain: Chain) -> None:
    for program, settings in ((chain.cluster, {}), (chain.gateway, IN_CHAIN), (chain.consumer, {})):
        program.run("up", config=settings).succeeded()
        assert {step.op for step in program.steps("up")} <= UNCHANGED, program.home.project


def test_a_missing_stack_or_output_is_named(chain: Chain) -> None:
    assert 'unknown stack "organization/llm-gateway/dev"' in chain.too_early.failed().text
    wrong = {"llm-gateway-consumer:gateway": "organization/llm-gateway-cluster/dev"}
    text = chain.consumer.run("preview", config=wrong).failed().text
    assert (
        "llm-gateway-consumer:gateway: the stack organization/llm-gateway-cluster/dev has no output" in text
    )
    undeclared = {"llm-gateway-consumer:virtualKey": "chat"}
    text = chain.consumer.run("preview", config=undeclared).failed().text
    assert "has no virtual key 'chat'" in text


def test_a_webhook_is_reached_where_the_firewall_lets_the_control_plane_in(chain: Chain) -> None:
    api = config.new_client_from_config(str(chain.cluster.home.kubeconfig))
    listens_on(api, 9443)
    assert "reach port 9443" in (refusal(api) or "")
    chain.cluster.run("up", config={"llm-gateway-cluster:webhookPorts": [9443, 10250]}).succeeded()
    assert refusal(api) is None
    listens_on(api, "webhook-server")
    assert refusal(api) is None


def listens_on(api: Any, port: int | str) -> None:
    """Have the operator's Service lead to another port of its pods."""
    ports = [{"port": 443, "targetPort": port}]
    client.CoreV1Api(api).patch_namespaced_service(*WEBHOOK, {"spec": {"ports": ports}})


def refusal(api: Any) -> str | None:
    """Why the API server does not admit a database; None where it does. Nothing is made."""
    try:
        client.CustomObjectsApi(api).create_namespaced_custom_object(
            "postgresql.cnpg.io", "v1", "default", "clusters", PROBE, dry_run="All"
        )
    except client.ApiException as error:
        return str(error.body)
    return None


def test_destroyed_in_reverse_order(chain: Chain) -> None:
    protected = {"llm-gateway-cluster:deletionProtection": True}
    chain.cluster.run("up", config=protected).succeeded()
    assert "protected" in chain.cluster.run("destroy").failed().text
    assert {row["pool"] for row in chain.cluster.cloud.list("nodePool")} == {"cpu", "llm-gpu"}

    chain.consumer.run("destroy").succeeded()
    chain.gateway.run("exec", "--", "pulumi", "state", "unprotect", "--all", "--yes").succeeded()
    chain.gateway.run("destroy").succeeded()
    assert {row["pool"] for row in chain.cluster.cloud.list("nodePool")} == {"cpu"}

    chain.cluster.run("up").succeeded()
    chain.cluster.run("destroy").succeeded()
    left = ("cluster", "nodePool", "network", "subnetwork", "router", "firewall", "serviceAccount")
    assert [row for kind in left for row in chain.cluster.cloud.list(kind)] == []
