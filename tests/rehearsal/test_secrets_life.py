"""A secret's life: rotated, adopted, and kept when the stack's state is lost. Each by real `up`s."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.support.driver import Sandbox

SECRETS = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
PROTECTED: dict[str, Any] = {"llm-gateway:protect": True}

LITELLM_SECRETS = {
    ("ExternalSecret", "gateway-secret-sync-litellm-secrets"),
    ("ConfigMap", "gateway-secret-sync-litellm-secrets-synced"),
    ("Release", "gateway-litellm-release"),
}
ROTATED = {
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
"""The secret whose value a generation makes anew, and what is updated by that."""


def made_anew(secret: str) -> set[tuple[str, str]]:
    """The Secret's annotation names the generation."""
    return {(kind, f"gateway-secrets-{secret}") for kind in ("RandomPassword", "Secret", "SecretVersion")}


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


def cluster(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.namespaced("clusters", "llm-gateway", "litellm-pg", group="postgresql.cnpg.io/v1")


def test_rotation_of_all_values_at_once(own_dev: Sandbox) -> None:
    own_dev.up(config=PROTECTED).succeeded()
    config = PROTECTED | {"llm-gateway:secrets": dict.fromkeys(ROTATED, 2)}
    rotated = {secret for secret, _ in ROTATED.values()}
    before, generation = values(own_dev), cluster(own_dev)["metadata"]["generation"]
    litellm, vllm, database = (
        pods(own_dev, *workload) for workload in (LITELLM_PODS, VLLM_PODS, DATABASE_PODS)
    )
    expected: set[tuple[str, str]] = set()
    for key, (secret, readers) in ROTATED.items():
        one = PROTECTED | {"llm-gateway:secrets": {key: 2}}
        own_dev.run("preview", config=one).succeeded()
        assert own_dev.changed("preview").keys() == made_anew(secret) | readers, secret
        expected |= made_anew(secret) | readers
    assert values(own_dev) == before

    own_dev.up(config=config).succeeded()
    assert own_dev.changed("up").keys() == expected
    order = [(step.op, step.type.rpartition(":")[2], step.name) for step in own_dev.steps("up")]
    for secret, gate in (
        ("litellm-master-key", "litellm-secrets"),
        ("litellm-db-password", "litellm-pg-app"),
    ):
        version = ("SecretVersion", f"gateway-secrets-{secret}")
        # The new version is read before the old one is disabled.
        made = order.index(("create-replacement", *version))
        proven = order.index(("update", "ConfigMap", f"gateway-secret-sync-{gate}-synced"))
        rolled = order.index(("update", "Release", "gateway-litellm-release"))
        disabled = order.index(("delete-replaced", *version))
        assert made < proven < rolled < disabled
    after = values(own_dev)
    assert {secret for secret in SECRETS if after[secret] != before[secret]} == rotated
    assert in_cluster(own_dev) == after
    assert database_role(own_dev)["password"] == after["litellm-db-password"]
    assert {tuple(state_of(own_dev, secret)) for secret in rotated} == {("DISABLED", "ENABLED")}
    assert not pods(own_dev, *LITELLM_PODS).keys() & litellm.keys()
    assert not pods(own_dev, *VLLM_PODS).keys() & vllm.keys()
    assert pods(own_dev, *DATABASE_PODS) == database
    assert cluster(own_dev)["metadata"]["generation"] == generation

    own_dev.up(config=config).succeeded()
    assert own_dev.changed("up") == {}


def state_of(sandbox: Sandbox, secret: str) -> list[str]:
    """State of each version, oldest first."""
    rows = sandbox.cloud.list("secretVersion", f"projects/{sandbox.project}/secrets/{secret}/versions/")
    return [row["state"] for row in rows]


def test_the_master_key_alone_is_rotated_and_ready_from_the_sync_before_is_not_taken_for_done(
    own_dev: Sandbox,
) -> None:
    def operators(replicas: int) -> None:
        scale = ("kubectl", "--namespace", "external-secrets", "scale", "deployment", "external-secrets")
        own_dev.run("exec", "--", *scale, f"--replicas={replicas}").succeeded()

    rotated = {"llm-gateway:secrets": {"masterKeyGeneration": 2}}
    own_dev.run("start").succeeded()
    before = values(own_dev)
    litellm, vllm = pods(own_dev, *LITELLM_PODS), pods(own_dev, *VLLM_PODS)
    operators(0)
    text = own_dev.up(config=rotated | {"llm-gateway:timeouts": {"secretSync": 10}}).failed().text
    assert "ExternalSecret llm-gateway/litellm-secrets was not synced within 10 s" in text
    assert "litellm-secrets: no pod of the External Secrets operator is ready" in text
    assert pods(own_dev, *LITELLM_PODS) == litellm
    assert state_of(own_dev, "litellm-master-key") == ["ENABLED", "ENABLED"]

    operators(1)
    own_dev.up(config=rotated).succeeded()
    assert ("Release", "gateway-vllm-release") not in own_dev.changed("up")
    assert in_cluster(own_dev) == values(own_dev)
    changed = {secret for secret in SECRETS if values(own_dev)[secret] != before[secret]}
    assert changed == {"litellm-master-key"}
    assert state_of(own_dev, "litellm-master-key") == ["DISABLED", "ENABLED"]
    assert pods(own_dev, *VLLM_PODS) == vllm


def test_tear_down_leaves_the_salt(own_dev: Sandbox) -> None:
    salt = own_dev.secret("litellm-salt-key")
    own_dev.up().succeeded()  # destroy goes by the state, where the fork's API server has its origin's address
    own_dev.run("destroy").failed()
    own_dev.run("exec", "--", "pulumi", "state", "unprotect", "--all", "--yes").succeeded()
    own_dev.run("destroy").succeeded()
    assert own_dev.secret("litellm-salt-key") == salt
    left = {row["name"].rpartition("/")[2] for row in own_dev.cloud.list("secret")}
    assert left == {"litellm-salt-key"}

    # The way back needs no setting: the stack finds its own salt, and makes the others anew.
    own_dev.run("up").succeeded()
    assert {row["version"] for row in own_dev.cloud.list("secretVersion") if "salt" in row["name"]} == {"1"}
    assert in_cluster(own_dev) == values(own_dev)
    assert own_dev.secret("litellm-salt-key") == salt


def salt_versions(sandbox: Sandbox) -> dict[str, str]:
    """Payload of each version of the salt's Secret, by number."""
    rows = sandbox.cloud.list(
        "secretVersion", f"projects/{sandbox.project}/secrets/litellm-salt-key/versions/"
    )
    return {row["version"]: base64.b64decode(row["payload"]).decode() for row in rows}


def test_the_salt_that_pods_read_stays_whatever_the_settings_and_the_state_say(own_dev: Sandbox) -> None:
    own_dev.run("start").succeeded()
    salt = own_dev.secret("litellm-salt-key")
    own_dev.cloud.add_secret_version(f"projects/{own_dev.project}/secrets/litellm-salt-key", b"another value")

    raised = {"llm-gateway:secrets": {"adopt": {"saltKey": 2}}}
    assert "Write saltKey: 1." in own_dev.up(config=raised).failed().text
    own_dev.up(config={"llm-gateway:secrets": {"adopt": {"saltKey": 1}}}).succeeded()
    assert own_dev.changed("up") == {}
    moved = {
        "llm-gateway:gcp": {"project": "example-llm-other"},
        "llm-gateway:cluster": {
            "name": "platform-dev",
            "location": "europe-west4",
            "project": own_dev.project,
        },
        "llm-gateway:protect": False,
    }
    for name in ("gateway-fixed-settings", "gateway-settings-final"):  # what would refuse it first
        (urn,) = [
            resource["urn"] for resource in own_dev.resources() if resource["urn"].endswith(f"::{name}")
        ]
        own_dev.run("exec", "--", "pulumi", "state", "delete", "--yes", urn).succeeded()
    for settings in (moved, {"llm-gateway:secrets": {"prefix": "eu-"}}):
        text = own_dev.run("preview", config=settings).failed().text
        assert "The salt of this stack is example-llm-dev" in text

    assert salt_versions(own_dev) == {"1": salt, "2": "another value"}
    assert in_cluster(own_dev)["litellm-salt-key"] == salt


def test_a_disabled_salt_is_named(own_dev: Sandbox) -> None:
    own_dev.up().succeeded()  # refresh goes by the state, where the fork's API server has its origin's address
    name = f"projects/{own_dev.project}/secrets/litellm-salt-key/versions/1"
    own_dev.cloud.change("secretVersion", name, state="DISABLED")
    own_dev.run("refresh").succeeded()
    assert (
        "gcloud secrets versions enable 1 --secret litellm-salt-key" in own_dev.run("preview").failed().text
    )
    own_dev.cloud.change("secretVersion", name, state="ENABLED")
    own_dev.run("refresh").succeeded()
    own_dev.up().succeeded()


ADOPT = {"masterKey": 2, "saltKey": 1, "databasePassword": 1, "vllmApiKey": 1}


def test_adoption(empty: Sandbox) -> None:
    existing = {
        "litellm-master-key": ["sk-given-up", "sk-made-by-other-means"],
        "litellm-salt-key": ["a salt of any form"],
        "litellm-db-password": ["made-elsewhere"],
        "vllm-api-key": ["another-key"],
    }
    for secret, payloads in existing.items():
        name = f"projects/{empty.project}/secrets/{secret}"
        replicas = {"replicas": [{"location": "europe-west1"}]}
        empty.cloud.create(
            "secret",
            name,
            {
                "name": name,
                "project": empty.project,
                "secretId": secret,
                "labels": {"made-by": "terraform"},
                "annotations": {"llm-gateway-owner": "llm-gateway/dev"}
                | ({"llm-gateway-salt-version": "1"} if "salt" in secret else {}),
                "replication": {"userManaged": replicas},
            },
        )
        for payload in payloads:
            empty.cloud.add_secret_version(name, payload.encode())
    kept = {secret: payloads[-1] for secret, payloads in existing.items()}
    rows = stored(empty)
    config = {
        "llm-gateway:protect": True,
        "llm-gateway:secrets": {"adopt": ADOPT},
        "llm-gateway:virtualKeys": [],
    }

    empty.run("preview", config=config).succeeded()
    previewed = {
        (step.type.rpartition(":")[2], step.op)
        for step in empty.steps("preview")
        if step.name.removeprefix("gateway-secrets-") in SECRETS
    }
    assert previewed == {("Secret", "import"), ("SecretVersion", "import")}
    assert not {step.op for step in empty.steps("preview")} & {"replace", "create-replacement", "delete"}

    empty.up(config=config).succeeded()
    assert in_cluster(empty) == kept
    assert database_role(empty)["password"] == kept["litellm-db-password"]
    assert stored(empty) == rows
    empty.up(config=config).succeeded()
    assert empty.changed("up") == {}
    state = json.dumps(empty.export())
    assert not [value for value in kept.values() if value in state]

    # A value that was adopted rotates like one that was made; what was made elsewhere is left as it is.
    adopt = {key: version for key, version in ADOPT.items() if key != "masterKey"}
    rotated = {**config, "llm-gateway:secrets": {"adopt": adopt, "masterKeyGeneration": 2}}
    empty.up(config=rotated).succeeded()
    assert in_cluster(empty) == values(empty)
    assert {secret for secret in SECRETS if values(empty)[secret] != kept[secret]} == {"litellm-master-key"}
    now = {row["name"]: row for row in stored(empty)}
    taken_over = f"projects/{empty.project}/secrets/litellm-master-key"
    for row in rows:
        # The Secret that the stack now manages gets the provider's label, and says the generation of its value.
        kept_keys = {*row} - {"labels", "annotations"} if row["name"] == taken_over else {*row}
        assert {key: now[row["name"]][key] for key in kept_keys} == {key: row[key] for key in kept_keys}


def stored(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What Secret Manager holds."""
    return [*sandbox.cloud.list("secret"), *sandbox.cloud.list("secretVersion")]


def test_lost_state(own_dev: Sandbox) -> None:
    protect: dict[str, Any] = {"llm-gateway:protect": True}
    own_dev.up(config=protect).succeeded()
    kept, role, rows = values(own_dev), database_role(own_dev), stored(own_dev)
    claims = volumes(own_dev)
    database, litellm = pods(own_dev, *DATABASE_PODS), pods(own_dev, *LITELLM_PODS)
    own_dev.home.checkpoint(own_dev.stack).unlink()

    versions = dict.fromkeys(ADOPT, 1)
    key = {"name": "search-app", "team": "search", "budget": 20, "rpm": 600, "adopt": 1}
    protect["llm-gateway:virtualKeys"] = [key]
    adopted = {**protect, "llm-gateway:secrets": {"adopt": versions}}
    recover = {**adopted, "llm-gateway:recover": True}
    text = own_dev.up(config=recover).failed().text
    assert "llm-gpu" in text
    assert "gateway-gpu-pool-nodes" in text
    assert "python -m tools.mend" in text
    own_dev.mend()
    own_dev.up(config=recover).succeeded()
    assert not {step.op for step in own_dev.steps("up")} & {"replace", "create-replacement", "delete"}

    assert values(own_dev) == kept == in_cluster(own_dev)
    assert database_role(own_dev) == role
    assert stored(own_dev) == rows
    assert volumes(own_dev) == claims
    assert pods(own_dev, *DATABASE_PODS) == database
    assert pods(own_dev, *LITELLM_PODS) == litellm
    proxy = own_dev.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    assert proxy["status"]["readyReplicas"] == 1

    own_dev.up(config=adopted).succeeded()
    assert own_dev.changed("up") == {}
    del versions["databasePassword"]
    rotated = {**protect, "llm-gateway:secrets": {"adopt": versions, "databasePasswordGeneration": 2}}
    own_dev.up(config=rotated).succeeded()
    assert database_role(own_dev)["password"] == own_dev.secret("litellm-db-password") != role["password"]


def volumes(sandbox: Sandbox) -> dict[str, str]:
    """Name to uid of the database's claims."""
    claims = sandbox.namespaced("persistentvolumeclaims", "llm-gateway")["items"]
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in claims}
