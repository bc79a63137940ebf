"""The database as production has it: three zones, backups that work, a restore rehearsed, and nothing deleted."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import yaml

from sandbox.cluster import control_plane
from sandbox.operators.cloudnativepg import database
from sandbox.paths import REPOSITORY
from tests.support.driver import UNCHANGED, Sandbox
from tests.support.waiting import wait_for

NAMESPACE = "llm-gateway"
CNPG = "postgresql.cnpg.io/v1"
BUCKET = "example-llm-prod-platform-prod-litellm-pg"
BACKED_UP = {"llm-gateway:postgres": {"backups": {"method": "objectStore"}}}
GUIDE = (REPOSITORY / "docs" / "restore.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of docs/restore.md in a language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    return ["".join(line.removeprefix(indent) for line in text.splitlines(True)) for indent, text in found]


def test_a_drain_leaves_the_primary_and_a_standby(prod: Sandbox) -> None:
    budgets = prod.namespaced("poddisruptionbudgets", NAMESPACE, group="policy/v1")["items"]
    least = {budget["metadata"]["name"]: budget["spec"].get("minAvailable") for budget in budgets}
    assert least["litellm-pg-primary"] == 1
    assert least["litellm-pg"] == 1


def test_backups_go_to_a_private_bucket(prod: Sandbox) -> None:
    bucket = prod.cloud.get("bucket", BUCKET)
    assert bucket["uniformBucketLevelAccess"] is True
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["location"] == "EUROPE-WEST4"
    members = prod.cloud.list("bucketIamMember", f"{BUCKET} ")
    assert {member["role"] for member in members} == {
        "roles/storage.objectUser",
        "roles/storage.legacyBucketReader",
    }
    (member,) = {entry["member"] for entry in members}
    assert member.endswith(f"/{prod.project}.svc.id.goog/subject/ns/{NAMESPACE}/sa/litellm-pg")


def test_a_buckets_location_changes_with_its_name_alone(prod: Sandbox) -> None:
    def preview(**backups: str) -> str:
        config = {"llm-gateway:postgres": {"backups": {"bucketLocation": "europe-west1", **backups}}}
        return prod.run("preview", config=config).failed().text

    assert "postgres.backups.bucketLocation: made with europe-west4, now europe-west1" in preview()
    text = preview(bucket="example-llm-prod-backups")  # another bucket, which only `protect` stops
    assert "bucketLocation" not in text
    assert "gateway-backups-bucket" in text


def test_the_first_backup_is_taken_at_once(prod: Sandbox) -> None:
    def done() -> Any:
        backups = prod.namespaced("backups", NAMESPACE, group=CNPG)["items"]
        return [
            backup for backup in backups if backup.get("status", {}).get("phase") in ("completed", "failed")
        ]

    (backup,) = wait_for(done)
    assert backup["status"]["phase"] == "completed", backup["status"]
    assert backup["metadata"]["ownerReferences"][0]["kind"] == "ScheduledBackup"


def test_the_guides_restore(own_prod: Sandbox) -> None:
    backup_yaml, restore_yaml, *_ = blocks("yaml")
    look, unprotect, delete = blocks("sh")
    settings = yaml.safe_load(restore_yaml)["llm-gateway:postgres"]
    settings["walStorageSize"] = "5Gi"  # smaller than it was
    password = own_prod.cloud.get("databaseRole", f"{NAMESPACE}/litellm-pg/litellm")["password"]

    own_prod.run("start").succeeded()
    database.write(own_prod.cloud, NAMESPACE, "litellm-pg", "before the backup")
    backup = yaml.safe_load(backup_yaml)
    control_plane.api(own_prod.home).create(f"/apis/{CNPG}/namespaces/{NAMESPACE}/backups", backup)

    def phase() -> str:
        name = backup["metadata"]["name"]
        return own_prod.namespaced("backups", NAMESPACE, name, group=CNPG).get("status", {}).get("phase", "")

    wait_for(lambda: phase() == "completed")
    own_prod.run("exec", "--", "sh", "-ec", look).succeeded()
    # targetTime has whole seconds.
    time.sleep(1)
    database.write(own_prod.cloud, NAMESPACE, "litellm-pg", "after the backup")
    time.sleep(1)
    settings["restore"]["targetTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(2)
    database.write(own_prod.cloud, NAMESPACE, "litellm-pg", "after the target")

    def archived() -> list[str]:
        wal = own_prod.cloud.get("bucketObject", f"{BUCKET}/litellm-pg/wals")
        return [row["text"] for row in wal["content"]["rows"]]

    wait_for(lambda: "after the target" in archived())

    restored = {"llm-gateway:postgres": settings}
    assert "protect" in own_prod.run("up", config=restored).failed().text
    command = unprotect.strip().replace("<stack>", own_prod.stack)
    own_prod.run("exec", "--", "sh", "-c", command).succeeded()
    assert "guard: gateway-postgres-cluster" in own_prod.run("up", config=restored).failed().text
    own_prod.run("up", "--allow", "gateway-postgres-cluster", config=restored).succeeded()

    assert database.read(own_prod.cloud, NAMESPACE, "litellm-pg-2") == [
        "before the backup",
        "after the backup",
    ]
    used = own_prod.cloud.get("databaseRole", f"{NAMESPACE}/litellm-pg-2/litellm")["password"]
    assert used == password == own_prod.secret("litellm-db-password")
    disk = own_prod.namespaced("persistentvolumeclaims", NAMESPACE, "litellm-pg-2-1-wal")
    assert disk["spec"]["resources"]["requests"]["storage"] == "5Gi"
    proxy = own_prod.namespaced("deployments", NAMESPACE, "litellm", group="apps/v1")
    env = {entry["name"]: entry for entry in proxy["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DATABASE_HOST"]["value"] == f"litellm-pg-2-rw.{NAMESPACE}.svc.cluster.local"
    old = own_prod.namespaced("clusters", NAMESPACE, "litellm-pg", group=CNPG)
    assert "deletionTimestamp" not in old["metadata"]
    own_prod.run("exec", "--", "sh", "-ec", delete).succeeded()
    left = own_prod.namespaced("clusters", NAMESPACE, group=CNPG)["items"]
    assert [cluster["metadata"]["name"] for cluster in left] == ["litellm-pg-2"]
    changed = {step.type for step in own_prod.steps("up") if step.op not in UNCHANGED}
    assert not any("secretmanager" in type_ or type_.endswith(":Bucket") for type_ in changed)

    # The old Cluster went on archiving; its access goes with `restore`, which replaces nothing.
    accounts = {
        member["member"].rpartition("/")[2] for member in own_prod.cloud.list("bucketIamMember", f"{BUCKET} ")
    }
    assert accounts == {"litellm-pg", "litellm-pg-2"}
    del settings["restore"]
    own_prod.run("up", config=restored).succeeded()  # with a preview, whose dry run must not keep it
    changed = {
        step.op: step.type.rpartition(":")[2] for step in own_prod.steps("up") if step.op not in UNCHANGED
    }
    assert changed.pop("delete") == "BucketIAMMember"
    assert changed.keys() <= {"update"}
    assert database.read(own_prod.cloud, NAMESPACE, "litellm-pg-2") == [
        "before the backup",
        "after the backup",
    ]


def test_a_bucket_left_behind_is_taken_over_as_the_guide_says(own_dev: Sandbox) -> None:
    *_, takeover = blocks("yaml")
    own_dev.up(config=BACKED_UP).succeeded()
    (kept,) = own_dev.cloud.list("bucket")
    database.write(own_dev.cloud, NAMESPACE, "litellm-pg", "written before")
    own_dev.up().succeeded()
    assert "ObjectStore" not in {step["type"].split(":")[-1] for step in own_dev.resources()}
    assert own_dev.cloud.list("bucket") == [kept]

    backups = yaml.safe_load(takeover)["llm-gateway:postgres"]["backups"] | {"bucket": kept["name"]}
    taken_over = {"llm-gateway:postgres": {"backups": backups}}
    own_dev.up(config=taken_over).succeeded()
    assert "import" in {step.op for step in own_dev.steps("up") if step.name == "gateway-backups-bucket"}
    assert own_dev.cloud.get("bucket", kept["name"])["timeCreated"] == kept["timeCreated"]
    assert database.read(own_dev.cloud, NAMESPACE, "litellm-pg") == ["written before"]
    own_dev.up(config=taken_over).succeeded()
    assert own_dev.changed("up") == {}


def test_missing_bucket_iam_is_named(empty: Sandbox) -> None:
    empty.patch(
        "components/backup_store.py", '"roles/storage.legacyBucketReader"', '"roles/storage.objectViewer"'
    )
    text = empty.up(config={**BACKED_UP, "llm-gateway:timeouts": {"postgres": 15}}).failed().text
    engine, _, why = text.partition("Why it failed, as the cluster says it now:")
    assert "fully initialize or become live: timed out waiting for the condition" in engine
    assert "storage.buckets.get" not in engine
    assert "Cluster llm-gateway/litellm-pg: the database may not look at the bucket" in why
    assert "example-llm-dev-platform-dev-litellm-pg" in why


def test_a_preview_refuses_to_shrink_any_volume(own_dev: Sandbox) -> None:
    model: dict[str, Any] = {
        "alias": "qwen-local",
        "inputCostPerToken": 0.00000005,
        "outputCostPerToken": 0.0000002,
        "vllm": {"model": "Qwen/Qwen2.5-0.5B-Instruct", "cache": "disk", "cacheSize": "20Gi"},
    }
    few = {"llm-gateway:litellm": {"serveWithoutDatabase": True, "requestsPerDay": 1000}}
    own_dev.up(config={**few, "llm-gateway:models": [model]}).succeeded()
    smaller = {**model, "vllm": {**model["vllm"], "cacheSize": "10Gi"}}
    text = own_dev.run("preview", config={**few, "llm-gateway:models": [smaller]}).failed().text
    assert "models[vllm.name qwen-local].vllm.cacheSize: 10Gi is less than the 20Gi" in text
    shrunk = {**few, "llm-gateway:models": [model], "llm-gateway:postgres": {"storageSize": "8Gi"}}
    text = own_dev.run("preview", config=shrunk).failed().text
    assert "postgres.storageSize: 8Gi is less than the 10Gi" in text
    own_dev.up(config={**few, "llm-gateway:models": [model]}).succeeded()
