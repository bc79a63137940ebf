"""A real `up` of the dev stack, and what a stranger would check of it."""

from __future__ import annotations

import base64

import pytest

from sandbox.cluster import control_plane
from tests.support import leaks
from tests.support.driver import Sandbox
from tests.support.edges import EDGES, TENANT_EDGES, Edge
from tests.support.waiting import wait_for
from tests.support.watcher import Watcher

GENERATED = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")


def secret_data(sandbox: Sandbox, namespace: str, name: str) -> dict[str, str]:
    data = sandbox.namespaced("secrets", namespace, name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_up_ends_with_a_table_of_components_and_outputs(first_up: Sandbox) -> None:
    text = first_up.root.parent.joinpath("up.txt").read_text()
    for component in ("gpu-pool", "secrets", "external-secrets", "cnpg", "postgres", "litellm", "vllm"):
        line = next(line for line in text.splitlines() if line.startswith(f"│ gateway-{component} "))
        assert "ready" in line, line
    assert "http://litellm.llm-gateway.svc.cluster.local:4000" in text


@pytest.mark.parametrize("edge", [*EDGES, *TENANT_EDGES], ids=str)
def test_edge_is_kept_by_the_engine(first_up: Sandbox, edge: Edge) -> None:
    assert first_up.kept(edge)


def test_secrets_in_the_cluster_hold_what_secret_manager_holds(dev: Sandbox) -> None:
    assert secret_data(dev, "llm-gateway", "litellm-secrets") == {
        "PROXY_MASTER_KEY": dev.secret("litellm-master-key"),
        "LITELLM_SALT_KEY": dev.secret("litellm-salt-key"),
        "UPSTREAM_API_KEY": dev.secret("vllm-api-key"),
    }
    assert secret_data(dev, "vllm", "vllm-api-key") == {"api-key": dev.secret("vllm-api-key")}
    assert secret_data(dev, "llm-gateway", "litellm-pg-app") == {
        "username": "litellm",
        "password": dev.secret("litellm-db-password"),
    }
    assert dev.namespaced("secrets", "llm-gateway", "litellm-pg-app")["type"] == "kubernetes.io/basic-auth"
    assert dev.secret("litellm-master-key").startswith("sk-")
    assert [len(dev.secret(secret)) for secret in GENERATED] == [36, 43, 33, 33]
    assert all(dev.secret(secret).removeprefix("sk-").isalnum() for secret in GENERATED)


def test_vllm_sits_on_the_gpu_node(dev: Sandbox) -> None:
    pods = dev.namespaced("pods", "vllm")["items"]
    (engine,) = [pod for pod in pods if pod["metadata"]["labels"].get("model") == "qwen-local"]
    assert engine["status"]["phase"] == "Running"
    node = dev.get(f"/api/v1/nodes/{engine['spec']['nodeName']}")
    assert node["metadata"]["labels"]["cloud.google.com/gke-nodepool"] == "llm-gpu"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"} in node["spec"]["taints"]


def test_migration_completed_before_the_proxy_was_made(watcher: Watcher) -> None:
    jobs = watcher.revisions("Job", "litellm-migrations")
    completed = [
        revision
        for revision, job in jobs
        if any(c["type"] == "Complete" and c["status"] == "True" for c in job["status"].get("conditions", []))
    ]
    proxy = watcher.revisions("Deployment", "litellm")
    assert completed, "the migration Job was never seen complete"
    assert completed[0] < proxy[0][0]


def test_database_is_the_one_litellm_connects_to(dev: Sandbox) -> None:
    cluster = dev.namespaced("clusters", "llm-gateway", "litellm-pg", group="postgresql.cnpg.io/v1")
    assert cluster["status"]["phase"] == "Cluster in healthy state"
    proxy = dev.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    env = {entry["name"]: entry for entry in proxy["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DATABASE_HOST"]["value"] == "litellm-pg-rw.llm-gateway.svc.cluster.local"
    password = {"name": "litellm-pg-app", "key": "password"}
    assert env["DATABASE_PASSWORD"]["valueFrom"]["secretKeyRef"] == password
    assert dev.namespaced("services", "llm-gateway", "litellm-pg-rw")["spec"]["ports"][0]["port"] == 5432
    used = dev.cloud.get("databaseRole", "llm-gateway/litellm-pg/litellm")["password"]
    assert used == dev.secret("litellm-db-password")


def test_a_pod_whose_secret_is_missing_does_not_start(dev: Sandbox) -> None:
    container = {
        "name": "app",
        "image": "example.com/app:1",
        "envFrom": [{"secretRef": {"name": "no-such-secret"}}],
    }
    pod = {"metadata": {"name": "lost"}, "spec": {"containers": [container]}}
    control_plane.api(dev.home).create("/api/v1/namespaces/default/pods", pod)
    (status,) = wait_for(
        lambda: dev.namespaced("pods", "default", "lost")["status"].get("containerStatuses", [])
    )
    waiting = status["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert "no-such-secret" in waiting["message"]
    control_plane.api(dev.home).send("DELETE", "/api/v1/namespaces/default/pods/lost", {})


def test_no_generated_value_is_in_plain_text_anywhere(first_up: Sandbox) -> None:
    values = {secret: first_up.secret(secret) for secret in (*GENERATED, "litellm-key-search-app")}
    found = leaks.files(first_up.root.parent, first_up.home)
    assert leaks.search(values, found) == []
    # State, its history, events, report, logs and what `up` printed were searched; the search finds what is there.
    searched = [name for name in found if found[name]]
    for part in ("stacks/llm-gateway/dev.json", "/history/", "dev-up.jsonl", "/up.txt", "/report", "/logs/"):
        assert any(part in name for name in searched), part
    assert leaks.search({"known": "litellm.llm-gateway.svc"}, found)


def test_outputs_name_the_secrets(dev: Sandbox) -> None:
    outputs = dev.outputs()
    assert outputs["secretNames"]["saltKey"].endswith("/secrets/litellm-salt-key")
    assert outputs["gpuNodePool"] == "llm-gpu"


def test_second_up_changes_nothing(dev: Sandbox) -> None:
    dev.up().succeeded()
    assert dev.changed("up") == {}


def test_refresh_is_clean(dev: Sandbox) -> None:
    dev.up().succeeded()  # a fork answers at another address than its origin
    dev.run("refresh").succeeded()
    changed = [
        event["resOutputsEvent"]["metadata"]["urn"]
        for event in dev.events("refresh")
        if "resOutputsEvent" in event and event["resOutputsEvent"]["metadata"].get("detailedDiff")
    ]
    assert changed == []
    assert dev.changed("refresh") == {}


def test_changing_every_input_of_the_salt_changes_nothing(own_dev: Sandbox) -> None:
    before = own_dev.secret("litellm-salt-key")
    own_dev.patch(
        "components/gateway_secrets.py", "_LENGTH, _SALT_LENGTH = 33, 43", "_LENGTH, _SALT_LENGTH = 33, 48"
    )
    own_dev.patch(
        "components/gateway_secrets.py",
        '            version_destroy_ttl=_DESTROY_AFTER,\n            deletion_protection=True,\n            deletion_policy="ABANDON",',
        '            version_destroy_ttl="86400s",\n'
        '            labels={"changed": "yes"},\n'
        "            deletion_protection=False,\n"
        '            deletion_policy="DELETE",',
    )
    own_dev.patch(
        "components/gateway_secrets.py",
        "annotations={OWNER: self._owner, SALT_VERSION: number},\n            replication=self._replication(),",
        "annotations={OWNER: self._owner, SALT_VERSION: number},\n"
        "            replication=gcp.secretmanager.SecretReplicationArgs(\n"
        "                user_managed=gcp.secretmanager.SecretReplicationUserManagedArgs(\n"
        '                    replicas=[{"location": "europe-west4"}]\n'
        "                )\n"
        "            ),",
    )
    own_dev.patch(
        "components/gateway_secrets.py",
        '            secret_data=None if kept else pulumi.Output.secret(new),\n            deletion_policy="ABANDON",',
        '            secret_data="another value",\n            enabled=False,\n            deletion_policy="DELETE",',
    )
    own_dev.up().succeeded()
    salt = [step for step in own_dev.steps("up") if step.name == "gateway-secrets-litellm-salt-key"]
    assert [step.op for step in salt] == ["same", "same"]
    assert own_dev.secret("litellm-salt-key") == before


def test_destroy_is_refused_while_the_salt_is_protected(dev: Sandbox) -> None:
    before = {resource["urn"] for resource in dev.resources()}
    result = dev.run("destroy").failed()
    assert "protect" in result.text
    assert "gateway-secrets-litellm-salt-key" in result.text
    assert {resource["urn"] for resource in dev.resources()} == before
    assert dev.secret("litellm-salt-key")
