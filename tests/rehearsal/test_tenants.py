"""Teams and keys from the stack's settings into LiteLLM: previewed, brought up, and the Job's own pod run against it.

kwok runs no container: the test does what the kubelet would with the Job that `up` left in the cluster.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.cluster import control_plane
from tests.litellm.driver import Double, double
from tests.support.driver import UNCHANGED, Sandbox
from tests.support.sandboxes import Sandboxes

NAMESPACE = "llm-gateway"
SEARCH = {"name": "search", "budget": 50}
SUPPORT = {"name": "support", "tpm": 1000}
APP = {"name": "app", "team": "search", "budget": 20}
BOT = {"name": "bot", "team": "support", "expires": "2099-01-31T00:00:00Z"}
RAISED = {**SEARCH, "budget": 80}
ROTATED = {**APP, "generation": 2}


def declared(teams: list[dict[str, Any]], keys: list[dict[str, Any]]) -> dict[str, Any]:
    return {"llm-gateway:teams": teams, "llm-gateway:virtualKeys": keys}


FIRST = declared([SEARCH, SUPPORT], [APP, BOT])
LAST = declared([RAISED, SUPPORT], [ROTATED])
NONE = declared([], [])
"""Everything that was made from here is to go."""


@pytest.fixture(scope="module")
def gateway(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    with sandboxes.forked("dev") as sandbox:
        sandbox.up(config=FIRST).succeeded()
        yield sandbox


def changed(sandbox: Sandbox, operation: str) -> dict[tuple[str, str], dict[str, tuple[Any, Any]]]:
    """(kind, name) of what an operation does not leave alone, and the inputs that differ, old and new."""
    found: dict[tuple[str, str], dict[str, tuple[Any, Any]]] = {}
    for event in sandbox.events(operation):
        step = event.get("resourcePreEvent", {}).get("metadata", {"op": "same"})
        if step["op"] not in UNCHANGED and not step["type"].startswith("pulumi:"):
            old, new = ((step.get(side) or {}).get("inputs", {}) for side in ("old", "new"))
            found[(step["type"].rpartition(":")[2], step["urn"].rpartition("::")[2])] = {
                key: (old.get(key), new.get(key))
                for key in {*old, *new}
                if old.get(key) != new.get(key) and not key.startswith("__")
            }
    return found


DECLARED_ANEW = {("ConfigMap", "gateway-tenants-declared"), ("Job", "gateway-tenants-reconcile")}
VALUES_ANEW = {
    ("ExternalSecret", "gateway-secret-sync-litellm-tenant-keys"),
    ("ConfigMap", "gateway-secret-sync-litellm-tenant-keys-synced"),
}


def of_key(name: str, *kinds: str) -> set[tuple[str, str]]:
    return {(kind, f"gateway-secrets-litellm-key-{name}") for kind in kinds}


def test_preview_shows_a_raised_budget_by_name(gateway: Sandbox) -> None:
    gateway.run("preview", config=declared([RAISED, SUPPORT], [APP, BOT])).succeeded()
    steps = changed(gateway, "preview")
    assert steps.keys() == {("Team", "gateway-tenants-team-search"), *DECLARED_ANEW}
    assert steps[("Team", "gateway-tenants-team-search")] == {"budget": (50, 80)}
    text = gateway.run("exec", "--", "pulumi", "preview", "--diff").succeeded().text
    team = text.partition("::gateway-tenants-team-search]")[2].partition("[urn=")[0]
    assert re.search(r"~ budget +: 50 => 80", team), text


def test_preview_shows_a_removed_tenant_by_name(gateway: Sandbox) -> None:
    gateway.run("preview", config=declared([SEARCH], [APP])).succeeded()
    steps = changed(gateway, "preview")
    assert steps.keys() == {
        ("Team", "gateway-tenants-team-support"),
        ("VirtualKey", "gateway-tenants-key-bot"),
        *of_key("bot", "RandomPassword", "Secret", "SecretVersion"),
        ("SecretIamMember", "gateway-secrets-litellm-key-bot-reader"),
        *VALUES_ANEW,
        *DECLARED_ANEW,
    }


def test_preview_shows_a_rotated_key_by_name(gateway: Sandbox) -> None:
    gateway.run("preview", config=declared([SEARCH, SUPPORT], [ROTATED, BOT])).succeeded()
    steps = changed(gateway, "preview")
    assert steps.keys() == {
        ("VirtualKey", "gateway-tenants-key-app"),
        *of_key(
            "app", "RandomPassword", "Secret", "SecretVersion"
        ),  # the Secret's annotation names the generation
        *VALUES_ANEW,
        ("Job", "gateway-tenants-reconcile"),
    }
    assert steps[("VirtualKey", "gateway-tenants-key-app")] == {"generation": (1, 2)}


def test_the_job_brings_litellm_to_what_is_declared(own_dev: Sandbox, tmp_path: Path) -> None:
    own_dev.up(config=FIRST).succeeded()
    with double(environment={"PROXY_MASTER_KEY": own_dev.secret("litellm-master-key")}) as litellm:
        declared_and_reconciled(own_dev, litellm, tmp_path)


def declared_and_reconciled(gateway: Sandbox, litellm: Double, tmp_path: Path) -> None:
    assert said_by_job(gateway, litellm, tmp_path / "1") == [
        "team search: created",
        "team support: created",
        "key app: created",
        "key bot: created",
        "teams: 2 created; keys: 2 created; 7 calls",
    ]
    assert budgets(litellm) == {"search": 50, "support": None, "app": 20, "bot": None}
    assert values(litellm) == {name: hashed(gateway, name) for name in ("app", "bot")}
    value = gateway.secret("litellm-key-app")
    assert value not in str(gateway.namespaced("configmaps", NAMESPACE))
    outputs = gateway.run("exec", "--", "pulumi", "stack", "output", "virtualKeySecrets").succeeded().text
    assert "secrets/litellm-key-app" in outputs
    assert value not in outputs
    assert said_by_job(gateway, litellm, tmp_path / "again") == [
        "teams: 2 unchanged; keys: 2 unchanged; 3 calls"
    ]

    before = hashed(gateway, "app")
    gateway.up(config=LAST).succeeded()
    assert said_by_job(gateway, litellm, tmp_path / "2") == [
        "team search: updated (max_budget 50.0 -> 80.0)",
        "key app: rotated",
        "key bot: deleted",
        "teams: 1 unchanged, 1 updated; keys: 1 deleted, 1 rotated; 8 calls",
    ]
    assert budgets(litellm) == {"search": 80, "support": None, "app": 20}
    assert values(litellm) == {"app": hashed(gateway, "app")} != {"app": before}

    gateway.up(config=LAST).succeeded()
    assert gateway.changed("up") == {}

    gateway.up(config=NONE).succeeded()
    assert said_by_job(gateway, litellm, tmp_path / "3") == [
        "key app: deleted",
        "team search: deleted",
        "team support: deleted",
        "teams: 2 deleted; keys: 1 deleted; 6 calls",
    ]
    assert budgets(litellm) == {}
    left = gateway.namespaced("externalsecrets", NAMESPACE, group="external-secrets.io/v1")["items"]
    assert "litellm-tenant-keys" not in {secret["metadata"]["name"] for secret in left}


def test_the_jobs_pod_keeps_to_the_restricted_standard(gateway: Sandbox) -> None:
    pod = {"metadata": {"name": "tried"}, "spec": the_job(gateway)["spec"]["template"]["spec"]}
    restricted = "/api/v1/namespaces/cnpg-system/pods?dryRun=All"
    control_plane.api(gateway.home).create(restricted, pod)


def the_job(sandbox: Sandbox) -> dict[str, Any]:
    jobs = sandbox.namespaced("jobs", NAMESPACE, group="batch/v1")["items"]
    (job,) = [job for job in jobs if "tenants" in job["metadata"]["name"]]
    return job


def said_by_job(sandbox: Sandbox, litellm: Double, folder: Path) -> list[str]:
    """Run the Job's container as the kubelet would, its files under `folder` and LiteLLM at the double's address."""
    job = the_job(sandbox)
    assert {"type": "Complete", "status": "True"}.items() <= job["status"]["conditions"][-1].items()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "env" not in container
    assert "envFrom" not in container
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        root = folder / mount["mountPath"].lstrip("/")
        root.mkdir(parents=True)
        for name, content in files(sandbox, volumes[mount["name"]]).items():
            (root / name).write_bytes(content)
    url = "http://litellm.llm-gateway.svc.cluster.local:4000"
    line = [*container["command"], *container["args"]]
    assert line[0] == "python3"
    assert url in line
    placed = [f"{folder}{part}" if part.startswith("/") else part for part in line[1:]]
    command = [sys.executable, *(part.replace(url, litellm.url) for part in placed)]
    done = subprocess.run(command, capture_output=True, text=True, env={}, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    return [*lines[:-1], lines[-1].partition(" in ")[0]]


def files(sandbox: Sandbox, volume: dict[str, Any]) -> dict[str, bytes]:
    """What the kubelet would put into a volume."""
    if "configMap" in volume:
        data = sandbox.namespaced("configmaps", NAMESPACE, volume["configMap"]["name"])["data"]
        return {name: text.encode() for name, text in data.items()}
    source = volume["secret"]
    data = sandbox.namespaced("secrets", NAMESPACE, source["secretName"])["data"]
    items = {item["key"]: item["path"] for item in source.get("items", [])} or {name: name for name in data}
    return {path: base64.b64decode(data[key]) for key, path in items.items()}


def budgets(litellm: Double) -> dict[str, float | None]:
    state = litellm.state()
    teams = {row["team_id"]: row["max_budget"] for row in state["teams"]}
    return {**teams, **{row["key_alias"]: row["max_budget"] for row in state["keys"]}}


def values(litellm: Double) -> dict[str, str]:
    return {row["key_alias"]: row["token"] for row in litellm.state()["keys"]}


def hashed(sandbox: Sandbox, key: str) -> str:
    """A key's value in Secret Manager, as LiteLLM keeps it."""
    return hashlib.sha256(sandbox.secret(f"litellm-key-{key}").encode()).hexdigest()
