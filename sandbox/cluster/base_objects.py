"""What a GKE cluster has before anything is deployed to it: CPU nodes in three zones, and storage classes."""

from __future__ import annotations

import hashlib
from typing import Any

Manifest = dict[str, Any]

MACHINE_TYPE = "e2-standard-4"
DECLARED_FEATURES = ["ExtendWebSocketsToKubelet"]
"""What the API server knows of the kubelets: it passes `kubectl exec` on as a WebSocket."""
DISK_DRIVER = "pd.csi.storage.gke.io"
FILESTORE_DRIVER = "filestore.csi.storage.gke.io"

# What GKE leaves to pods on 4 vCPU and 16 GB:
# https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes
_CAPACITY = {"cpu": "4", "memory": "16393244Ki", "ephemeral-storage": "98831908Ki", "pods": "110"}
_ALLOCATABLE = {"cpu": "3920m", "memory": "13591580Ki", "ephemeral-storage": "47060071478", "pods": "110"}


def region_of(location: str) -> str:
    """The region of a GKE location, itself a region ("europe-west4") or a zone ("europe-west4-a")."""
    return location[:-2] if location[-2:-1] == "-" else location


def zones_of(location: str) -> list[str]:
    """The zones of the sandbox's region around a GKE location."""
    return [f"{region_of(location)}-{letter}" for letter in "abc"]


def nodes(project: str, cluster: str, location: str) -> list[Manifest]:
    """The nodes of the default pool, one in each zone; kwok plays them."""
    return [_node(project, cluster, zone) for zone in zones_of(location)]


def _node(project: str, cluster: str, zone: str) -> Manifest:
    digest = hashlib.sha256(f"{project}/{cluster}/{zone}".encode()).hexdigest()
    name = f"gke-{cluster[:20]}-default-pool-{digest[:8]}-{digest[8:12]}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "cloud.google.com/gke-nodepool": "default-pool",
                "cloud.google.com/gke-os-distribution": "cos",
                "cloud.google.com/machine-family": "e2",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": MACHINE_TYPE,
                "topology.gke.io/zone": zone,
                "topology.kubernetes.io/region": region_of(zone),
                "topology.kubernetes.io/zone": zone,
            },
        },
        "spec": {"providerID": f"gce://{project}/{zone}/{name}"},
        "status": {
            "capacity": _CAPACITY,
            "allocatable": _ALLOCATABLE,
            "declaredFeatures": DECLARED_FEATURES,
        },
    }


def api_server_endpoint() -> Manifest:
    """Where pods reach the API server behind the Service `kubernetes`: an address of the control plane, port 443."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.2"], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP"}],
    }


def storage_classes() -> list[Manifest]:
    """GKE's classes on the Compute Engine disk driver, and its first one on Filestore's."""
    return [
        _storage_class("standard", "kubernetes.io/gce-pd", "pd-standard", "Immediate"),
        _storage_class("standard-rwo", DISK_DRIVER, "pd-balanced", "WaitForFirstConsumer", default=True),
        _storage_class("premium-rwo", DISK_DRIVER, "pd-ssd", "WaitForFirstConsumer"),
        {
            **_storage_class("standard-rwx", FILESTORE_DRIVER, "", "WaitForFirstConsumer"),
            "parameters": {"tier": "standard"},
        },
    ]


def _storage_class(name: str, provisioner: str, disk: str, binding: str, default: bool = False) -> Manifest:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": str(default).lower()},
        },
        "provisioner": provisioner,
        "parameters": {"type": disk},
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "volumeBindingMode": binding,
    }
