"""A secret's life: rotated, adopted, and kept when the stack's state is lost. Each by real `up`s."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.driver import PROJECT, UNCHANGED, Sandbox

SECRETS = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
NAMESPACES = ("llm-gateway", "vllm", "cnpg-system", "external-secrets", "cert-manager")

LITELLM_SECRETS = {
    ("ExternalSecret", "gateway-secret-sync-litellm-secrets"),
    ("ConfigMap", "gateway-secret-sync-litellm-secrets-synced"),
    ("Release", "gateway-litellm-release"),
}
ROTATIONS = {
    "masterKeyGeneration": ("litellm-master-key", LITELLM_SECRETS),
    "databasePasswordGeneration": (
        "litellm-db-password",
        {
            ("ExternalSecret", "gateway-secret-sync-litellm-pg-app"),
            ("ConfigMap", "gateway-secret-sync-litellm-pg-app-synced"),
            ("Release", "gateway-litellm-release"),
        },
    ),
    "vllmApiKeyGeneration": (
        "vllm-api-key",
        {
            *LITELLM_SECRETS,
            ("ExternalSecret", "gateway-secret-sync-vllm-api-key"),
            ("ConfigMap", "gateway-secret-sync-vllm-api-key-synced"),
            ("Release", "gateway-vllm-release"),
        },
    ),
}
LATER = dict.fromkeys(ROTATIONS, 2) | {"databasePasswordGeneration": 3}
LAST = LATER | {"masterKeyGeneration": 3}


def changed(sandbox: Sandbox, operation: str) -> set[tuple[str, str]]:
    """(kind, name) of every resource that the last run of an operation did not leave alone."""
    return {
        (step.type.rpartition(":")[2], step.name)
        for step in sandbox.steps(operation)
        if step.op not in UNCHANGED and not step.type.startswith("pulumi:")
    }


def values(sandbox: Sandbox) -> dict[str, str]:
    return {secret: sandbox.secret(secret) for secret in SECRETS}


def in_cluster(sandbox: Sandbox) -> dict[str, str]:
    """The same four values as the cluster's Secrets hold them."""

    def data(namespace: str, name: str) -> dict[str, str]:
        stored = sandbox.namespaced("secrets", namespace, name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in stored.items()}

    litellm, vllm = data("llm-gateway", "litellm-secrets"), data("vllm", "vllm-api-key")
    assert litellm["UPSTREAM_API_KEY"] == vllm["api-key"]
    return {
        "litellm-master-key": litellm["PROXY_MASTER_KEY"],
        "litellm-salt-key": litellm["LITELLM_SALT_KEY"],
        "litellm-db-password": data("llm-gateway", "litellm-pg-app")["password"],
        "vllm-api-key": vllm["api-key"],
    }


def database_role(sandbox: Sandbox) -> dict[str, Any]:
    """The database's owner: the Cluster it is in and the password that it logs in with."""
    return sandbox.cloud.get("databaseRole", "llm-gateway/litellm-pg/litellm")


def pods(sandbox: Sandbox, namespace: str, label: str) -> dict[str, str]:
    """uid to name of the running pods with a label."""
    return {
        pod["metadata"]["uid"]: pod["metadata"]["name"]
        for pod in sandbox.namespaced("pods", namespace)["items"]
        if label in [f"{key}={value}" for key, value in pod["metadata"].get("labels", {}).items()]
        and "deletionTimestamp" not in pod["metadata"]
        and pod["status"]["phase"] == "Running"
    }


LITELLM_PODS = ("llm-gateway", "app.kubernetes.io/name=litellm")
VLLM_PODS = ("vllm", "model=qwen-local")
DATABASE_PODS = ("llm-gateway", "cnpg.io/cluster=litellm-pg")


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox in which the stack is up and protected, as in production."""
    sandbox = Sandbox(tmp_path_factory.mktemp("life"))
    try:
        sandbox.run("up", config={"llm-gateway:protect": True}).succeeded()
        yield sandbox
    finally:
        sandbox.run("down").succeeded()


@pytest.mark.parametrize("generation", ROTATIONS)
def test_rotation(protected: Sandbox, generation: str) -> None:
    secret, readers = ROTATIONS[generation]
    done = list(ROTATIONS)[: list(ROTATIONS).index(generation) + 1]
    config = {"llm-gateway:protect": True, "llm-gateway:secrets": dict.fromkeys(done, 2)}
    before, cluster = (
        values(protected),
        protected.namespaced("clusters", "llm-gateway", "litellm-pg", group="postgresql.cnpg.io/v1"),
    )
    litellm, vllm, database = (pods(protected, *each) for each in (LITELLM_PODS, VLLM_PODS, DATABASE_PODS))

    protected.run("preview", config=config).succeeded()
    made = f"gateway-secrets-{secret}"
    expected = {("RandomBytes", made), ("SecretVersion", made), *readers}
    assert changed(protected, "preview") == expected
    assert values(protected) == before

    protected.run("up", config=config).succeeded()
    assert changed(protected, "up") == expected
    after = values(protected)
    assert {each for each in SECRETS if after[each] != before[each]} == {secret}
    assert in_cluster(protected) == after
    assert database_role(protected)["password"] == after["litellm-db-password"]
    assert state_of(protected, secret) == ["DISABLED", "ENABLED"]
    assert not pods(protected, *LITELLM_PODS).keys() & litellm.keys()
    assert bool(pods(protected, *VLLM_PODS).keys() & vllm.keys()) is (secret != "vllm-api-key")
    assert pods(protected, *DATABASE_PODS) == database
    unchanged = protected.namespaced("clusters", "llm-gateway", "litellm-pg", group="postgresql.cnpg.io/v1")
    assert unchanged["metadata"]["generation"] == cluster["metadata"]["generation"]

    protected.run("up", config=config).succeeded()
    assert changed(protected, "up") == set()


def test_new_version_is_read_before_the_old_one_is_disabled(protected: Sandbox) -> None:
    config = {"llm-gateway:protect": True, "llm-gateway:secrets": LATER}
    protected.run("up", config=config).succeeded()
    order = [(step.op, step.type.rpartition(":")[2], step.name) for step in protected.steps("up")]
    version = ("SecretVersion", "gateway-secrets-litellm-db-password")
    made = order.index(("create-replacement", *version))
    proven = order.index(("update", "ConfigMap", "gateway-secret-sync-litellm-pg-app-synced"))
    rolled = order.index(("update", "Release", "gateway-litellm-release"))
    disabled = order.index(("delete-replaced", *version))
    assert made < proven < rolled < disabled


def state_of(sandbox: Sandbox, secret: str) -> list[str]:
    """State of each version, oldest first."""
    rows = sandbox.cloud.list("secretVersion", f"projects/{PROJECT}/secrets/{secret}/versions/")
    return [row["state"] for row in rows]


def test_ready_from_the_sync_before_is_not_taken_for_done(protected: Sandbox) -> None:
    def operators(replicas: int) -> None:
        scale = ("kubectl", "--namespace", "external-secrets", "scale", "deployment", "external-secrets")
        protected.run("exec", "--", *scale, f"--replicas={replicas}").succeeded()

    config = {
        "llm-gateway:protect": True,
        "llm-gateway:secrets": LAST,
        "llm-gateway:timeouts": {"secretSync": 30},
    }
    litellm = pods(protected, *LITELLM_PODS)
    operators(0)
    text = protected.run("up", config=config).failed().text
    assert "ExternalSecret llm-gateway/litellm-secrets was not synced within 30 s" in text
    assert pods(protected, *LITELLM_PODS) == litellm
    assert state_of(protected, "litellm-master-key") == ["DISABLED", "ENABLED", "ENABLED"]

    operators(1)
    protected.run("up", config=config).succeeded()
    assert in_cluster(protected) == values(protected)
    assert state_of(protected, "litellm-master-key") == ["DISABLED", "DISABLED", "ENABLED"]


def test_tear_down_leaves_the_salt(protected: Sandbox) -> None:
    salt = protected.secret("litellm-salt-key")
    protected.run("destroy").failed()
    protected.run("up", config={"llm-gateway:protect": False, "llm-gateway:secrets": LAST}).succeeded()
    protected.run("exec", "--", "pulumi", "state", "unprotect", "--all", "--yes").succeeded()
    protected.run("destroy").succeeded()
    assert protected.secret("litellm-salt-key") == salt
    left = {row["name"].rpartition("/")[2] for row in protected.cloud.list("secret")}
    assert left == {"litellm-salt-key"}


ADOPT = {"masterKey": 2, "saltKey": 1, "databasePassword": 1, "vllmApiKey": 1}


def test_adoption(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.run("exec", "--", "true").succeeded()
    existing = {
        "litellm-master-key": ["sk-given-up", "sk-made-by-other-means"],
        "litellm-salt-key": ["a salt of any form"],
        "litellm-db-password": ["made-elsewhere"],
        "vllm-api-key": ["another key"],
    }
    for secret, payloads in existing.items():
        name = f"projects/{PROJECT}/secrets/{secret}"
        replicas = {"replicas": [{"location": "europe-west1"}]}
        sandbox.cloud.create(
            "secret",
            name,
            {
                "name": name,
                "project": PROJECT,
                "secretId": secret,
                "labels": {"made-by": "terraform"},
                "replication": {"userManaged": replicas},
            },
        )
        for payload in payloads:
            sandbox.cloud.add_secret_version(name, payload.encode())
    kept = {secret: payloads[-1] for secret, payloads in existing.items()}
    rows = stored(sandbox)
    config = {
        "llm-gateway:protect": True,
        "llm-gateway:secrets": {"adopt": ADOPT},
        "llm-gateway:virtualKeys": [],
    }

    sandbox.run("preview", config=config).succeeded()
    previewed = {
        (step.type.rpartition(":")[2], step.op)
        for step in sandbox.steps("preview")
        if step.name.removeprefix("secrets-") in SECRETS
    }
    assert previewed == {("Secret", "import"), ("SecretVersion", "import")}
    assert not {step.op for step in sandbox.steps("preview")} & {"replace", "create-replacement", "delete"}

    sandbox.run("up", config=config).succeeded()
    assert in_cluster(sandbox) == kept
    assert database_role(sandbox)["password"] == kept["litellm-db-password"]
    assert stored(sandbox) == rows
    sandbox.run("up", config=config).succeeded()
    assert changed(sandbox, "up") == set()
    state = json.dumps(sandbox.export())
    assert not [value for value in kept.values() if value in state]

    # A value that was adopted rotates like one that was made; what was made elsewhere is left as it is.
    adopt = {key: version for key, version in ADOPT.items() if key != "masterKey"}
    rotated = {**config, "llm-gateway:secrets": {"adopt": adopt, "masterKeyGeneration": 2}}
    sandbox.run("up", config=rotated).succeeded()
    assert in_cluster(sandbox) == values(sandbox)
    assert {secret for secret in SECRETS if values(sandbox)[secret] != kept[secret]} == {"litellm-master-key"}
    assert all(row in stored(sandbox) for row in rows)


def stored(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What Secret Manager holds."""
    return [*sandbox.cloud.list("secret"), *sandbox.cloud.list("secretVersion")]


def test_lost_state(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    protect: dict[str, Any] = {"llm-gateway:protect": True}
    sandbox.run("up", config=protect).succeeded()
    kept, role, rows = values(sandbox), database_role(sandbox), stored(sandbox)
    claims = volumes(sandbox)
    database, litellm = pods(sandbox, *DATABASE_PODS), pods(sandbox, *LITELLM_PODS)
    sandbox.home.state.joinpath(".pulumi/stacks/llm-gateway/dev.json").unlink()

    for namespace in NAMESPACES:
        kubectl = ("kubectl", "--namespace", namespace, "delete", "secrets", "--selector", "owner=helm")
        sandbox.run("exec", "--", *kubectl).succeeded()
    versions = dict.fromkeys(ADOPT, 1)
    key = {"name": "search-app", "team": "search", "budget": 20, "rpm": 600, "adopt": 1}
    protect["llm-gateway:virtualKeys"] = [key]
    adopted = {**protect, "llm-gateway:secrets": {"adopt": versions}}
    recover = {**adopted, "llm-gateway:recover": True}
    text = sandbox.run("up", config=recover).failed().text
    assert "llm-gpu" in text
    assert "gateway-gpu-pool-nodes" in text
    pool = f"projects/{PROJECT}/locations/europe-west4/clusters/platform-dev/nodePools/llm-gpu"
    urn = "urn:pulumi:dev::llm-gateway::"
    parent = f"{urn}llmgateway:llm_gateway:LlmGateway$llmgateway:gpu_node_pool:GpuNodePool::gateway-gpu-pool"
    sandbox.run(
        *("exec", "--", "pulumi", "import"),
        *("gcp:container/nodePool:NodePool", "gateway-gpu-pool-nodes", pool),
        *("--parent", f"pool={parent}"),
        *("--provider", f"google={urn}pulumi:providers:gcp::google"),
        *("--protect=false", "--generate-code=false", "--yes"),
    ).succeeded()
    sandbox.run("up", config=recover).succeeded()
    assert not {step.op for step in sandbox.steps("up")} & {"replace", "create-replacement", "delete"}

    assert values(sandbox) == kept == in_cluster(sandbox)
    assert database_role(sandbox) == role
    assert stored(sandbox) == rows
    assert volumes(sandbox) == claims
    assert pods(sandbox, *DATABASE_PODS) == database
    assert pods(sandbox, *LITELLM_PODS) == litellm
    proxy = sandbox.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    assert proxy["status"]["readyReplicas"] == 1

    sandbox.run("up", config=adopted).succeeded()
    assert changed(sandbox, "up") == set()
    del versions["databasePassword"]
    rotated = {**protect, "llm-gateway:secrets": {"adopt": versions, "databasePasswordGeneration": 2}}
    sandbox.run("up", config=rotated).succeeded()
    assert database_role(sandbox)["password"] == sandbox.secret("litellm-db-password") != role["password"]


def volumes(sandbox: Sandbox) -> dict[str, str]:
    """Name to uid of the database's claims."""
    claims = sandbox.namespaced("persistentvolumeclaims", "llm-gateway")["items"]
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in claims}
