"""A real `up` of the prod stack, and the dev stack that goes to prod's settings and back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml

from tests.support.driver import Sandbox
from tests.support.edges import PROD_EDGES, VALKEY_EDGES, Edge
from tests.support.sandboxes import Sandboxes

GATEWAY = "llm-gateway"
SECRETS = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
DATA = {
    "random:index/randomPassword:RandomPassword",
    "gcp:secretmanager/secret:Secret",
    "gcp:secretmanager/secretVersion:SecretVersion",
    "gcp:storage/bucket:Bucket",
    "kubernetes:postgresql.cnpg.io/v1:Cluster",
    "kubernetes:core/v1:PersistentVolumeClaim",
}
"""Types of what cannot be had back once it is gone."""


def pods(sandbox: Sandbox, **labels: str) -> list[dict[str, Any]]:
    """The gateway's pods with these labels (`_` for the `.` and `/` that a keyword cannot have)."""
    wanted = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    every = sandbox.namespaced("pods", GATEWAY)["items"]
    return [pod for pod in every if wanted.items() <= pod["metadata"].get("labels", {}).items()]


def zones(sandbox: Sandbox, found: list[dict[str, Any]]) -> Counter[str]:
    nodes = [sandbox.get(f"/api/v1/nodes/{pod['spec']['nodeName']}") for pod in found]
    return Counter(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes)


def test_three_instances_are_in_three_zones(prod: Sandbox) -> None:
    instances = pods(prod, cnpg_io__cluster="litellm-pg")
    assert [pod["status"]["phase"] for pod in instances] == ["Running"] * 3
    assert len(zones(prod, instances)) == 3
    cluster = prod.namespaced("clusters", GATEWAY, "litellm-pg", group="postgresql.cnpg.io/v1")
    assert cluster["status"]["readyInstances"] == 3
    synchronous = {"method": "any", "number": 1, "dataDurability": "preferred"}
    assert cluster["spec"]["postgresql"]["synchronous"] == synchronous


def test_two_proxies_are_apart_and_fail_closed(prod: Sandbox) -> None:
    proxies = prod.running(GATEWAY, "litellm")
    assert len({pod["spec"]["nodeName"] for pod in proxies}) == len(proxies) == 2
    assert len(zones(prod, proxies)) == 2
    probe = proxies[0]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
    assert probe == "/health/readiness"


def test_disruptions_leave_some_of_each(prod: Sandbox) -> None:
    budgets = prod.namespaced("poddisruptionbudgets", GATEWAY, group="policy/v1")["items"]
    selected = [budget["spec"]["selector"]["matchLabels"] for budget in budgets]
    assert any("cnpg.io/cluster" in labels for labels in selected)
    assert any(labels.get("app.kubernetes.io/name") == "litellm" for labels in selected)


def test_every_namespace_denies_what_it_does_not_allow(prod: Sandbox) -> None:
    namespaces = prod.outputs()["namespaces"]
    for namespace in namespaces.values():
        policies = prod.namespaced("networkpolicies", namespace, group="networking.k8s.io/v1")["items"]
        assert any(policy["spec"]["podSelector"] == {} for policy in policies), namespace


def test_pool_keeps_a_node_and_never_surges(prod: Sandbox) -> None:
    (pool,) = [row for row in prod.cloud.list("nodePool") if row["name"].endswith("/llm-gpu")]
    assert pool["spec"]["autoscaling"]["totalMinNodeCount"] == 1
    upgrade = pool["spec"]["upgradeSettings"]
    assert (upgrade["maxSurge"], upgrade["maxUnavailable"]) == (0, 1)


@pytest.mark.parametrize("edge", [*PROD_EDGES, *VALKEY_EDGES], ids=str)
def test_edge_is_kept_by_the_engine(sandboxes: Sandboxes, edge: Edge) -> None:
    assert sandboxes.origin("prod").kept(edge)


def test_second_up_changes_nothing(prod: Sandbox) -> None:
    prod.up().succeeded()
    assert prod.changed("up") == {}
    prod.run("refresh").succeeded()
    assert prod.changed("refresh") == {}


def test_destroy_is_refused(prod: Sandbox) -> None:
    """Database, backups, secrets and node pool are protected, each on its own."""
    before = {resource["urn"] for resource in prod.resources()}
    assert "protect" in prod.run("destroy").failed().text
    assert {resource["urn"] for resource in prod.resources()} == before
    protected = {resource["urn"].split("::")[-1] for resource in prod.resources() if resource.get("protect")}
    data = {"gateway-postgres-cluster", "gateway-backups-bucket", "gateway-gpu-pool-nodes"}
    assert data | {f"gateway-secrets-{secret}" for secret in SECRETS} <= protected
    assert len(pods(prod, cnpg_io__cluster="litellm-pg")) == 3


LEFT_OUT_OF_DEV = {"gateway-secrets-litellm-redis-password", "gateway-secrets-litellm-key-support-bot"}


def gone(sandbox: Sandbox) -> set[tuple[str, str]]:
    """What the last `up` deleted or replaced, by type and name."""
    steps = sandbox.steps("up")
    return {(step.type, step.name) for step in steps if "delete" in step.op or "replace" in step.op}


def test_dev_to_prod_and_back_keeps_all_data(own_dev: Sandbox) -> None:
    of_prod = yaml.safe_load((own_dev.root / "Pulumi.prod.yaml").read_text())["config"]
    # On dev's own cluster.
    of_prod = {key: value for key, value in of_prod.items() if key.split(":")[1] not in ("gcp", "cluster")}
    own_dev.run("start").succeeded()
    before = {secret: own_dev.secret(secret) for secret in SECRETS}
    claim = own_dev.namespaced("persistentvolumeclaims", GATEWAY, "litellm-pg-1")["metadata"]["uid"]
    database = own_dev.namespaced("clusters", GATEWAY, "litellm-pg", group="postgresql.cnpg.io/v1")

    own_dev.up(config=of_prod).succeeded()
    assert not {found for found in gone(own_dev) if found[0] in DATA}
    assert len(pods(own_dev, cnpg_io__cluster="litellm-pg")) == 3

    # What prod protects and dev has not must be let go first.
    assert "protected" in own_dev.run("up").failed().text
    own_dev.up(config=of_prod | {"llm-gateway:protect": False}).succeeded()
    assert gone(own_dev) == set()
    text = own_dev.run("up").failed().text
    assert "postgres.walStorageSize" in text
    sizes = {key: of_prod["llm-gateway:postgres"][key] for key in ("storageSize", "walStorageSize")}
    disks = {"llm-gateway:postgres": sizes}  # a volume neither shrinks nor goes
    assert "guard: gateway-backups-bucket" in own_dev.run("up", config=disks).failed().text
    allowed = " ".join([*LEFT_OUT_OF_DEV, "gateway-backups-bucket", "gateway-backups-object-store"])
    own_dev.run("up", "--allow", allowed, config=disks).succeeded()
    # The bucket and the salt's second copy leave the state only.
    copy = "gateway-secrets-example-llm-vault.llm-gateway-prod-salt-salt-copy"
    lost = {name for kind, name in gone(own_dev) if kind in DATA}
    assert lost == {*LEFT_OUT_OF_DEV, "gateway-backups-bucket", copy}
    assert own_dev.cloud.list("bucket")
    assert own_dev.cloud.list("secretVersion", "projects/example-llm-vault/")

    assert {secret: own_dev.secret(secret) for secret in SECRETS} == before
    after = own_dev.namespaced("clusters", GATEWAY, "litellm-pg", group="postgresql.cnpg.io/v1")
    assert after["metadata"]["uid"] == database["metadata"]["uid"]
    assert after["status"]["readyInstances"] == 1
    left = pods(own_dev, cnpg_io__cluster="litellm-pg")
    assert [pod["metadata"]["name"] for pod in left] == ["litellm-pg-1"]
    kept = own_dev.namespaced("persistentvolumeclaims", GATEWAY, "litellm-pg-1")["metadata"]["uid"]
    assert kept == claim
