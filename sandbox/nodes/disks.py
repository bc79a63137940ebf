"""The Persistent Disk CSI driver: makes, binds, grows and removes volumes for claims of its StorageClasses.

What it does not do: hold data, mount anything, take snapshots, clone, honour disk types' limits or attach
limits. Volumes of other drivers are left alone.
"""

from __future__ import annotations

from sandbox.cluster.base_objects import DISK_DRIVER
from sandbox.cluster.watched import Json, Watched

_ZONE = "topology.kubernetes.io/zone"
_DRIVER_ZONE = "topology.gke.io/zone"
_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


class Disks:
    """Reconciles claims, volumes and attachments of the driver."""

    kinds = frozenset(
        {"Node", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "VolumeAttachment"}
    )

    def __init__(self, api: Watched) -> None:
        self._api = api

    def reconcile(self) -> None:
        for node in self._api.list("Node"):
            self._register(node)
        for claim in self._api.list("PersistentVolumeClaim"):
            if claim["metadata"].get("annotations", {}).get(_PROVISIONER) == DISK_DRIVER:
                self._provide(claim)
        for volume in self._api.list("PersistentVolume"):
            if self._released(volume):
                self._api.delete("PersistentVolume", volume)
        for attachment in self._api.list("VolumeAttachment"):
            if attachment["spec"]["attacher"] == DISK_DRIVER and not attachment.get("status", {}).get(
                "attached"
            ):
                self._api.patch("VolumeAttachment", attachment, {"status": {"attached": True}}, "/status")

    def _register(self, node: Json) -> None:
        labels = node["metadata"].get("labels", {})
        if _ZONE in labels and labels.get(_DRIVER_ZONE) != labels[_ZONE]:
            self._api.patch("Node", node, {"metadata": {"labels": {_DRIVER_ZONE: labels[_ZONE]}}})

    def _provide(self, claim: Json) -> None:
        storage = self._api.get("StorageClass", "", claim["spec"].get("storageClassName", ""))
        if storage is None or "deletionTimestamp" in claim["metadata"]:
            return
        name = f"pvc-{claim['metadata']['uid']}"
        volume = self._api.get("PersistentVolume", "", name)
        if volume is None:
            zone = self._zone(claim, storage)
            if zone and not claim["spec"].get("volumeName"):
                self._api.create("PersistentVolume", volume_for(claim, storage, name, zone))
                message = f"Successfully provisioned volume {name}"
                self._api.event(
                    "PersistentVolumeClaim", claim, "Normal", "ProvisioningSucceeded", message, DISK_DRIVER
                )
        elif claim["status"].get("phase") == "Bound":
            self._grow(claim, volume)

    def _zone(self, claim: Json, storage: Json) -> str | None:
        if storage.get("volumeBindingMode") == "WaitForFirstConsumer":
            node = claim["metadata"].get("annotations", {}).get(_SELECTED_NODE)
            found = self._api.get("Node", "", node) if node else None
            return found["metadata"]["labels"].get(_ZONE) if found else None
        zones = {node["metadata"].get("labels", {}).get(_ZONE) for node in self._api.list("Node")}
        return min((zone for zone in zones if zone), default=None)

    def _grow(self, claim: Json, volume: Json) -> None:
        asked = claim["spec"]["resources"]["requests"]["storage"]
        if claim["status"].get("capacity", {}).get("storage") == asked:
            return
        if volume["spec"]["capacity"]["storage"] != asked:
            self._api.patch("PersistentVolume", volume, {"spec": {"capacity": {"storage": asked}}})
            return
        status = {"capacity": {"storage": asked}, "conditions": None, "allocatedResources": None}
        if self._api.patch("PersistentVolumeClaim", claim, {"status": status}, "/status"):
            self._api.event(
                "PersistentVolumeClaim",
                claim,
                "Normal",
                "FileSystemResizeSuccessful",
                "MountVolume.NodeExpandVolume succeeded for volume",
                "kubelet",
            )

    def _released(self, volume: Json) -> bool:
        return (
            volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == DISK_DRIVER
            and volume["status"].get("phase") == "Released"
            and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
            and "deletionTimestamp" not in volume["metadata"]
        )


def volume_for(claim: Json, storage: Json, name: str, zone: str) -> Json:
    """The PersistentVolume the driver makes for a claim, in a zone."""
    metadata = claim["metadata"]
    return {
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: DISK_DRIVER}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "csi": {
                "driver": DISK_DRIVER,
                "fsType": storage.get("parameters", {}).get("csi.storage.k8s.io/fstype", "ext4"),
                "volumeHandle": f"projects/UNSPECIFIED/zones/{zone}/disks/{name}",
            },
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": _DRIVER_ZONE, "operator": "In", "values": [zone]}]}
                    ]
                }
            },
            "persistentVolumeReclaimPolicy": storage.get("reclaimPolicy", "Delete"),
            "storageClassName": storage["metadata"]["name"],
            "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
        },
    }
