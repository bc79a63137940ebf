"""A Cloud SQL Auth Proxy that is played starts where Google would let it in, and else ends with the real one's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.cluster.watched import Watched
from sandbox.google.cloud import Cloud, member_name
from sandbox.google.project import enable
from sandbox.google.workload_identity import principal
from sandbox.nodes.kubelet import ANNOTATION, Kubelet
from tests.support.fake_cluster import FakeCluster

EMAIL = "litellm-database@demo.iam.gserviceaccount.com"
ACCOUNT = f"projects/demo/serviceAccounts/{EMAIL}"
IMAGE = "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.25.0"
ARGUMENTS = ["--port=5432", "--run-connection-test", "demo:europe-west4:gateway"]
API = "sqladmin.googleapis.com"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """One in which the pod may connect."""
    monkeypatch.setenv("LLM_GATEWAY_SANDBOX", str(tmp_path))
    made = Cloud(tmp_path / "cloud.db")
    made.ensure_cluster("demo", "europe-west4", "platform", "127.0.0.1:6443", "Q0E=")
    enable(made, "demo", API)
    made.create("serviceAccount", ACCOUNT, {})
    grant(made, "serviceAccountIamMember", ACCOUNT, "iam.workloadIdentityUser", principal(made, "ns", "sql"))
    grant(made, "projectIamMember", "projects/demo", "cloudsql.client", f"serviceAccount:{EMAIL}")
    yield made
    made.close()


def grant(cloud: Cloud, kind: str, resource: str, role: str, member: str) -> None:
    cloud.create(kind, member_name(resource, f"roles/{role}", member), {})


def looked_at(cloud: Cloud, arguments: list[str], cluster: FakeCluster | None = None) -> dict[str, Any]:
    cluster = cluster or FakeCluster()
    if ("Pod", "ns", "p") not in cluster.items:
        container = {"name": "proxy", "image": IMAGE, "args": arguments}
        spec = {"nodeName": "n", "serviceAccountName": "sql", "containers": [container]}
        cluster.add("Pod", "p", "ns", spec=spec, status={"phase": "Pending"})
        annotations = {"iam.gke.io/gcp-service-account": EMAIL}
        cluster.add("ServiceAccount", "sql", "ns", metadata={"annotations": annotations})
    kubelet = Kubelet(cast(Watched, cluster), cloud)
    kubelet.reconcile()
    kubelet.reconcile()
    return cluster.items["Pod", "ns", "p"]


def starts(pod: dict[str, Any]) -> bool:
    return ANNOTATION in pod["metadata"].get("annotations", {})


def test_one_that_google_lets_in_starts(cloud: Cloud) -> None:
    assert starts(looked_at(cloud, ARGUMENTS))


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (
            "projectIamMember",
            member_name("projects/demo", "roles/cloudsql.client", f"serviceAccount:{EMAIL}"),
            "boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing permission "
            "cloudsql.instances.get on resource instances/gateway., forbidden",
        ),
        ("serviceAccountIamMember", None, "Permission 'iam.serviceAccounts.getAccessToken' denied"),
        ("service", f"projects/demo/services/{API}", "Cloud SQL Admin API has not been used in project"),
    ],
)
def test_one_that_google_refuses_ends_and_starts_once_it_may(
    cloud: Cloud, kind: str, name: str | None, said: str
) -> None:
    name = name or member_name(ACCOUNT, "roles/iam.workloadIdentityUser", principal(cloud, "ns", "sql"))
    cloud.delete(kind, name)
    cluster = FakeCluster()
    pod = looked_at(cloud, ARGUMENTS, cluster)
    assert not starts(pod)
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert said in status["lastState"]["terminated"]["message"]
    assert cluster.events == [("Warning", "BackOff", "Back-off restarting failed container proxy in pod p")]
    cloud.create(kind, name, {})
    assert starts(looked_at(cloud, ARGUMENTS, cluster))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fuse=/x", *ARGUMENTS], "does not know the option --fuse"),
        (ARGUMENTS[:-1], "missing instance_connection_name"),
    ],
)
def test_what_it_cannot_start_with_is_said(cloud: Cloud, arguments: list[str], said: str) -> None:
    (status,) = looked_at(cloud, arguments)["status"]["containerStatuses"]
    assert said in status["lastState"]["terminated"]["message"]
