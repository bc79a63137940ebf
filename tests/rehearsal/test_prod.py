"""A real `up` of the prod stack, and a stack that goes from dev's settings to prod's and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.driver import UNCHANGED, Result, Sandbox
from tests.support.edges import PROD_EDGES, Edge

GATEWAY = "llm-gateway"
SECRETS = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
DATA = {
    "random:index/randomBytes:RandomBytes",
    "gcp:secretmanager/secret:Secret",
    "gcp:secretmanager/secretVersion:SecretVersion",
    "gcp:storage/bucket:Bucket",
    "kubernetes:postgresql.cnpg.io/v1:Cluster",
    "kubernetes:core/v1:PersistentVolumeClaim",
}
"""Types of what cannot be had back once it is gone."""


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox in which the prod stack is up."""
    sandbox = Sandbox(tmp_path_factory.mktemp("prod"), stack="prod")
    sandbox.run("up").succeeded()
    yield sandbox
    sandbox.run("down").succeeded()


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
    assert cluster["spec"]["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "preferred",
    }


def test_two_proxies_are_apart_and_fail_closed(prod: Sandbox) -> None:
    proxies = [
        pod for pod in pods(prod, app_kubernetes_io__name="litellm") if pod["status"]["phase"] == "Running"
    ]
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
    namespaces = prod.export()["checkpoint"]["latest"]["resources"][0]["outputs"]["namespaces"]
    for namespace in namespaces.values():
        policies = prod.namespaced("networkpolicies", namespace, group="networking.k8s.io/v1")["items"]
        assert any(policy["spec"]["podSelector"] == {} for policy in policies), namespace


def test_pool_keeps_a_node_and_never_surges(prod: Sandbox) -> None:
    (pool,) = [row for row in prod.cloud.list("nodePool") if row["name"].endswith("/llm-gpu")]
    assert pool["spec"]["autoscaling"]["totalMinNodeCount"] == 1
    upgrade = pool["spec"]["upgradeSettings"]
    assert (upgrade["maxSurge"], upgrade["maxUnavailable"]) == (0, 1)


@pytest.mark.parametrize("edge", PROD_EDGES, ids=str)
def test_edge_is_kept_by_the_engine(prod: Sandbox, edge: Edge) -> None:
    assert prod.kept(edge)


def test_second_up_changes_nothing(prod: Sandbox) -> None:
    prod.run("up").succeeded()
    assert {step.op for step in prod.steps("up")} <= UNCHANGED


def test_destroy_is_refused(prod: Sandbox) -> None:
    """Database, secrets and node pool are protected, each on its own."""
    prod.run("destroy").failed()
    protected = {
        resource["urn"].split("::")[-1]
        for resource in prod.export()["checkpoint"]["latest"]["resources"]
        if resource.get("protect")
    }
    secrets = {f"gateway-secrets-{secret}" for secret in SECRETS}
    assert {"gateway-postgres-cluster", "gateway-gpu-pool-nodes"} | secrets <= protected
    assert len(pods(prod, cnpg_io__cluster="litellm-pg")) == 3


LEFT_OUT_OF_DEV = {"gateway-secrets-litellm-redis-password", "gateway-secrets-litellm-key-support-bot"}


def take(sandbox: Sandbox, stack: str, allow: str = "", **changes: Any) -> Result:
    """Bring the stack to the settings of another one, on its own cluster, and let go what `allow` names."""
    own = yaml.safe_load((sandbox.root / "Pulumi.dev.yaml").read_text())["config"]
    config = yaml.safe_load((sandbox.root / f"Pulumi.{stack}.yaml").read_text())["config"]
    # A stack that is not named so is not production: its GPU pool scales to zero.
    config.get("llm-gateway:gpuPool", {}).update(minNodes=0)
    kept = {f"llm-gateway:{key}": own[f"llm-gateway:{key}"] for key in ("gcp", "cluster")}
    changed = {f"llm-gateway:{key}": value for key, value in changes.items()}
    (sandbox.root / "Pulumi.swap.yaml").write_text(yaml.safe_dump({"config": config | kept | changed}))
    return sandbox.run("up", "--allow", allow)


def gone(sandbox: Sandbox) -> set[tuple[str, str]]:
    """What the last `up` deleted or replaced, by type and name."""
    steps = sandbox.steps("up")
    return {(step.type, step.name) for step in steps if "delete" in step.op or "replace" in step.op}


def test_dev_to_prod_and_back_keeps_all_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    sandbox = Sandbox(tmp_path_factory.mktemp("swap"), stack="swap")
    try:
        take(sandbox, "dev").succeeded()
        before = {secret: sandbox.secret(secret) for secret in SECRETS}
        claim = sandbox.namespaced("persistentvolumeclaims", GATEWAY, "litellm-pg-1")["metadata"]["uid"]
        database = sandbox.namespaced("clusters", GATEWAY, "litellm-pg", group="postgresql.cnpg.io/v1")

        take(sandbox, "prod").succeeded()
        assert not {each for each in gone(sandbox) if each[0] in DATA}
        assert len(pods(sandbox, cnpg_io__cluster="litellm-pg")) == 3

        # What prod protects and dev has not must be let go first.
        assert "protected" in take(sandbox, "dev").failed().text
        take(sandbox, "prod", protect=False).succeeded()
        assert gone(sandbox) == set()
        assert "guard: gateway-backups-bucket" in take(sandbox, "dev").failed().text
        allowed = [*LEFT_OUT_OF_DEV, "gateway-backups-bucket", "gateway-backups-object-store"]
        take(sandbox, "dev", " ".join(allowed)).succeeded()
        # The bucket leaves the state only.
        lost = {name for kind, name in gone(sandbox) if kind in DATA}
        assert lost == {*LEFT_OUT_OF_DEV, "gateway-backups-bucket"}
        assert sandbox.cloud.list("bucket")

        assert {secret: sandbox.secret(secret) for secret in SECRETS} == before
        after = sandbox.namespaced("clusters", GATEWAY, "litellm-pg", group="postgresql.cnpg.io/v1")
        assert after["metadata"]["uid"] == database["metadata"]["uid"]
        assert after["status"]["readyInstances"] == 1
        left = pods(sandbox, cnpg_io__cluster="litellm-pg")
        assert [pod["metadata"]["name"] for pod in left] == ["litellm-pg-1"]
        kept = sandbox.namespaced("persistentvolumeclaims", GATEWAY, "litellm-pg-1")["metadata"]["uid"]
        assert kept == claim
    finally:
        sandbox.run("down").succeeded()
