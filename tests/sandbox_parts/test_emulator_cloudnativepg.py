"""What the CloudNativePG emulation makes of a Cluster."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.cluster.status import condition
from sandbox.cluster.watched import Watched
from sandbox.google.cloud import Cloud, member_name
from sandbox.google.workload_identity import principal
from sandbox.operators.cloudnativepg import objects
from sandbox.operators.cloudnativepg.backups import PostgresBackups
from sandbox.operators.cloudnativepg.barman_plugin import PLUGIN
from sandbox.operators.cloudnativepg.controller import CloudNativePG, not_emulated, why_outdated
from tests.support.fake_cluster import FakeCluster

ROLES = ("roles/storage.objectUser", "roles/storage.legacyBucketReader")


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "instances": 1,
        "imageName": "postgres:17.5",
        "bootstrap": {"initdb": {"database": "litellm", "owner": "litellm", "secret": {"name": "app"}}},
        "storage": {"size": "10Gi"},
        **changes,
    }


class World:
    """A cluster with the operator, in which jobs and pods are done by hand."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.cloud = FakeCluster(), Cloud(folder / "cloud.db")
        self.operator = CloudNativePG(cast(Watched, self.cluster), self.cloud)
        self.cluster.operator("cloudnative-pg", "cnpg-system", containers=[{"image": "cnpg:1.29.1"}])

    def secret(self, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.cluster.add("Secret", "app", "ns", metadata={"labels": {"cnpg.io/reload": "true"}}, data=encoded)

    def allow(self, account: str) -> None:
        for role in ROLES:
            name = member_name("backups", role, principal(self.cloud, "ns", account))
            self.cloud.create("bucketIamMember", name, {})

    def forbid(self, account: str) -> None:
        for role in ROLES:
            name = member_name("backups", role, principal(self.cloud, "ns", account))
            self.cloud.delete("bucketIamMember", name)

    def plugin(self, replicas: int) -> None:
        namespace, labels = "cnpg-system", {"cnpg.io/pluginName": PLUGIN}
        self.cluster.add("Service", "barman-cloud", namespace, metadata={"labels": labels})
        settings = {"SIDECAR_IMAGE": "sidecar:1"}
        self.cluster.add("ConfigMap", "plugin-barman-cloud-config", namespace, data=settings)
        self.cluster.operator("plugin-barman-cloud", namespace, replicas)

    def condition(self, kind: str) -> dict[str, Any]:
        found = condition(self.cluster.items["Cluster", "ns", "pg"], kind)
        assert found is not None
        return found

    def step(self) -> dict[str, Any]:
        """Reconcile until nothing changes, with every Job done and every Pod ready."""
        for _ in range(20):
            for job in self.cluster.list("Job"):
                job["status"] = {"succeeded": 1}
            for pod in self.cluster.list("Pod"):
                pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            self.operator.reconcile()
        return self.cluster.items["Cluster", "ns", "pg"]["status"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("LLM_GATEWAY_SANDBOX", str(tmp_path))
    return World(tmp_path)


def test_the_bootstrap_waits_for_the_owners_secret(world: World) -> None:
    world.cluster.add("Cluster", "pg", "ns", spec=spec())
    world.operator.reconcile()
    status = world.cluster.items["Cluster", "ns", "pg"]["status"]
    assert status["phase"] == "Setting up primary"
    assert status["phaseReason"] == "Creating primary instance pg-1"
    [container] = world.cluster.items["Job", "ns", "pg-1-initdb"]["spec"]["template"]["spec"]["containers"]
    assert container["env"][-1]["valueFrom"]["secretKeyRef"]["name"] == "app"


def test_a_cluster_becomes_healthy_with_the_secrets_password(world: World) -> None:
    world.secret(username="litellm", password="one")
    world.cluster.add("Cluster", "pg", "ns", spec=spec())
    status = world.step()
    assert status["phase"] == "Cluster in healthy state"
    assert (status["readyInstances"], status["currentPrimary"]) == (1, "pg-1")
    assert world.cloud.get("databaseRole", "ns/pg/litellm")["password"] == "one"
    world.secret(username="litellm", password="two")
    world.step()
    assert world.cloud.get("databaseRole", "ns/pg/litellm")["password"] == "two"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({"username": "bob", "password": "x"}, "wrong username 'bob' in secret, expected 'litellm'"),
        ({"username": "litellm"}, "password key doesn't exist inside the secret"),
    ],
)
def test_a_wrong_secret_keeps_the_cluster_unready(world: World, data: dict[str, str], cause: str) -> None:
    world.secret(**data)
    world.cluster.add("Cluster", "pg", "ns", spec=spec())
    status = world.step()
    assert status["phaseReason"] == f"while updating database owner password: {cause}"
    ready = condition({"status": status}, "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", "ClusterIsNotReady")


def test_a_cluster_grows_by_replicas_and_shrinks_to_its_primary(world: World) -> None:
    world.secret(username="litellm", password="one")
    world.cluster.add("Cluster", "pg", "ns", spec=spec(instances=3))
    assert world.step()["readyInstances"] == 3
    budgets = [budget["metadata"]["name"] for budget in world.cluster.list("PodDisruptionBudget")]
    assert budgets == ["pg", "pg-primary"]
    world.cluster.items["Cluster", "ns", "pg"]["spec"]["instances"] = 1
    assert world.step()["instanceNames"] == ["pg-1"]


def test_a_full_volume_stops_the_operator_until_somebody_makes_it_larger(world: World) -> None:
    """The size in the Cluster alone reaches no volume (cluster_controller.go, ensureNoFailoverOnFullDisk)."""
    world.secret(username="litellm", password="one")
    world.cluster.add("Cluster", "pg", "ns", spec=spec())
    world.step()
    items = world.cluster.items

    def seen(ready: bool) -> tuple[str, str]:
        """The Cluster's phase and the claim's size, once the instance has ended for lack of space, and is ready or not."""
        ended = {"name": "postgres", "ready": ready, "lastState": {"terminated": {"exitCode": 4}}}
        condition = {"type": "Ready", "status": str(ready)}
        items["Pod", "ns", "pg-1"]["status"] |= {"conditions": [condition], "containerStatuses": [ended]}
        world.operator.reconcile()
        claim = items["PersistentVolumeClaim", "ns", "pg-1"]["spec"]["resources"]["requests"]
        return items["Cluster", "ns", "pg"]["status"]["phase"], claim["storage"]

    items["Cluster", "ns", "pg"]["spec"]["storage"]["size"] = "20Gi"
    assert seen(ready=False) == ("Not enough disk space", "10Gi")
    items["PersistentVolumeClaim", "ns", "pg-1"]["spec"]["resources"]["requests"]["storage"] = "30Gi"
    assert seen(ready=True) == ("Cluster in healthy state", "30Gi")


def test_wal_gets_volumes_of_its_own_also_later(world: World) -> None:
    def claims() -> dict[str, str]:
        found = world.cluster.list("PersistentVolumeClaim")
        return {
            claim["metadata"]["name"]: claim["spec"]["resources"]["requests"]["storage"] for claim in found
        }

    world.secret(username="litellm", password="one")
    world.cluster.add("Cluster", "pg", "ns", spec=spec(instances=2))
    world.step()
    assert claims() == {"pg-1": "10Gi", "pg-2": "10Gi"}
    world.cluster.items["Cluster", "ns", "pg"]["spec"]["walStorage"] = {"size": "5Gi"}
    assert world.step()["instanceNames"] == ["pg-1", "pg-2"]
    assert claims() == {"pg-1": "10Gi", "pg-1-wal": "5Gi", "pg-2": "10Gi", "pg-2-wal": "5Gi"}
    for name in ("pg-1", "pg-2"):
        mounted = world.cluster.items["Pod", "ns", name]["spec"]["volumes"]
        assert {"name": "pg-wal", "persistentVolumeClaim": {"claimName": f"{name}-wal"}} in mounted
    world.cluster.items["Cluster", "ns", "pg"]["spec"] |= {"instances": 1, "walStorage": {"size": "8Gi"}}
    world.step()
    assert claims() == {"pg-1": "10Gi", "pg-1-wal": "8Gi"}


def test_anti_affinity_is_the_operators() -> None:
    cluster: dict[str, Any] = {"metadata": {"name": "pg"}, "spec": spec(affinity={"topologyKey": "zone"})}
    affinity = objects.affinity(cluster)["podAntiAffinity"]
    [preferred] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["topologyKey"] == "zone"
    cluster["spec"]["affinity"] = {"podAntiAffinityType": "required"}
    [term] = objects.affinity(cluster)["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    cluster["spec"]["affinity"] = {"enablePodAntiAffinity": False}
    assert objects.affinity(cluster) == {}


def test_an_image_change_names_both_images() -> None:
    old, new = {"containers": [{"image": "a:1"}]}, {"containers": [{"image": "a:2"}]}
    assert why_outdated(old, new) == "the instance is using a different image: a:1 -> a:2"
    assert why_outdated(old, old) is None


STORE = {"configuration": {"destinationPath": "gs://backups", "googleCredentials": {"gkeEnvironment": True}}}
ARCHIVED = {"plugins": [{"name": PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": "store"}}]}


@pytest.fixture
def archiving(world: World) -> World:
    """A world with a bucket, who may use it, and the plugin."""
    world.cloud.ensure_cluster("p", "europe-west4", "c", "127.0.0.1:1", "")
    world.cloud.create("bucket", "backups", {})
    world.allow("pg")
    world.plugin(replicas=1)
    world.cluster.add("ObjectStore", "store", "ns", spec=STORE)
    world.secret(username="litellm", password="one")
    return world


def test_a_plugin_that_does_not_run_is_unknown(archiving: World) -> None:
    archiving.plugin(replicas=0)
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(**ARCHIVED))
    status = archiving.step()
    assert "unknown plugin being required" in status["phase"]
    assert PLUGIN in status["phaseReason"]


def test_archiving_that_may_not_write_says_so(archiving: World) -> None:
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(**ARCHIVED))
    archiving.step()
    assert archiving.condition("ContinuousArchiving")["status"] == "True"
    archiving.forbid("pg")
    archiving.step()
    failing = archiving.condition("ContinuousArchiving")
    assert failing["reason"] == "ContinuousArchivingFailing"
    assert "storage.buckets.get" in failing["message"]


def test_the_plugins_sidecar_is_in_every_instance(archiving: World) -> None:
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(instances=2))
    archiving.step()
    archiving.cluster.items["Cluster", "ns", "pg"]["spec"] |= ARCHIVED
    archiving.step()
    pods = archiving.cluster.list("Pod")
    names = [[container["name"] for container in pod["spec"]["initContainers"]] for pod in pods]
    assert names == [["bootstrap-controller", "plugin-barman-cloud"]] * 2


def test_backups_are_taken_once_and_say_why_they_fail(archiving: World) -> None:
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(**ARCHIVED))
    schedule = {
        "cluster": {"name": "pg"},
        "schedule": "0 0 2 * * *",
        "immediate": True,
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
    }
    archiving.cluster.add("ScheduledBackup", "pg", "ns", spec=schedule)
    backups = PostgresBackups(cast(Watched, archiving.cluster), archiving.cloud)
    backups.reconcile()
    [backup] = archiving.cluster.list("Backup")
    assert backup["status"]["phase"] == "pending"
    archiving.step()
    for _ in range(3):
        backups.reconcile()
    [backup] = archiving.cluster.list("Backup")
    assert backup["status"]["phase"] == "completed"
    archiving.forbid("pg")
    by_hand = {key: schedule[key] for key in ("cluster", "method", "pluginConfiguration")}
    archiving.cluster.add("Backup", "by-hand", "ns", spec=by_hand)
    backups.reconcile()
    failed = archiving.cluster.items["Backup", "ns", "by-hand"]["status"]
    assert failed["phase"] == "failed"
    assert "storage.buckets.get" in failed["error"]


def test_a_recovery_that_finds_no_backup_says_so(archiving: World) -> None:
    source = {"name": PLUGIN, "parameters": {"barmanObjectName": "store", "serverName": "old"}}
    recovery = {"source": "old", "database": "litellm", "owner": "litellm", "secret": {"name": "app"}}
    changes = {"bootstrap": {"recovery": recovery}, "externalClusters": [{"name": "old", "plugin": source}]}
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(**changes, **ARCHIVED))
    status = archiving.step()
    assert status["phaseReason"] == "while restoring a backup: no target backup found"
    assert archiving.cluster.list("Pod") == []


def test_where_pods_run_postgres_own_wal_is_archived_and_replayed(archiving: World, tmp_path: Path) -> None:
    archiving.operator = CloudNativePG(
        cast(Watched, archiving.cluster), archiving.cloud, tmp_path / "buckets"
    )
    archiving.cluster.add("Cluster", "pg", "ns", spec=spec(**ARCHIVED))
    archiving.step()
    assert condition(archiving.cluster.items["Cluster", "ns", "pg"], "ContinuousArchiving") is None
    archiving.cluster.items["PersistentVolumeClaim", "ns", "pg-1"]["spec"]["volumeName"] = "volume"
    handed_over = tmp_path / "claims" / "volume" / "archive"
    handed_over.mkdir(parents=True)
    (handed_over / "000000010000000000000001").write_text("wal")
    (handed_over / ".000000010000000000000002").write_text("unfinished")
    archiving.step()
    assert archiving.condition("ContinuousArchiving")["status"] == "True"
    [segment] = [path for path in (tmp_path / "buckets").rglob("*") if path.is_file()]
    assert (segment.name, segment.read_text()) == ("000000010000000000000001", "wal")
    assert [path.name for path in handed_over.iterdir()] == [".000000010000000000000002"]

    source = {"name": PLUGIN, "parameters": {"barmanObjectName": "store", "serverName": "pg"}}
    recovery = {"source": "old", "database": "litellm", "owner": "litellm", "secret": {"name": "app"}}
    restored = spec(bootstrap={"recovery": recovery}, externalClusters=[{"name": "old", "plugin": source}])
    archiving.allow("pg-2")
    archiving.cluster.add("Cluster", "pg-2", "ns", spec=restored)
    archiving.operator.reconcile()
    reason = archiving.cluster.items["Cluster", "ns", "pg-2"]["status"]["phaseReason"]
    assert reason == "while restoring a backup: no target backup found"
    assert ("Job", "ns", "pg-2-1-full-recovery") not in archiving.cluster.items
    folder = segment.parents[1].relative_to(tmp_path / "buckets")
    content = {"owner": "uid", "ended": "2030-01-01T10:00:00Z", "content": {"rows": [], "roles": {}}}
    archiving.cloud.create("bucketObject", f"{folder}/base/20300101100000", content)
    archiving.operator.reconcile()
    job = archiving.cluster.items["Job", "ns", "pg-2-1-full-recovery"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["SANDBOX_WAL"] == str(segment.parent)
    assert variables["SANDBOX_BACKUP"] == str(segment.parents[1] / "base" / "20300101100000" / "base.tar.gz")


def test_what_is_not_emulated_is_named() -> None:
    refused = spec(tablespaces=[], bootstrap={"recovery": {"backup": {}}}, enableSuperuserAccess=True)
    assert list(not_emulated({"spec": refused})) == [
        "spec.tablespaces",
        "spec.enableSuperuserAccess",
        "spec.bootstrap.recovery.backup",
    ]
