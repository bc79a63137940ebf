"""ExternalSecrets against the emulated Secret Manager."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.cluster.status import condition
from sandbox.cluster.watched import Watched
from sandbox.google.cloud import ACCESSOR_ROLE, Cloud, member_name
from sandbox.google.workload_identity import principal
from sandbox.operators.external_secrets import controller
from sandbox.operators.external_secrets.controller import ExternalSecrets, data_hash, duration, object_hash
from tests.support.fake_cluster import FakeCluster

SECRET = "projects/p/secrets/db"


class World:
    """A cluster with the operator, a ready store and one secret in Secret Manager."""

    def __init__(self, folder: Path) -> None:
        self.cluster = FakeCluster()
        self.cloud = Cloud(folder / "cloud.db")
        self.cloud.ensure_cluster("p", "europe-west4", "gke", "127.0.0.1:1", "")
        self.cloud.create("secret", SECRET, {})
        self.cloud.add_secret_version(SECRET, b"one")
        self.operator = ExternalSecrets(cast(Watched, self.cluster), self.cloud)
        self.cluster.operator("external-secrets", "eso", serviceAccountName="reader")
        self.store_kind = "ClusterSecretStore"
        self.cluster.add(self.store_kind, "gsm", spec={"provider": {"gcpsm": {"projectID": "p"}}})

    def grant(self, namespace: str = "eso") -> None:
        name = member_name(SECRET, ACCESSOR_ROLE, principal(self.cloud, namespace, "reader"))
        self.cloud.create("secretIamMember", name, {})

    def ask(self, reference: dict[str, str] | None = None, **target: Any) -> dict[str, Any]:
        """Create or change the ExternalSecret and reconcile; the ExternalSecret as it is then."""
        known = self.cluster.items.get(("ExternalSecret", "ns", "app"))
        generation = known["metadata"]["generation"] + 1 if known else 1
        self.cluster.add(
            "ExternalSecret",
            "app",
            "ns",
            metadata={"generation": generation},
            spec={
                "refreshInterval": "1h0m0s",
                "secretStoreRef": {"kind": self.store_kind, "name": "gsm"},
                "target": target,
                "data": [{"secretKey": "password", "remoteRef": reference or {"key": "db"}}],
            },
            status=(known or {}).get("status", {}),
        )
        self.operator.reconcile()
        return self.cluster.items["ExternalSecret", "ns", "app"]

    def secret(self) -> dict[str, str]:
        data = self.cluster.items["Secret", "ns", "app"]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ready(item: dict[str, Any]) -> tuple[str, str, str]:
    found = condition(item, "Ready")
    assert found is not None
    return found["status"], found["reason"], found["message"]


def test_without_the_operator_nothing_happens(world: World) -> None:
    del world.cluster.items["Deployment", "eso", "external-secrets"]
    assert "conditions" not in world.ask().get("status", {})


def test_a_missing_binding_is_told_as_the_operator_tells_it(world: World) -> None:
    item = world.ask()
    assert ready(item) == ("False", "SecretSyncedError", "could not get secret data from provider")
    level, reason, message = world.cluster.events[-1]
    assert (level, reason) == ("Warning", "UpdateFailed")
    assert message.startswith(
        "error processing spec.data[0] (key: db), err: unable to access Secret from SecretManager Client: "
        "rpc error: code = PermissionDenied desc = Permission 'secretmanager.versions.access' denied"
    )


def test_retries_are_as_far_apart_as_the_operators(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now, tries = 0, list[int]()
    access = world.cloud.access_secret_version

    def accessed(*asked: str) -> tuple[str, bytes]:
        tries.append(now)
        return access(*asked)

    monkeypatch.setattr(world.cloud, "access_secret_version", accessed)
    monkeypatch.setattr(controller, "time", SimpleNamespace(monotonic=lambda: now))
    world.ask()
    for now in range(1, 1000):  # noqa: B007 - the clock
        world.operator.reconcile()
    assert tries == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 931]


def test_a_granted_secret_is_synced_and_owned(world: World) -> None:
    world.grant()
    item = world.ask()
    assert ready(item) == ("True", "SecretSynced", "secret synced")
    assert item["status"]["binding"] == {"name": "app"}
    assert world.secret() == {"password": "one"}
    metadata = world.cluster.items["Secret", "ns", "app"]["metadata"]
    assert metadata["ownerReferences"][0]["uid"] == item["metadata"]["uid"]
    assert metadata["labels"]["reconcile.external-secrets.io/managed"] == "true"


def test_a_missing_version_is_a_missing_secret(world: World) -> None:
    world.grant()
    assert ready(world.ask({"key": "db", "version": "7"}))[0] == "False"
    assert world.cluster.events[-1][2].endswith("Secret does not exist")


def test_a_pinned_version_stays_and_latest_follows(world: World) -> None:
    world.grant()
    world.ask({"key": "db", "version": "1"})
    world.cloud.add_secret_version(SECRET, b"two")
    world.ask({"key": "db", "version": "1"})
    assert world.secret() == {"password": "one"}
    world.ask()
    assert world.secret() == {"password": "two"}


def test_a_template_makes_a_basic_auth_secret(world: World) -> None:
    world.grant()
    template = {
        "engineVersion": "v2",
        "type": "kubernetes.io/basic-auth",
        "metadata": {"labels": {"cnpg.io/reload": "true"}},
        "data": {"username": "litellm", "password": "{{ .password }}"},
    }
    world.ask(template=template)
    assert world.secret() == {"username": "litellm", "password": "one"}
    secret = world.cluster.items["Secret", "ns", "app"]
    assert secret["type"] == "kubernetes.io/basic-auth"
    assert secret["metadata"]["labels"]["cnpg.io/reload"] == "true"


def test_an_immutable_target_keeps_its_data(world: World) -> None:
    world.grant()
    world.ask(immutable=True)
    world.cloud.add_secret_version(SECRET, b"two")
    assert ready(world.ask(immutable=True))[0] == "True"
    assert world.secret() == {"password": "one"}


def test_a_property_is_read_from_json(world: World) -> None:
    world.grant()
    world.cloud.add_secret_version(SECRET, b'{"password": "three"}')
    world.ask({"key": "db", "property": "password"})
    assert world.secret() == {"password": "three"}
    assert ready(world.ask({"key": "db", "property": "user"}))[0] == "False"
    assert world.cluster.events[-1][2].endswith("key user does not exist in secret db")


def test_another_owners_secret_is_left_alone(world: World) -> None:
    world.grant()
    other = {"kind": "ExternalSecret", "name": "other", "uid": "u", "controller": True}
    world.cluster.add("Secret", "app", "ns", metadata={"ownerReferences": [other]}, data={})
    assert ready(world.ask())[2] == "target is owned by another ExternalSecret"


@pytest.mark.parametrize(
    ("target", "refused"),
    [
        ({"creationPolicy": "Merge"}, "spec.target.creationPolicy Merge"),
        ({"template": {"templateFrom": []}}, "spec.target.template.templateFrom"),
    ],
)
def test_what_is_not_emulated_is_named(world: World, target: dict[str, Any], refused: str) -> None:
    assert ready(world.ask(**target))[0] == "False"
    assert world.cluster.events[-1][2] == f"{refused} is not emulated by the sandbox"


def test_a_store_with_own_credentials_is_refused(world: World) -> None:
    store = {"provider": {"gcpsm": {"projectID": "p", "auth": {"secretRef": {}}}}}
    world.cluster.add("ClusterSecretStore", "gsm", spec=store)
    world.operator.reconcile()
    item = world.cluster.items["ClusterSecretStore", "", "gsm"]
    assert ready(item) == ("False", "InvalidProviderConfig", "unable to create client")
    assert world.cluster.events[-1][2].startswith("spec.provider.gcpsm.auth.secretRef is not emulated")


def as_account(world: World, kind: str, namespace: str, account: dict[str, str], name: str = "gke") -> Any:
    """Make the store `gsm`, which reads as a Kubernetes service account."""
    cluster = {"clusterProjectID": "p", "clusterLocation": "europe-west4", "clusterName": name}
    auth = {"workloadIdentity": {**cluster, "serviceAccountRef": account}}
    spec = {"provider": {"gcpsm": {"projectID": "p", "auth": auth}}}
    del world.cluster.items["ClusterSecretStore", "", "gsm"]
    world.cluster.add(kind, "gsm", namespace, spec=spec)


@pytest.mark.parametrize(
    ("account", "reads_as"), [({"name": "reader", "namespace": "eso"}, "eso"), ({"name": "reader"}, "ns")]
)
def test_a_cluster_store_reads_as_the_account_that_it_names(
    world: World, account: dict[str, str], reads_as: str
) -> None:
    """Without a namespace that is one of the namespace that asks."""
    as_account(world, "ClusterSecretStore", "", account)
    world.cluster.add("ServiceAccount", "reader", reads_as)
    assert ready(world.ask())[0] == "False"
    assert "PermissionDenied" in world.cluster.events[-1][2]
    world.grant(reads_as)
    assert ready(world.ask())[0] == "True"


def test_a_namespaces_store_reads_as_an_account_of_its_namespace_alone(world: World) -> None:
    world.grant()
    world.cluster.add("ServiceAccount", "reader", "eso")
    as_account(world, "SecretStore", "ns", {"name": "reader", "namespace": "eso"})
    world.operator.reconcile()
    assert ready(world.cluster.items["SecretStore", "ns", "gsm"])[1] == "InvalidProviderConfig"
    assert "namespace should either be empty or match" in world.cluster.events[-1][2]


def test_a_store_whose_account_or_cluster_is_missing_is_not_ready(world: World) -> None:
    for name, words in (("gke", 'ServiceAccount "reader" not found'), ("other", "identitybindingtoken")):
        world.cluster.add("ClusterSecretStore", "gsm")
        as_account(world, "SecretStore", "ns", {"name": "reader"}, name)
        world.operator.reconcile()
        assert ready(world.cluster.items["SecretStore", "ns", "gsm"])[1] == "InvalidProviderConfig"
        assert words in world.cluster.events[-1][2]
        world.cluster.add("ServiceAccount", "reader", "ns")


def test_a_namespaces_store_without_credentials_reads_as_the_operator(world: World) -> None:
    """As the real one does, whoever made it: so the operator's own account must be granted nothing."""
    del world.cluster.items["ClusterSecretStore", "", "gsm"]
    world.cluster.add("SecretStore", "gsm", "ns", spec={"provider": {"gcpsm": {"projectID": "p"}}})
    world.store_kind = "SecretStore"
    world.grant()
    world.ask()
    assert world.secret() == {"password": "one"}


def test_a_deleted_external_secret_is_let_go(world: World) -> None:
    world.grant()
    item = world.ask()
    assert controller.FINALIZER in item["metadata"]["finalizers"]
    world.cluster.patch("ExternalSecret", item, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    world.operator.reconcile()
    assert world.cluster.items["ExternalSecret", "ns", "app"]["metadata"]["finalizers"] == []


def test_hashes_are_the_operators() -> None:
    printed = "map[password:[111 110 101]]"
    assert data_hash({"password": base64.b64encode(b"one").decode()}) == object_hash(printed)
    assert duration("1h1m1.5s").total_seconds() == 3661.5
