"""What the emulated CSI drivers make of a claim, and what they refuse."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sandbox.cluster.base_objects import DISK_DRIVER, FILESTORE_DRIVER, storage_classes
from sandbox.cluster.watched import Watched
from sandbox.nodes.disks import Disks
from tests.support.fake_cluster import FakeCluster

ZONE = "europe-west4-b"


def provided(storage_class: str, mode: str, size: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The volume made for a claim whose pod is to run in a zone, and what was said."""
    cluster = FakeCluster()
    for kind in storage_classes():
        del kind["kind"]
        cluster.create("StorageClass", kind)
    cluster.add("Node", "n", metadata={"labels": {"topology.kubernetes.io/zone": ZONE}})
    provisioner = FILESTORE_DRIVER if storage_class == "standard-rwx" else DISK_DRIVER
    annotations = {
        "volume.kubernetes.io/storage-provisioner": provisioner,
        "volume.kubernetes.io/selected-node": "n",
    }
    cluster.add(
        "PersistentVolumeClaim",
        "c",
        "ns",
        metadata={"annotations": annotations},
        spec={
            "storageClassName": storage_class,
            "accessModes": [mode],
            "resources": {"requests": {"storage": size}},
        },
        status={},
    )
    disks = Disks(cast(Watched, cluster))
    disks.reconcile()
    volumes = cluster.list("PersistentVolume")
    if not volumes:
        disks.reconcile()
    return (volumes[0] if volumes else None), [message for _, _, message in cluster.events]


def test_a_disk_lies_in_one_zone() -> None:
    volume, _ = provided("standard-rwo", "ReadWriteOnce", "20Gi")
    assert volume is not None
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == [ZONE]


def test_a_share_is_reached_from_every_zone() -> None:
    volume, _ = provided("standard-rwx", "ReadWriteMany", "1Ti")
    assert volume is not None
    assert "nodeAffinity" not in volume["spec"]


@pytest.mark.parametrize(
    ("storage_class", "mode", "size", "cause"),
    [
        ("standard-rwo", "ReadWriteMany", "20Gi", "specified multi writer with mount access type"),
        ("standard-rwx", "ReadWriteMany", "20Gi", "1Ti at least"),
    ],
)
def test_what_a_driver_does_not_make_is_said_once(
    storage_class: str, mode: str, size: str, cause: str
) -> None:
    volume, (said,) = provided(storage_class, mode, size)
    assert volume is None
    assert said.startswith(f'failed to provision volume with StorageClass "{storage_class}"')
    assert cause in said
