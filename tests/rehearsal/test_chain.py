"""Three stacks in one sandbox: the cluster's, the gateway's on that cluster, and a consumer's of that gateway."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from sandbox.paths import REPOSITORY
from tests.support.driver import PROJECT, Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.waiting import wait_for

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

    @classmethod
    def make(cls, sandboxes: Sandboxes, folder: Path, fork: Chain | None = None) -> Chain:
        """The programs in one folder, with nothing deployed or over a copy of a stopped chain's home."""
        cluster = sandboxes.new(folder, fork and fork.cluster, example="cluster")
        return cls(cluster, sandboxes.new(folder), sandboxes.new(folder, example="consumer"))


@pytest.fixture(scope="module")
def stopped(sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """All three up, and stopped; before that, a preview of the consumer said what it misses."""
    chain = Chain.make(sandboxes, tmp_path_factory.mktemp("chain"))
    try:
        assert 'unknown stack "organization/llm-gateway/dev"' in chain.consumer.run("preview").failed().text
        chain.cluster.up().succeeded()
        chain.gateway.up(config=IN_CHAIN).succeeded()
        chain.consumer.up().succeeded()
    finally:
        chain.cluster.run("down").succeeded()
    return chain


@contextmanager
def forked(sandboxes: Sandboxes, factory: pytest.TempPathFactory, stopped: Chain) -> Generator[Chain]:
    chain = Chain.make(sandboxes, factory.mktemp("chain"), stopped)
    try:
        chain.cluster.run("start").succeeded()
        yield chain
    finally:
        chain.cluster.run("down").succeeded()


@pytest.fixture(scope="module")
def chain(sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory, stopped: Chain) -> Iterator[Chain]:
    with forked(sandboxes, tmp_path_factory, stopped) as made:
        yield made


@pytest.fixture
def own_chain(
    sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory, stopped: Chain
) -> Iterator[Chain]:
    with forked(sandboxes, tmp_path_factory, stopped) as made:
        yield made


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
    assert {condition["type"]: condition["status"] for condition in pod["status"]["conditions"]}[
        "Ready"
    ] == "True"
    (container,) = pod["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["URL"] == f"{chain.gateway.outputs()['gatewayUrl']}/v1/chat/completions"
    assert json.loads(environment["REQUEST"])["model"] in chain.gateway.outputs()["modelAliases"]
    assert chain.gateway.secret("litellm-key-search-app") not in json.dumps(chain.consumer.export())


@pytest.mark.parametrize("secret", ["litellm-master-key", "litellm-salt-key", "litellm-db-password"])
def test_the_consumers_namespace_reads_its_key_and_nothing_else(chain: Chain, secret: str) -> None:
    """Neither by the gateway's store, nor by its own, nor by one that names no credentials."""
    spec = {"provider": {"gcpsm": {"projectID": PROJECT}}}
    gateways = "is not allowed from namespace"
    assert gateways in asked(chain, secret, {"kind": "ClusterSecretStore", "name": "gcp-secret-manager"})
    denied = "code = PermissionDenied"
    assert denied in asked(chain, secret, {"kind": "SecretStore", "name": "virtual-keys"})
    store = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "bare"}}
    with made(chain, "secretstores", {**store, "spec": spec}):
        assert denied in asked(chain, secret, {"kind": "SecretStore", "name": "bare"})


@contextmanager
def made(chain: Chain, plural: str, item: dict[str, Any]) -> Generator[client.CustomObjectsApi]:
    """An object of External Secrets in the consumer's namespace while the block runs."""
    api = client.CustomObjectsApi(config.new_client_from_config(str(chain.cluster.home.kubeconfig)))
    where = ("external-secrets.io", "v1", "search", plural)
    api.create_namespaced_custom_object(*where, item)
    try:
        yield api
    finally:
        api.delete_namespaced_custom_object(*where, item["metadata"]["name"])


def asked(chain: Chain, secret: str, store: dict[str, str]) -> str:
    """What the operator says to an ExternalSecret in the consumer's namespace that asks for a secret."""
    name = f"{store['name']}-{secret}"
    data = [{"secretKey": "value", "remoteRef": {"key": secret}}]
    item = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {"secretStoreRef": store, "target": {"name": name}, "data": data},
    }

    def said() -> list[str]:
        events = chain.cluster.namespaced("events", "search")["items"]
        failed = [event for event in events if event["reason"] == "UpdateFailed"]
        return [event["message"] for event in failed if event["involvedObject"]["name"] == name]

    with made(chain, "externalsecrets", item):
        return wait_for(said)[0]


def test_second_ups_change_nothing(chain: Chain) -> None:
    for program, settings in ((chain.cluster, {}), (chain.gateway, IN_CHAIN), (chain.consumer, {})):
        program.up(config=settings).succeeded()
        assert program.changed("up") == {}, program.home.project


def test_a_missing_output_is_named(chain: Chain) -> None:
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
    chain.cluster.up(config={"llm-gateway-cluster:webhookPorts": [9443, 10250]}).succeeded()
    assert refusal(api) is None
    listens_on(api, "webhook-server")
    assert refusal(api) is None
    chain.cluster.up().succeeded()  # as it was


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


def test_destroyed_in_reverse_order(own_chain: Chain) -> None:
    protected = {"llm-gateway-cluster:deletionProtection": True}
    own_chain.cluster.up(config=protected).succeeded()
    assert "protected" in own_chain.cluster.run("destroy").failed().text
    assert {row["pool"] for row in own_chain.cluster.cloud.list("nodePool")} == {"cpu", "llm-gpu"}

    # Destroy goes by the state, where the fork's API server has its origin's address.
    own_chain.gateway.up(config=IN_CHAIN).succeeded()
    own_chain.consumer.up().succeeded()
    own_chain.consumer.run("destroy").succeeded()
    own_chain.gateway.run("exec", "--", "pulumi", "state", "unprotect", "--all", "--yes").succeeded()
    own_chain.gateway.run("destroy").succeeded()
    assert {row["pool"] for row in own_chain.cluster.cloud.list("nodePool")} == {"cpu"}

    own_chain.cluster.up().succeeded()
    own_chain.cluster.run("destroy").succeeded()
    left = ("cluster", "nodePool", "network", "subnetwork", "router", "firewall", "serviceAccount")
    assert [row for kind in left for row in own_chain.cluster.cloud.list(kind)] == []
