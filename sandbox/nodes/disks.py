"""The CSI drivers of Persistent Disk and Filestore: make, bind, grow and remove volumes for claims of their classes.

A disk lies in one zone and is refused to many writers; a Filestore share is reached from every zone, takes many
writers, and has a tebibyte at least.

What they do not do: hold data, mount anything, take snapshots, clone, honour disk types' limits or attach
limits. Volumes of other drivers are left alone.
"""

from __future__ import annotations

from kubernetes.utils.quantity import parse_quantity

from sandbox.cluster.base_objects import DISK_DRIVER, FILESTORE_DRIVER
from sandbox.cluster.watched import Json, Watched

_ZONE = "topology.kubernetes.io/zone"
_DRIVER_ZONE = "topology.gke.io/zone"
_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_DRIVERS = (DISK_DRIVER, FILESTORE_DRIVER)
_LEAST_SHARE = parse_quantity("1Ti")
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


class Disks:
    """Reconciles claims, volumes and attachments of the drivers."""

    kinds = frozenset(
        {"Node", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "VolumeAttachment"}
    )

    def __init__(self, api: Watched) -> None:
        self._api = api
        self._refused: set[str] = set()

    def reconcile(self) -> None:
        for node in self._api.list("Node"):
            self._register(node)
        for claim in self._api.list("PersistentVolumeClaim"):
            if claim["metadata"].get("annotations", {}).get(_PROVISIONER) in _DRIVERS:
                self._provide(claim)
        for volume in self._api.list("PersistentVolume"):
            if self._released(volume):
                self._api.delete("PersistentVolume", volume)
        for attachment in self._api.list("VolumeAttachment"):
            if attachment["spec"]["attacher"] in _DRIVERS and not attachment.get("status", {}).get(
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
                refusal = _refusal(claim, storage)
                if refusal:
                    self._refuse(claim, storage, refusal)
                    return
                self._api.create("PersistentVolume", volume_for(claim, storage, name, zone))
                message = f"Successfully provisioned volume {name}"
                self._api.event(
                    "PersistentVolumeClaim",
                    claim,
                    "Normal",
                    "ProvisioningSucceeded",
                    message,
                    storage["provisioner"],
                )
        elif claim["status"].get("phase") == "Bound":
            self._grow(claim, volume)

    def _refuse(self, claim: Json, storage: Json, refusal: str) -> None:
        uid = claim["metadata"]["uid"]
        if uid not in self._refused:
            self._refused.add(uid)
            message = (
                f'failed to provision volume with StorageClass "{storage["metadata"]["name"]}": {refusal}'
            )
            self._api.event(
                "PersistentVolumeClaim",
                claim,
                "Warning",
                "ProvisioningFailed",
                message,
                storage["provisioner"],
            )

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
            volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) in _DRIVERS
            and volume.get("status", {}).get("phase") == "Released"
            and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
            and "deletionTimestamp" not in volume["metadata"]
        )


def _refusal(claim: Json, storage: Json) -> str | None:
    """The drivers' words for a claim that they make no volume for."""
    many = "ReadWriteMany" in claim["spec"]["accessModes"]
    if storage["provisioner"] == DISK_DRIVER and many:
        return (
            "rpc error: code = InvalidArgument desc = VolumeCapabilities is invalid: specified multi writer with mount "
            "access type"
        )
    asked = parse_quantity(claim["spec"]["resources"]["requests"]["storage"])
    if storage["provisioner"] == FILESTORE_DRIVER and asked < _LEAST_SHARE:
        # The driver itself rounds up, to a terabyte that is paid for: the emulation is stricter.
        return "rpc error: code = OutOfRange desc = a basic Filestore instance has 1Ti at least"
    return None


def volume_for(claim: Json, storage: Json, name: str, zone: str) -> Json:
    """The PersistentVolume the driver makes for a claim, in a zone."""
    metadata, driver = claim["metadata"], storage["provisioner"]
    return {
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: driver}},
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
                "driver": driver,
                "fsType": storage.get("parameters", {}).get("csi.storage.k8s.io/fstype", "ext4"),
                "volumeHandle": f"projects/UNSPECIFIED/zones/{zone}/disks/{name}",
            },
            **(
                {
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": _DRIVER_ZONE, "operator": "In", "values": [zone]}
                                    ]
                                }
                            ]
                        }
                    }
                }
                if driver == DISK_DRIVER
                else {}
            ),
            "persistentVolumeReclaimPolicy": storage.get("reclaimPolicy", "Delete"),
            "storageClassName": storage["metadata"]["name"],
            "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
        },
    }
