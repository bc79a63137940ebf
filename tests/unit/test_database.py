"""The database and its backups, as the program registers them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.engine import Recording, run_program

NAME = "example-llm-dev-platform-dev-litellm-pg"


def database(**postgres: Any) -> Recording:
    return run_program({"protect": True, "postgres": postgres})


def cluster(recording: Recording) -> dict[str, Any]:
    return recording.one("Cluster", "gateway-postgres-cluster").inputs["spec"]


def kinds(recording: Recording) -> set[str]:
    return {type_.split(":")[-1] for type_, _ in recording.resources}


@pytest.fixture(scope="module")
def prod() -> Recording:
    return database(instances=3, synchronousReplicas=1, backups={"method": "objectStore"})


def test_dev_has_one_instance_and_no_backups(program: Recording) -> None:
    spec = cluster(program)
    assert spec["instances"] == 1
    assert spec["enablePDB"] is False
    assert spec.keys().isdisjoint({"backup", "plugins", "topologySpreadConstraints", "walStorage"})
    assert spec["postgresql"].keys() == {"parameters"}
    assert kinds(program).isdisjoint({"Bucket", "BucketIAMMember", "ObjectStore", "ScheduledBackup"})
    registration = program.one("Cluster", "gateway-postgres-cluster").request
    assert not registration.protect
    assert not registration.retainOnDelete


def test_instances_are_spread_over_zones_and_commits_confirmed(prod: Recording) -> None:
    spec = cluster(prod)
    (spread,) = spec["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["labelSelector"]["matchLabels"] == {"cnpg.io/cluster": "litellm-pg"}
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "preferred"}
    assert spec["enablePDB"] is True


@pytest.mark.parametrize(("sizes", "kept"), [({}, "2048MB"), ({"walStorageSize": "20Gi"}, "10240MB")])
def test_no_slot_keeps_wal_until_the_volume_is_full(sizes: dict[str, str], kept: str) -> None:
    spec = cluster(database(**sizes))
    assert spec["postgresql"]["parameters"]["max_slot_wal_keep_size"] == kept
    assert spec.get("walStorage", {}).get("size") == sizes.get("walStorageSize")


def test_postgres_takes_the_connections_it_is_told() -> None:
    parameters = cluster(database(maxConnections=300))["postgresql"]["parameters"]
    assert parameters["max_connections"] == "300"


def test_the_database_and_its_bucket_are_protected(prod: Recording) -> None:
    for kind, name in (("Cluster", "gateway-postgres-cluster"), ("Bucket", "gateway-backups-bucket")):
        request = prod.one(kind, name).request
        assert request.protect, name
        assert request.retainOnDelete, name


def test_the_bucket_is_private_and_never_emptied(prod: Recording) -> None:
    bucket = prod.one("Bucket", "gateway-backups-bucket").inputs
    assert bucket["name"] == NAME
    assert bucket["location"] == "europe-west4"
    assert bucket["uniformBucketLevelAccess"] is True
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["forceDestroy"] is False
    assert "lifecycleRules" not in bucket


def test_only_the_clusters_own_account_reaches_the_bucket(prod: Recording) -> None:
    members = [member.inputs for member in prod.all("BucketIAMMember")]
    roles = {"roles/storage.objectUser", "roles/storage.legacyBucketReader"}
    assert {member["role"] for member in members} == roles
    (member,) = {granted["member"] for granted in members}
    assert member.endswith("example-llm-dev.svc.id.goog/subject/ns/llm-gateway/sa/litellm-pg")


def test_wal_is_archived_and_backups_are_scheduled(prod: Recording) -> None:
    store = prod.one("ObjectStore", "gateway-backups-object-store").inputs
    assert store["spec"]["configuration"]["destinationPath"] == f"gs://{NAME}"
    assert store["spec"]["configuration"]["googleCredentials"] == {"gkeEnvironment": True}
    assert store["spec"]["retentionPolicy"] == "30d"
    (plugin,) = cluster(prod)["plugins"]
    assert plugin["isWALArchiver"] is True
    assert plugin["parameters"] == {"barmanObjectName": store["metadata"]["name"]}
    schedule = prod.one("ScheduledBackup", "gateway-postgres-schedule").inputs["spec"]
    assert schedule["method"] == "plugin"
    assert schedule["pluginConfiguration"] == {"name": plugin["name"]}
    assert schedule["immediate"] is True
    awaited = prod.one("Cluster", "gateway-postgres-cluster").inputs["metadata"]["annotations"]
    assert json.loads(awaited["pulumi.com/waitFor"]) == ["condition=Ready", "condition=ContinuousArchiving"]


def test_cert_manager_is_installed_only_where_it_is_missing() -> None:
    operators = {"certManager": {"install": False}}
    there = run_program({"postgres": {"backups": {"method": "objectStore"}}, "operators": operators})
    names = {name for _, name in there.resources}
    assert "gateway-barman-plugin-release" in names
    assert {name for name in names if "cert-manager" in name} == {"gateway-fixed-cert-manager"}
    stash = there.one("Stash", "gateway-fixed-cert-manager").inputs["input"]
    assert stash == {"operators.certManager.install": "false"}


def test_volume_snapshots_need_no_bucket() -> None:
    recording = database(backups={"method": "volumeSnapshot", "snapshotClass": "pd"})
    assert cluster(recording)["backup"] == {"volumeSnapshot": {"className": "pd", "online": False}}
    schedule = recording.one("ScheduledBackup", "gateway-postgres-schedule").inputs["spec"]
    assert schedule["method"] == "volumeSnapshot"
    assert kinds(recording).isdisjoint({"Bucket", "ObjectStore"})


def test_a_restore_is_a_new_cluster_from_the_old_ones_backups() -> None:
    recording = database(
        name="litellm-pg-2",
        backups={"method": "objectStore"},
        restore={"source": "litellm-pg", "targetTime": "2030-01-31T12:00:00Z"},
    )
    spec = cluster(recording)
    assert spec["bootstrap"] == {
        "recovery": {
            "database": "litellm",
            "owner": "litellm",
            "secret": {"name": "litellm-pg-app"},
            "source": "restored",
            "recoveryTarget": {"targetTime": "2030-01-31T12:00:00Z"},
        }
    }
    (source,) = spec["externalClusters"]
    assert source["name"] == "restored"
    assert source["plugin"]["parameters"]["serverName"] == "litellm-pg"
    assert spec["plugins"][0]["parameters"].keys() == {"barmanObjectName"}
    assert recording.outputs["databaseHost"].startswith("litellm-pg-2-rw.")


def test_a_restore_leaves_the_old_clusters_access_as_it_is(prod: Recording) -> None:
    def access(recording: Recording) -> dict[str, str]:
        members = {key: each for key, each in recording.resources.items() if "BucketIAMMember" in key[0]}
        return {name: member.inputs["member"].rpartition("/")[2] for (_, name), member in members.items()}

    restored = database(
        name="litellm-pg-2", backups={"method": "objectStore"}, restore={"source": "litellm-pg"}
    )
    before, after = access(prod), access(restored)
    assert before.items() <= after.items()
    assert sorted(after.values()) == ["litellm-pg", "litellm-pg", "litellm-pg-2", "litellm-pg-2"]


def test_a_restore_from_a_snapshot() -> None:
    recording = database(
        name="litellm-pg-2",
        backups={"method": "volumeSnapshot", "snapshotClass": "pd"},
        restore={"source": "litellm-pg", "snapshot": "litellm-pg-1"},
    )
    recovery = cluster(recording)["bootstrap"]["recovery"]
    assert recovery["volumeSnapshots"]["storage"]["name"] == "litellm-pg-1"
    assert "externalClusters" not in cluster(recording)


def test_a_bucket_left_behind_is_taken_over() -> None:
    recording = database(backups={"method": "objectStore", "bucket": "left-behind", "adoptBucket": True})
    assert recording.one("Bucket", "gateway-backups-bucket").request.importId == "left-behind"
