"""The gcp stand-in, asked as the engine asks it: checks, differences, the API's errors, import, secrets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi_gcp as gcp
import pytest
from pulumi.provider.experimental import provider
from pulumi.provider.experimental.property_value import PropertyValue

from sandbox.errors import SandboxError
from sandbox.google.cloud import ACCESSOR_ROLE, Cloud, CloudError
from sandbox.nodes.gke_nodes import Pool
from sandbox.paths import HOME_VARIABLE
from sandbox.plugins.gcp import Gcp
from sandbox.plugins.server import DiffRequest, InitFailed
from sandbox.plugins.values import UNKNOWN, plain_map, property_map
from settings.machines import MACHINES
from tests.support.waiting import wait_for

Json = dict[str, Any]
SECRET = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
MEMBER = "gcp:secretmanager/secretIamMember:SecretIamMember"
POOL = "gcp:container/nodePool:NodePool"
NAME = "projects/demo/secrets/key"
AUTO = {"secretId": "key", "replication": {"auto": {}}}
USER_MANAGED = {"replication": {"userManaged": {"replicas": [{"location": "r"}]}}}
BOUND = {"role": "r", "member": "m"}
WRONG_TAINT = {"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}
OTHER_GPU = {"guestAccelerators": [{"type": "nvidia-tesla-t4", "count": 1}]}
NO_PARTITION = {"guestAccelerators": [{"type": "nvidia-l4", "count": 1, "gpuPartitionSize": "1g.5gb"}]}
TWO_GPUS = {"guestAccelerators": [{"type": "nvidia-l4", "count": 2}]}
GET_CLUSTER = "gcp:container/getCluster:getCluster"


def urn(token: str) -> str:
    return f"urn:pulumi:dev::p::{token}::it"


@dataclass
class Engine:
    """What the engine does with a provider, on plain values."""

    gcp: Gcp
    cloud: Cloud

    def check(self, token: str, inputs: Json, old: Json | None = None) -> tuple[Json, dict[str, str]]:
        request = provider.CheckRequest(urn(token), property_map(old or {}), property_map(inputs), b"seed")
        answer = asyncio.run(self.gcp.check(request))
        failures = {failure.property: failure.reason for failure in answer.failures or []}
        return plain_map(answer.inputs or {}), failures

    def create(self, token: str, inputs: Json, timeout: float = 0) -> tuple[str, dict[str, PropertyValue]]:
        checked, failures = self.check(token, inputs)
        assert failures == {}
        request = provider.CreateRequest(urn(token), property_map(checked), timeout, preview=False)
        made = asyncio.run(self.gcp.create(request))
        assert made.resource_id
        return made.resource_id, made.properties

    def preview(self, token: str, inputs: Json) -> Json:
        request = provider.CreateRequest(urn(token), property_map(inputs), 0, preview=True)
        return plain_map(asyncio.run(self.gcp.create(request)).properties)

    def diff(self, token: str, old: Json, new: Json) -> tuple[list[str], list[str]]:
        """(changed, replacing) properties."""
        request = DiffRequest(urn(token), "id", {}, property_map(new), [])
        request.old_inputs = property_map(old)
        answer = asyncio.run(self.gcp.diff(request))
        return sorted(answer.diffs), sorted(answer.replaces)

    def read(self, token: str, resource_id: str, inputs: Json | None = None) -> provider.ReadResponse:
        request = provider.ReadRequest(urn(token), resource_id, {}, property_map(inputs or {}))
        return asyncio.run(self.gcp.read(request))

    def delete(self, token: str, resource_id: str, state: dict[str, PropertyValue]) -> None:
        asyncio.run(self.gcp.delete(provider.DeleteRequest(urn(token), resource_id, state, 0)))

    def invoke(self, token: str, args: Json) -> Json:
        answer = asyncio.run(self.gcp.invoke(provider.InvokeRequest(token, property_map(args))))
        assert not answer.failures
        return plain_map(answer.return_value or {})

    def configure(self, config: Json) -> dict[str, str]:
        values = property_map(config)
        request = provider.CheckRequest(urn("pulumi:providers:gcp"), {}, values, b"")
        answer = asyncio.run(self.gcp.check_config(request))
        asyncio.run(self.gcp.configure(provider.ConfigureRequest({}, values, True, True)))
        return {failure.property: failure.reason for failure in answer.failures or []}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    cloud = Cloud(tmp_path / "cloud.db")
    cloud.ensure_cluster("demo", "europe-west4", "platform", "127.0.0.1:6443", "Q0E=")
    engine = Engine(Gcp(cloud), cloud)
    assert engine.configure({"project": "demo"}) == {}
    yield engine
    cloud.close()


def gpu_pool(**more: Any) -> Json:
    config = {
        "machineType": "g2-standard-4",
        "guestAccelerators": [{"type": "nvidia-l4", "count": 1}],
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
    }
    return {
        "name": "gpu",
        "cluster": "platform",
        "location": "europe-west4",
        "autoscaling": {"totalMinNodeCount": 0, "totalMaxNodeCount": 1},
        **more,
        "nodeConfig": {**config, **more.get("nodeConfig", {})},
    }


def principal(number: int) -> str:
    pool = "demo.svc.id.goog"
    return (
        f"principal://iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}"
        "/subject/ns/external-secrets/sa/external-secrets"
    )


@pytest.mark.parametrize(
    ("token", "inputs", "path"),
    [
        (SECRET, {**AUTO, "secretID": "x"}, "secretID"),
        (SECRET, {"secretId": "key", "replication": {"autos": {}}}, "replication.autos"),
        (SECRET, {"secretId": "key"}, "replication"),
        (SECRET, {"secretId": "key", "replication": {}}, "replication"),
        (SECRET, {**AUTO, "deletionPolicy": "KEEP"}, "deletionPolicy"),
        (SECRET, {**AUTO, "ttl": "60s"}, "ttl"),
        (VERSION, {"secret": NAME}, "secretData"),
        (VERSION, {"secret": NAME, "secretData": "x", "deletionPolicy": "KEEP"}, "deletionPolicy"),
        (VERSION, {"secret": NAME, "secretData": "?", "isSecretDataBase64": True}, "isSecretDataBase64"),
        (MEMBER, {"secretId": "key", "role": "r", "member": "nobody"}, "member"),
        (POOL, gpu_pool(name="No"), "name"),
        (POOL, gpu_pool(autoscaling={"minNodeCount": 2, "maxNodeCount": 1}), "autoscaling"),
        (POOL, gpu_pool(autoscaling={"maxNodeCount": 1, "totalMaxNodeCount": 1}), "autoscaling"),
        (POOL, gpu_pool(nodeConfig=WRONG_TAINT), "nodeConfig.taints[0].effect"),
        (POOL, gpu_pool(queuedProvisioning={"enabled": True}), "queuedProvisioning"),
    ],
)
def test_check_names_what_is_wrong(engine: Engine, token: str, inputs: Json, path: str) -> None:
    assert list(engine.check(token, inputs)[1]) == [path]


def test_what_a_preview_does_not_know_is_not_checked(engine: Engine) -> None:
    assert engine.check(VERSION, {"secret": UNKNOWN, "secretData": UNKNOWN})[1] == {}
    assert engine.check(SECRET, {"secretId": UNKNOWN, "replication": UNKNOWN})[1] == {}
    assert engine.check(MEMBER, {"secretId": UNKNOWN, "role": UNKNOWN, "member": UNKNOWN})[1] == {}
    assert engine.check(POOL, {"cluster": UNKNOWN, "nodeConfig": UNKNOWN, "autoscaling": UNKNOWN})[1] == {}
    preview = engine.preview(VERSION, {"secret": UNKNOWN, "secretData": UNKNOWN})
    assert preview["version"] is UNKNOWN
    assert engine.preview(SECRET, AUTO)["project"] == "demo"


def test_what_is_not_emulated_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(SandboxError, match="does not emulate gcp:storage/notification:Notification"):
        engine.check("gcp:storage/notification:Notification", {})
    with pytest.raises(SandboxError, match="does not emulate gcp:compute/getZones:getZones"):
        engine.invoke("gcp:compute/getZones:getZones", {})


def test_provider_settings_are_checked(engine: Engine) -> None:
    assert list(engine.configure({"projekt": "demo"})) == ["projekt"]
    endpoint = "secretManagerCustomEndpoint"
    assert list(engine.configure({endpoint: "https://127.0.0.1"})) == [endpoint]
    with pytest.raises(SandboxError, match="never talks to a real project") as refused:
        engine.configure({"credentials": "key-material"})
    assert "key-material" not in str(refused.value)


def test_secret_labels_get_the_providers(engine: Engine) -> None:
    engine.configure({"project": "demo", "defaultLabels": '{"team": "ml"}'})
    secret_id, state = engine.create(SECRET, {**AUTO, "labels": {"a": "b"}})
    assert secret_id == NAME
    assert plain_map(state)["labels"] == {"a": "b"}
    assert plain_map(state)["effectiveLabels"] == {"goog-pulumi-provisioned": "true", "team": "ml", "a": "b"}
    assert state["effectiveLabels"].is_secret


@pytest.mark.parametrize(
    ("token", "inputs", "message"),
    [
        (SECRET, {**AUTO, "secretId": "a.b"}, "Error 400: The provided Secret ID"),
        (SECRET, {**AUTO, "labels": {"A": "b"}}, "Error 400: The label"),
        (SECRET, {**AUTO, "project": "nowhere"}, "Error 404: Project"),
        (VERSION, {"secret": "projects/demo/secrets/no", "secretData": "x"}, "Error 404: Secret"),
        (VERSION, {"secret": "key", "secretData": "x"}, "not of the form projects/<project>/secrets"),
        (MEMBER, {"secretId": "no", "role": ACCESSOR_ROLE, "member": "user:a@b.c"}, "Error 404: Secret"),
        (POOL, gpu_pool(cluster="no"), "Error 404: Not found: projects/demo/.*/clusters/no"),
        (POOL, gpu_pool(nodeLocations=["us-east1-b"]), "Error 400: Location"),
        (POOL, gpu_pool(nodeConfig={"machineType": "z9-small"}), "does not emulate the machine type z9"),
        (POOL, gpu_pool(nodeConfig=OTHER_GPU), "Error 400: Accelerator type"),
        (POOL, gpu_pool(nodeConfig=TWO_GPUS), "Error 400: 2 accelerators"),
        (POOL, gpu_pool(nodeConfig=NO_PARTITION), 'Error 400: GPU partition size "1g.5gb"'),
        (POOL, gpu_pool(nodeConfig={"labels": {"kubernetes.io/x": "y"}}), "is reserved"),
        (POOL, gpu_pool(upgradeSettings={"maxSurge": 0, "maxUnavailable": 0}), "must add up"),
    ],
)
def test_create_fails_as_the_api_does(engine: Engine, token: str, inputs: Json, message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        engine.create(token, inputs)


def test_an_autopilot_cluster_takes_no_node_pool(engine: Engine) -> None:
    engine.cloud.ensure_cluster("demo", "europe-west4", "auto", "127.0.0.1:6443", "Q0E=", autopilot=True)
    with pytest.raises(SandboxError, match="Error 400: Autopilot node pools cannot be accessed or modified"):
        engine.create(POOL, gpu_pool(cluster="auto"))


@pytest.mark.parametrize("machine_type", MACHINES)
def test_every_machine_type_that_the_settings_take_is_emulated(engine: Engine, machine_type: str) -> None:
    for kind, counts in MACHINES[machine_type].accelerators.items():
        for count in counts:
            gpus = [{"type": kind, "count": count}]
            config = {"machineType": machine_type, "guestAccelerators": gpus}
            pool_id, _ = engine.create(POOL, gpu_pool(name=f"{kind}-{count}", nodeConfig=config))
            capacity, _ = Pool(engine.cloud.get("nodePool", pool_id)).sizes()
            assert capacity["nvidia.com/gpu"] == str(count)


def test_a_name_in_use_is_a_conflict(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    with pytest.raises(SandboxError, match=r"googleapi: Error 409: Secret .* already exists"):
        engine.create(SECRET, AUTO)
    engine.create(POOL, gpu_pool())
    with pytest.raises(SandboxError, match="nodePools/gpu - already exists"):
        engine.create(POOL, gpu_pool())


def test_member_must_be_of_this_projects_pool_and_role_one_of_secrets(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    number = engine.cloud.ensure_project("demo")
    good = {"secretId": "key", "role": ACCESSOR_ROLE, "member": principal(number)}
    created, _ = engine.create(MEMBER, good)
    assert created == f"{NAME}/{ACCESSOR_ROLE}/{principal(number)}"
    assert engine.create(MEMBER, good)[0] == created
    with pytest.raises(SandboxError, match="Identity Pool does not exist"):
        engine.create(MEMBER, {**good, "member": principal(number + 1)})
    with pytest.raises(SandboxError, match="is not supported for this resource"):
        engine.create(MEMBER, {**good, "role": "roles/secretmanager.accessor"})


def test_versions_count_up_and_their_data_is_secret(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    _, first = engine.create(VERSION, {"secret": NAME, "secretData": "one"})
    resource_id, second = engine.create(VERSION, {"secret": NAME, "secretData": "two"})
    assert (plain_map(first)["version"], plain_map(second)["version"]) == ("1", "2")
    assert second["secretData"].is_secret
    assert resource_id == f"projects/{engine.cloud.ensure_project('demo')}/secrets/key/versions/2"


@pytest.mark.parametrize(
    ("policy", "state"), [("DELETE", "DESTROYED"), ("DISABLE", "DISABLED"), ("ABANDON", "ENABLED")]
)
def test_deletion_policy_of_a_version(engine: Engine, policy: str, state: str) -> None:
    engine.create(SECRET, AUTO)
    made = engine.create(VERSION, {"secret": NAME, "secretData": "x", "deletionPolicy": policy})
    engine.delete(VERSION, *made)
    assert engine.cloud.get("secretVersion", f"{NAME}/versions/1")["state"] == state


def test_a_version_that_is_destroyed_with_a_delay_is_disabled_and_comes_back(engine: Engine) -> None:
    engine.create(SECRET, {**AUTO, "versionDestroyTtl": "86400s"})
    inputs = {"secret": NAME, "secretData": "x"}
    resource_id, state = engine.create(VERSION, inputs)
    name = f"{NAME}/versions/1"
    engine.delete(VERSION, resource_id, state)
    scheduled = engine.cloud.get("secretVersion", name)
    assert (scheduled["state"], scheduled["payload"]) == ("DISABLED", "eA==")
    assert scheduled["scheduledDestroyTime"] > scheduled["createTime"]
    back = engine.cloud.set_secret_version(name, "ENABLED")
    assert (back["state"], back["scheduledDestroyTime"]) == ("ENABLED", "")
    assert plain_map(engine.read(VERSION, resource_id, inputs).properties) == plain_map(state)


def test_a_version_that_is_destroyed_without_a_delay_never_comes_back(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    resource_id, state = engine.create(VERSION, {"secret": NAME, "secretData": "x"})
    engine.delete(VERSION, resource_id, state)
    with pytest.raises(CloudError, match="is in DESTROYED state"):
        engine.cloud.set_secret_version(f"{NAME}/versions/1", "ENABLED")


def test_deleting_a_secret_waits_for_nothing(engine: Engine) -> None:
    engine.create(SECRET, {**AUTO, "versionDestroyTtl": "86400s", "deletionProtection": True})
    engine.create(VERSION, {"secret": NAME, "secretData": "x"})
    engine.cloud.delete("secret", NAME)  # by its API: deletionProtection is in the state alone
    assert engine.cloud.list("secretVersion") == []


@pytest.mark.parametrize("delay", ["86399s", "86400001s", "1d", "86400"])
def test_a_delay_that_google_refuses(engine: Engine, delay: str) -> None:
    with pytest.raises(SandboxError, match="from one day"):
        engine.create(SECRET, {**AUTO, "versionDestroyTtl": delay})


def test_protected_things_are_not_deleted(engine: Engine) -> None:
    secret = engine.create(SECRET, {**AUTO, "deletionProtection": True})
    with pytest.raises(SandboxError, match="without setting deletionProtection=false"):
        engine.delete(SECRET, *secret)
    pool = engine.create(POOL, gpu_pool(deletionPolicy="PREVENT"))
    with pytest.raises(SandboxError, match='without setting deletionPolicy="DELETE"'):
        engine.delete(POOL, *pool)


@pytest.mark.parametrize(
    ("token", "old", "change", "replaces"),
    [
        (SECRET, AUTO, {"secretId": "other"}, ["secretId"]),
        (SECRET, AUTO, {"project": "other"}, ["project"]),
        (SECRET, AUTO, USER_MANAGED, ["replication.auto", "replication.userManaged"]),
        (SECRET, AUTO, {"labels": {"a": "b"}}, []),
        (SECRET, AUTO, {"deletionProtection": True}, []),
        (VERSION, {"secret": NAME, "secretData": "a"}, {"secretData": "b"}, ["secretData"]),
        (VERSION, {"secret": NAME, "secretData": "a"}, {"secret": UNKNOWN}, ["secret"]),
        (VERSION, {"secret": NAME, "secretData": "a"}, {"enabled": False}, []),
        (POOL, gpu_pool(), {"initialNodeCount": 2}, ["initialNodeCount"]),
        (POOL, gpu_pool(), {"name": "other"}, ["name"]),
        (POOL, gpu_pool(), {"autoscaling": {"totalMinNodeCount": 1, "totalMaxNodeCount": 1}}, []),
        (POOL, gpu_pool(), gpu_pool(nodeConfig={"machineType": "g2-standard-8"}), []),
        (POOL, gpu_pool(), gpu_pool(nodeConfig={"labels": {"a": "b"}}), []),
        (POOL, gpu_pool(), gpu_pool(nodeConfig={"spot": True}), ["nodeConfig.spot"]),
    ],
)
def test_changes_and_replacements(
    engine: Engine, token: str, old: Json, change: Json, replaces: list[str]
) -> None:
    changed, replacing = engine.diff(token, old, {**old, **change})
    assert changed
    assert replacing == replaces


@pytest.mark.parametrize(
    ("token", "old", "new"),
    [
        (SECRET, AUTO, {**AUTO, "project": "demo", "deletionProtection": False}),
        (VERSION, {"secret": NAME, "secretData": "a"}, {"secret": NAME, "secretData": "a", "enabled": True}),
        (MEMBER, {"secretId": "key", **BOUND}, {"secretId": NAME, **BOUND}),
        (POOL, gpu_pool(initialNodeCount=1), gpu_pool()),
        (POOL, gpu_pool(nodeConfig={"diskSizeGb": 200}), gpu_pool()),
    ],
)
def test_the_same_thing_said_otherwise_is_no_change(engine: Engine, token: str, old: Json, new: Json) -> None:
    assert engine.diff(token, old, new) == ([], [])


def test_refresh_is_clean_shows_drift_and_sees_what_is_gone(engine: Engine) -> None:
    inputs = {"secret": NAME, "secretData": "x"}
    engine.create(SECRET, AUTO)
    resource_id, state = engine.create(VERSION, inputs)
    clean = engine.read(VERSION, resource_id, inputs)
    assert plain_map(clean.properties) == plain_map(state)
    assert plain_map(clean.inputs) == inputs
    engine.cloud.change("secretVersion", resource_id, state="DISABLED")
    assert plain_map(engine.read(VERSION, resource_id, inputs).inputs) == {**inputs, "enabled": False}
    engine.cloud.delete("secret", NAME)
    assert engine.read(VERSION, resource_id, inputs).resource_id == ""
    assert engine.read(SECRET, NAME, AUTO).resource_id == ""


def test_import(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    engine.create(VERSION, {"secret": NAME, "secretData": "kept"})
    engine.create(MEMBER, {"secretId": "key", "role": ACCESSOR_ROLE, "member": "user:a@b.c"})
    pool_id, _ = engine.create(POOL, gpu_pool())
    version = engine.read(VERSION, f"{NAME}/versions/1")
    assert plain_map(version.inputs) == {"secret": NAME, "secretData": "kept", "project": "demo"}
    assert version.inputs["secretData"].is_secret
    member = engine.read(MEMBER, f"{NAME} {ACCESSOR_ROLE} user:a@b.c")
    assert member.resource_id == f"{NAME}/{ACCESSOR_ROLE}/user:a@b.c"
    assert plain_map(engine.read(POOL, pool_id).inputs)["cluster"] == "platform"
    with pytest.raises(SandboxError, match="not of the form"):
        engine.read(SECRET, "key")
    assert engine.read(SECRET, "projects/demo/secrets/no").resource_id == ""


def test_a_pool_with_nodes_waits_for_them(engine: Engine) -> None:
    name = "projects/demo/locations/europe-west4/clusters/platform/nodePools/gpu"

    def come_up() -> None:
        wait_for(lambda: engine.cloud.list("nodePool"))
        engine.cloud.change("nodePool", name, status="RUNNING")

    nodes = threading.Thread(target=come_up)
    nodes.start()
    assert engine.create(POOL, gpu_pool(initialNodeCount=1), timeout=60)[0] == name
    nodes.join()


def test_a_pool_whose_nodes_do_not_come_is_kept_with_the_reason(engine: Engine) -> None:
    with pytest.raises(InitFailed, match="timeout while waiting"):
        engine.create(POOL, gpu_pool(initialNodeCount=1), timeout=0.01)
    assert [row["pool"] for row in engine.cloud.list("nodePool")] == ["gpu"]


def test_a_pool_in_error_is_tried_again_by_an_update(engine: Engine) -> None:
    resource_id, state = engine.create(POOL, gpu_pool())
    engine.cloud.change("nodePool", resource_id, status="ERROR")
    news = property_map(gpu_pool(initialNodeCount=1))
    request = provider.UpdateRequest(urn(POOL), resource_id, state, news, 0.01, [], preview=False)
    with pytest.raises(InitFailed, match="timeout while waiting"):
        asyncio.run(engine.gcp.update(request))
    assert engine.cloud.get("nodePool", resource_id)["status"] == "PROVISIONING"


def test_a_pool_without_a_name_gets_one_and_keeps_it(engine: Engine) -> None:
    unnamed = {"cluster": "platform"}
    first, _ = engine.check(POOL, unnamed)
    assert first["name"].startswith("it-")
    again, _ = engine.check(POOL, unnamed, old={**first, "name": "it-abcdefg"})
    assert again["name"] == "it-abcdefg"


VERSION_LOOKUP = "gcp:secretmanager/getSecretVersion:getSecretVersion"


def key_version(version: str) -> dict[str, Any]:
    return {"secret": "key", "version": version, "fetchSecretData": False}


def test_a_version_is_looked_up_without_its_value_and_is_called_enabled(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    name = "projects/demo/secrets/key"
    with pytest.raises(
        SandboxError, match=r"Error 404: Secret Version .*/secrets/key/versions/1\] not found"
    ):
        engine.invoke(VERSION_LOOKUP, key_version("1"))
    engine.cloud.add_secret_version(name, b"hidden")
    engine.cloud.change("secretVersion", f"{name}/versions/1", state="DISABLED")
    found = engine.invoke(VERSION_LOOKUP, key_version("1"))
    assert (found["version"], found["enabled"], found["secretData"]) == ("1", True, "")
    engine.cloud.add_secret_version(name, b"newer")
    assert engine.invoke(VERSION_LOOKUP, {"secret": "key", "fetchSecretData": False})["version"] == "2"
    with pytest.raises(SandboxError, match="fetchSecretData"):
        engine.invoke(VERSION_LOOKUP, {"secret": "key"})


def test_lookups_return_only_what_the_sdk_knows(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    engine.cloud.add_secret_version("projects/demo/secrets/key", b"value")
    for token, args, result in (
        (GET_CLUSTER, {"name": "platform", "location": "europe-west4"}, gcp.container.GetClusterResult),
        ("gcp:organizations/getProject:getProject", {}, gcp.organizations.GetProjectResult),
        ("gcp:secretmanager/getSecret:getSecret", {"secretId": "key"}, gcp.secretmanager.GetSecretResult),
        ("gcp:secretmanager/getSecrets:getSecrets", {}, gcp.secretmanager.GetSecretsResult),
        (VERSION_LOOKUP, key_version("1"), gcp.secretmanager.GetSecretVersionResult),
    ):
        found = engine.invoke(token, args)
        names = {
            getattr(member.fget, "_pulumi_name", None)
            for member in vars(result).values()
            if isinstance(member, property)
        }
        assert set(found) <= names


def test_lookups_of_what_is_missing(engine: Engine) -> None:
    with pytest.raises(SandboxError, match="clusters/no not found"):
        engine.invoke(GET_CLUSTER, {"name": "no", "location": "r"})
    with pytest.raises(SandboxError, match="projects/demo/secrets/no not found"):
        engine.invoke("gcp:secretmanager/getSecret:getSecret", {"secretId": "no"})
    with pytest.raises(SandboxError, match="Error 403"):
        engine.invoke("gcp:organizations/getProject:getProject", {"projectId": "no"})
