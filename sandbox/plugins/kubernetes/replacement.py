"""Which fields of a Kubernetes object cannot change in place, by pulumi-kubernetes' provider/diff.go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.plugins.values import Path, under

_SELECTOR = ("spec.selector",)
_FIELDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "DaemonSet"): _SELECTOR,
    ("apps/v1", "Deployment"): _SELECTOR,
    ("apps/v1", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch/v1", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io/v1", "StorageClass"): ("parameters", "provisioner"),
    ("v1", "ConfigMap"): ("data", "binaryData"),
    ("v1", "Secret"): ("type", "data", "stringData"),
    ("v1", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("v1", "Pod"): ("spec",),
    ("v1", "ResourceQuota"): ("spec.scopes",),
    ("v1", "Service"): ("spec.clusterIP",),
}


def replaces(inputs: Mapping[str, Any]) -> Callable[[Path], bool]:
    """A test for `detailed_diff`: does a change at a place force the object's replacement?"""
    fields = _FIELDS.get((inputs.get("apiVersion", ""), inputs.get("kind", "")), ())
    return under("apiVersion", "kind", "metadata.name", "metadata.namespace", *fields)
