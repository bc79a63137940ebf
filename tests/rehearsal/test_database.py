"""The database as production has it: three zones, backups that work, a restore rehearsed, and nothing deleted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from sandbox.cluster import base_objects, control_plane
from sandbox.operators.cloudnativepg import database
from sandbox.paths import REPOSITORY
from tests.support.driver import PROJECT, UNCHANGED, Sandbox

NAMESPACE = "llm-gateway"
CNPG = "postgresql.cnpg.io/v1"
BUCKET = f"{PROJECT}-platform-dev-litellm-pg"
POSTGRES: dict[str, Any] = {
    "instances": 3,
    "synchronousReplicas": 1,
    "backups": {"method": "objectStore"},
}
SETTINGS: dict[str, Any] = {"llm-gateway:protect": True, "llm-gateway:postgres": POSTGRES}
GUIDE = (REPOSITORY / "docs" / "restore.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of docs/restore.md in a language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    return ["".join(line.removeprefix(indent) for line in text.splitlines(True)) for indent, text in found]


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return found


def resources(sandbox: Sandbox) -> list[dict[str, Any]]:
    return sandbox.export()["checkpoint"]["latest"]["resources"]


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with a protected database of three instances that is backed up."""
    sandbox = Sandbox(tmp_path_factory.mktemp("database"))
    sandbox.run("exec", "--", "true").succeeded()
    # With one node a zone, instances kept off each other's nodes would be in three zones by themselves.
    for number in (1, 2):
        node = base_objects.nodes(PROJECT, "platform-dev", "europe-west4")[0]
        name = f"{node['metadata']['name']}-{number}"
        node["metadata"]["name"] = node["metadata"]["labels"]["kubernetes.io/hostname"] = name
        control_plane.api(sandbox.home).create("/api/v1/nodes", node)
    sandbox.run("up", config=SETTINGS).succeeded()
    yield sandbox
    sandbox.run("down").succeeded()


def test_each_instance_has_a_zone_of_its_own(prod: Sandbox) -> None:
    pods = [
        pod
        for pod in prod.namespaced("pods", NAMESPACE)["items"]
        if pod["metadata"]["labels"].get("cnpg.io/podRole") == "instance"
    ]
    nodes = [prod.get(f"/api/v1/nodes/{pod['spec']['nodeName']}") for pod in pods]
    zones = sorted(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes)
    assert zones == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]


def test_a_drain_leaves_the_primary_and_a_standby(prod: Sandbox) -> None:
    budgets = prod.namespaced("poddisruptionbudgets", NAMESPACE, group="policy/v1")["items"]
    least = {each["metadata"]["name"]: each["spec"]["minAvailable"] for each in budgets}
    assert least["litellm-pg-primary"] == 1
    assert least["litellm-pg"] == 1


def test_one_standby_confirms_each_commit(prod: Sandbox) -> None:
    spec = prod.namespaced("clusters", NAMESPACE, "litellm-pg", group=CNPG)["spec"]
    wanted = {"method": "any", "number": 1, "dataDurability": "preferred"}
    assert wanted.items() <= spec["postgresql"]["synchronous"].items()


def test_backups_go_to_a_private_bucket(prod: Sandbox) -> None:
    bucket = prod.cloud.get("bucket", BUCKET)
    assert bucket["uniformBucketLevelAccess"] is True
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["location"] == "EUROPE-WEST4"
    members = prod.cloud.list("bucketIamMember", f"{BUCKET} ")
    assert {each["role"] for each in members} == {
        "roles/storage.objectUser",
        "roles/storage.legacyBucketReader",
    }
    (member,) = {each["member"] for each in members}
    assert member.endswith(f"/{PROJECT}.svc.id.goog/subject/ns/{NAMESPACE}/sa/litellm-pg")


def test_the_first_backup_is_taken_at_once(prod: Sandbox) -> None:
    def done() -> Any:
        backups = prod.namespaced("backups", NAMESPACE, group=CNPG)["items"]
        return [each for each in backups if each.get("status", {}).get("phase") in ("completed", "failed")]

    (backup,) = wait_for(done)
    assert backup["status"]["phase"] == "completed", backup["status"]
    assert backup["metadata"]["ownerReferences"][0]["kind"] == "ScheduledBackup"


def test_a_second_up_changes_nothing(prod: Sandbox) -> None:
    prod.run("up", config=SETTINGS).succeeded()
    assert [step for step in prod.steps("up") if step.op not in UNCHANGED] == []
    prod.run("refresh", config=SETTINGS).succeeded()
    assert {step.op for step in prod.steps("refresh")} <= UNCHANGED


def test_destroy_is_refused(prod: Sandbox) -> None:
    before = {resource["urn"] for resource in resources(prod)}
    assert "protect" in prod.run("destroy", config=SETTINGS).failed().text
    assert {resource["urn"] for resource in resources(prod)} == before
    state = {each["urn"].rpartition("::")[2]: each.get("protect", False) for each in resources(prod)}
    assert state["gateway-postgres-cluster"]
    assert state["gateway-backups-bucket"]


def test_the_guides_restore(prod: Sandbox) -> None:
    backup_yaml, restore_yaml, *_ = blocks("yaml")
    look, unprotect, delete = blocks("sh")
    settings = yaml.safe_load(restore_yaml)["llm-gateway:postgres"]
    password = prod.cloud.get("databaseRole", f"{NAMESPACE}/litellm-pg/litellm")["password"]

    database.write(prod.cloud, NAMESPACE, "litellm-pg", "before the backup")
    backup = yaml.safe_load(backup_yaml)
    control_plane.api(prod.home).create(f"/apis/{CNPG}/namespaces/{NAMESPACE}/backups", backup)

    def phase() -> str:
        name = backup["metadata"]["name"]
        return prod.namespaced("backups", NAMESPACE, name, group=CNPG).get("status", {}).get("phase", "")

    wait_for(lambda: phase() == "completed")
    prod.run("exec", "--", "sh", "-ec", look).succeeded()
    time.sleep(1)
    database.write(prod.cloud, NAMESPACE, "litellm-pg", "after the backup")
    time.sleep(1)
    settings["restore"]["targetTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(2)
    database.write(prod.cloud, NAMESPACE, "litellm-pg", "after the target")
    time.sleep(3)  # archived

    restored = {**SETTINGS, "llm-gateway:postgres": {**POSTGRES, **settings}}
    assert "protect" in prod.run("up", config=restored).failed().text
    command = unprotect.strip().replace("<stack>", prod.stack)
    prod.run("exec", "--", "sh", "-c", command).succeeded()
    assert "guard: gateway-postgres-cluster" in prod.run("up", config=restored).failed().text
    prod.run("up", "--allow", "gateway-postgres-cluster", config=restored).succeeded()

    assert database.read(prod.cloud, NAMESPACE, "litellm-pg-2") == ["before the backup", "after the backup"]
    used = prod.cloud.get("databaseRole", f"{NAMESPACE}/litellm-pg-2/litellm")["password"]
    assert used == password == prod.secret("litellm-db-password")
    proxy = prod.namespaced("deployments", NAMESPACE, "litellm", group="apps/v1")
    env = {entry["name"]: entry for entry in proxy["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DATABASE_HOST"]["value"] == f"litellm-pg-2-rw.{NAMESPACE}.svc.cluster.local"
    old = prod.namespaced("clusters", NAMESPACE, "litellm-pg", group=CNPG)
    assert "deletionTimestamp" not in old["metadata"]
    prod.run("exec", "--", "sh", "-ec", delete).succeeded()
    left = prod.namespaced("clusters", NAMESPACE, group=CNPG)["items"]
    assert [each["metadata"]["name"] for each in left] == ["litellm-pg-2"]
    changed = {step.type for step in prod.steps("up") if step.op not in UNCHANGED}
    assert not any("secretmanager" in type_ or type_.endswith(":Bucket") for type_ in changed)

    # Taken out of the settings, `restore` replaces nothing.
    del settings["restore"]
    prod.run("up", config={**SETTINGS, "llm-gateway:postgres": {**POSTGRES, **settings}}).succeeded()
    assert {step.op for step in prod.steps("up")} <= UNCHANGED | {"update"}
    assert database.read(prod.cloud, NAMESPACE, "litellm-pg-2") == ["before the backup", "after the backup"]


def test_a_bucket_left_behind_is_taken_over_as_the_guide_says(prod: Sandbox) -> None:
    *_, takeover = blocks("yaml")
    backups = yaml.safe_load(takeover)["llm-gateway:postgres"]["backups"] | {"bucket": BUCKET}
    named = {**POSTGRES, "name": "litellm-pg-2"}
    prod.run("up", config={"llm-gateway:postgres": named}).succeeded()
    without = {"llm-gateway:postgres": {**named, "backups": {"method": "none"}}}
    allowed = "gateway-backups-bucket gateway-backups-object-store"
    prod.run("up", "--allow", allowed, config=without).succeeded()
    assert "ObjectStore" not in {step["type"].split(":")[-1] for step in resources(prod)}
    kept = prod.cloud.get("bucket", BUCKET)

    prod.run("up", config={"llm-gateway:postgres": {**named, "backups": backups}}).succeeded()
    assert "import" in {step.op for step in prod.steps("up") if step.name == "gateway-backups-bucket"}
    assert prod.cloud.get("bucket", BUCKET)["timeCreated"] == kept["timeCreated"]
    assert database.read(prod.cloud, NAMESPACE, "litellm-pg-2") == ["before the backup", "after the backup"]
    prod.run("up", config={"llm-gateway:postgres": {**named, "backups": backups}}).succeeded()
    assert [step for step in prod.steps("up") if step.op not in UNCHANGED] == []


def test_missing_bucket_iam_is_named(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.patch(
        "components/backup_store.py", '"roles/storage.legacyBucketReader"', '"roles/storage.objectViewer"'
    )
    settings = {
        "llm-gateway:postgres": {"backups": {"method": "objectStore"}},
        "llm-gateway:timeouts": {"postgres": 40},
    }
    text = sandbox.run("up", config=settings).failed().text
    assert "storage.buckets.get" in text
    assert BUCKET in text
