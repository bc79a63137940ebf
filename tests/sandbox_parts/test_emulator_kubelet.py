"""The kubelet's look at a pod's references."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.cluster.watched import Watched
from sandbox.google.cloud import Cloud
from sandbox.nodes.kubelet import ANNOTATION, Kubelet
from tests.support.fake_cluster import FakeCluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setenv("LLM_GATEWAY_SANDBOX", str(tmp_path))
    return FakeCluster()


def look(cluster: FakeCluster, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Bind a pod, let the kubelet look twice, and return the pod."""
    if ("Pod", "ns", "p") not in cluster.items:
        containers = [{"name": "c", "image": "i", **container}]
        status = {"phase": "Pending"}
        cluster.add("Pod", "p", "ns", spec={"nodeName": "n", "containers": containers, **spec}, status=status)
    kubelet = Kubelet(cast(Watched, cluster), cast(Cloud, None))
    kubelet.reconcile()
    kubelet.reconcile()
    return cluster.items["Pod", "ns", "p"]


def key_of(name: str, key: str, **reference: Any) -> dict[str, Any]:
    return {"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **reference}}}]}


def starts(pod: dict[str, Any]) -> bool:
    return pod["metadata"].get("annotations", {}).get(ANNOTATION) == "present"


def test_a_pod_without_references_starts(cluster: FakeCluster) -> None:
    assert starts(look(cluster, {}))


def test_a_missing_secret_holds_the_container_and_is_told_once(cluster: FakeCluster) -> None:
    pod = look(cluster, key_of("s", "k"))
    assert not starts(pod)
    assert pod["status"]["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}
    }
    assert cluster.events == [("Warning", "Failed", 'Error: secret "s" not found')]


def test_a_missing_key_is_named_and_the_pod_starts_when_it_comes(cluster: FakeCluster) -> None:
    cluster.add("Secret", "s", "ns", data={"other": ""})
    pod = look(cluster, key_of("s", "k"))
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == "couldn't find key k in Secret ns/s"
    cluster.items["Secret", "ns", "s"]["data"]["k"] = ""
    assert starts(look(cluster, {}))


@pytest.mark.parametrize(
    "container",
    [
        key_of("s", "k", optional=True),
        {"envFrom": [{"secretRef": {"name": "s", "optional": True}}]},
        {"envFrom": [{"configMapRef": {"name": "s", "optional": True}}]},
        {"env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
    ],
)
def test_optional_references_do_not_hold(cluster: FakeCluster, container: dict[str, Any]) -> None:
    assert starts(look(cluster, container))


def test_another_namespaces_secret_does_not_count(cluster: FakeCluster) -> None:
    cluster.add("Secret", "s", "elsewhere", data={"k": ""})
    assert not starts(look(cluster, key_of("s", "k")))


def test_an_init_container_holds_the_others(cluster: FakeCluster) -> None:
    init = {"name": "init", "image": "i", "envFrom": [{"configMapRef": {"name": "m"}}]}
    status = look(cluster, {}, initContainers=[init])["status"]
    assert status["initContainerStatuses"][0]["state"]["waiting"]["message"] == 'configmap "m" not found'
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("volume", "cause"),
    [
        ({"secret": {"secretName": "s"}}, 'secret "s" not found'),
        ({"configMap": {"name": "m", "items": [{"key": "k"}]}}, "references non-existent config key: k"),
        ({"projected": {"sources": [{"secret": {"name": "s"}}]}}, 'secret "s" not found'),
        ({"persistentVolumeClaim": {"claimName": "d"}}, 'persistentvolumeclaim "d" not found'),
        ({"nfs": {"server": "x", "path": "/"}}, "volumes of type nfs are not emulated by the sandbox"),
    ],
)
def test_a_volume_that_cannot_be_mounted(cluster: FakeCluster, volume: dict[str, Any], cause: str) -> None:
    cluster.add("ConfigMap", "m", "ns", data={})
    pod = look(cluster, {}, volumes=[{"name": "v", **volume}])
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    message = f'MountVolume.SetUp failed for volume "v" : {cause}'
    assert cluster.events == [("Warning", "FailedMount", message)]


def test_volumes_that_are_there_keep_no_pod_waiting(cluster: FakeCluster) -> None:
    claim = {"accessModes": ["ReadWriteOnce"]}
    cluster.add("PersistentVolumeClaim", "d", "ns", spec=claim, status={"phase": "Bound"})
    volumes = [
        {"name": "d", "persistentVolumeClaim": {"claimName": "d"}},
        {"name": "e", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "none", "optional": True}},
    ]
    assert starts(look(cluster, {}, volumes=volumes))


def with_claim(cluster: FakeCluster, mode: str) -> dict[str, Any]:
    """A pod on node n whose claim a pod on another node has."""
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    cluster.add(
        "PersistentVolumeClaim",
        "c",
        "ns",
        spec={"accessModes": [mode], "volumeName": "pvc-1"},
        status={"phase": "Bound"},
    )
    cluster.add(
        "Pod",
        "first",
        "ns",
        metadata={"annotations": {ANNOTATION: "present"}},
        spec={"nodeName": "other", "containers": [], "volumes": volumes},
        status={"phase": "Running"},
    )
    return look(cluster, {}, volumes=volumes)


def test_a_volume_of_one_node_is_not_had_by_a_second_one(cluster: FakeCluster) -> None:
    assert not starts(with_claim(cluster, "ReadWriteOnce"))
    said = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) first'
    assert cluster.events == [("Warning", "FailedAttachVolume", said)]
    cluster.items["Pod", "ns", "first"]["status"]["phase"] = "Succeeded"
    assert starts(look(cluster, {}))


def test_a_volume_of_many_nodes_is_had_by_a_second_one(cluster: FakeCluster) -> None:
    assert starts(with_claim(cluster, "ReadWriteMany"))
