"""The objects CloudNativePG makes for a Cluster: Services, budgets, claims, Jobs and Pods, as plain JSON.

What they lack: certificates, the roles and bindings of the instance manager, the monitoring ConfigMap, and
the instance's environment beyond what a scheduler and a reader of the object can see.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Literal, NamedTuple

from sandbox.cluster.watched import Json, owner

CLUSTER = "cnpg.io/cluster"
INSTANCE = "cnpg.io/instanceName"
INSTANCE_ROLE = "cnpg.io/instanceRole"
POD_SPEC = "cnpg.io/podSpec"
PVC_ROLE = "cnpg.io/pvcRole"
SERIAL = "cnpg.io/nodeSerial"

_PORT = 5432
_USER = 26
# Once a second, where the operator asks every ten, and without its TLS.
_PROBED = {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 60}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_COMMANDS = {"postgres": "run", "initdb": "init", "full-recovery": "restore"}
_MOUNTS = [
    {"name": "pgdata", "mountPath": "/var/lib/postgresql/data"},
    {"name": "scratch-data", "mountPath": "/run"},
    {"name": "scratch-data", "mountPath": "/controller"},
    {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 a path in the pod
]
_WAL_MOUNT = {"name": "pg-wal", "mountPath": "/var/lib/postgresql/wal"}


class Operator(NamedTuple):
    """What the operator puts into the pods it makes: its own image, and a plugin's sidecar."""

    image: str
    sidecar: Json | None = None


def services(cluster: Json) -> list[Json]:
    """X-rw (the primary), X-ro (the replicas) and X-r (any instance)."""
    name = cluster["metadata"]["name"]
    selectors = {
        "rw": {CLUSTER: name, INSTANCE_ROLE: "primary"},
        "ro": {CLUSTER: name, INSTANCE_ROLE: "replica"},
        "r": {CLUSTER: name, "cnpg.io/podRole": "instance"},
    }
    return [
        {
            "metadata": _metadata(cluster, f"{name}-{suffix}"),
            "spec": {
                "type": "ClusterIP",
                "selector": selector,
                "ports": [{"name": "postgres", "protocol": "TCP", "port": _PORT, "targetPort": _PORT}],
            },
        }
        for suffix, selector in selectors.items()
    ]


def disruption_budgets(cluster: Json) -> list[Json]:
    """One replica may go at a time, the primary never: X from three instances on, and X-primary."""
    name, instances = cluster["metadata"]["name"], cluster["spec"]["instances"]
    if not cluster["spec"].get("enablePDB", True):
        return []
    wanted = [(f"{name}-primary", "primary", 1)]
    if instances >= 3:
        wanted.append((name, "replica", instances - 2))
    return [
        {
            "metadata": _metadata(cluster, budget),
            "spec": {
                "minAvailable": minimum,
                "selector": {"matchLabels": {CLUSTER: name, INSTANCE_ROLE: role}},
            },
        }
        for budget, role, minimum in wanted
    ]


def service_account(cluster: Json) -> Json:
    """The ServiceAccount the instances run as; named as the Cluster."""
    return {"metadata": _metadata(cluster, cluster["metadata"]["name"])}


def application_secret(cluster: Json, name: str, database: str, user: str) -> Json:
    """The owner's credentials, made when the Cluster names no Secret for them."""
    host, password = f"{cluster['metadata']['name']}-rw", secrets.token_urlsafe(48)
    return {
        "metadata": _metadata(cluster, name, {"cnpg.io/userType": "app", "cnpg.io/reload": "true"}),
        "type": "kubernetes.io/basic-auth",
        "stringData": {
            "username": user,
            "user": user,
            "password": password,
            "dbname": database,
            "host": host,
            "port": str(_PORT),
            "uri": f"postgresql://{user}:{password}@{host}.{cluster['metadata']['namespace']}:{_PORT}/{database}",
        },
    }


def claim(cluster: Json, serial: int, role: Literal["PG_DATA", "PG_WAL"] = "PG_DATA") -> Json:
    """The claim of an instance's volume for data, named as the instance, or for WAL, named so with -wal."""
    instance = instance_name(cluster, serial)
    wal = role == "PG_WAL"
    storage, name = (
        cluster["spec"]["walStorage" if wal else "storage"],
        f"{instance}-wal" if wal else instance,
    )
    template = storage.get("pvcTemplate", {})
    spec: Json = {"accessModes": ["ReadWriteOnce"], **template}
    if storage.get("storageClass"):
        spec["storageClassName"] = storage["storageClass"]
    if storage.get("size"):
        spec["resources"] = {"requests": {"storage": storage["size"]}}
    metadata = _metadata(cluster, name, {INSTANCE: instance, PVC_ROLE: role})
    return {"metadata": {**metadata, "annotations": {SERIAL: str(serial)}}, "spec": spec}


def job(
    cluster: Json,
    serial: int,
    role: Literal["initdb", "join", "full-recovery"],
    operator: Operator,
    secret: str,
) -> Json:
    """The Job that fills an instance's volume. `initdb` names the owner's Secret and so waits for it."""
    name = instance_name(cluster, serial)
    labels = {**_labels(cluster), INSTANCE: name, "cnpg.io/jobRole": role}
    spec = _pod_spec(cluster, name, role, operator)
    if role == "initdb":
        reference = {"name": secret, "key": "username", "optional": False}
        spec["containers"][0]["env"].append(
            {"name": "APP_USERNAME", "valueFrom": {"secretKeyRef": reference}}
        )
    spec["restartPolicy"] = "Never"
    metadata = _metadata(cluster, f"{name}-{role}", labels)
    return {
        "metadata": metadata,
        "spec": {"template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def pod(cluster: Json, serial: int, primary: bool, operator: Operator) -> Json:
    """An instance."""
    name = instance_name(cluster, serial)
    spec = _pod_spec(cluster, name, "postgres", operator)
    spec["containers"][0]["ports"] = [
        {"name": "postgresql", "containerPort": _PORT, "protocol": "TCP"},
        {"name": "metrics", "containerPort": 9187, "protocol": "TCP"},
        {"name": "status", "containerPort": 8000, "protocol": "TCP"},
    ]
    for probe, path in (
        ("startupProbe", "/startupz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
    ):
        spec["containers"][0][probe] = {"httpGet": {"path": path, "port": 8000}, **_PROBED}
    spec["terminationGracePeriodSeconds"] = cluster["spec"].get("stopDelay", 1800)
    role = "primary" if primary else "replica"
    labels = {INSTANCE: name, INSTANCE_ROLE: role, "role": role, "cnpg.io/podRole": "instance"}
    metadata = _metadata(cluster, name, labels)
    annotations = {SERIAL: str(serial), POD_SPEC: json.dumps(spec, sort_keys=True)}
    return {"metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations}}, "spec": spec}


def instance_name(cluster: Json, serial: int) -> str:
    return f"{cluster['metadata']['name']}-{serial}"


def major_version(image: str) -> str:
    """PostgreSQL's major version, from an image's tag ("17.5-system-trixie")."""
    found = re.match(r"\d+", image.partition("@")[0].rpartition(":")[2])
    return found[0] if found else "0"


def affinity(cluster: Json) -> Json:
    """The affinity of a Cluster's pods: the generated anti-affinity and what the Cluster adds."""
    wanted = cluster["spec"].get("affinity", {})
    anti: Json = {}
    if wanted.get("enablePodAntiAffinity", True):
        term = {
            "labelSelector": {
                "matchExpressions": [
                    {"key": CLUSTER, "operator": "In", "values": [cluster["metadata"]["name"]]},
                    {"key": "cnpg.io/podRole", "operator": "In", "values": ["instance"]},
                ]
            },
            "topologyKey": wanted.get("topologyKey") or "kubernetes.io/hostname",
        }
        if wanted.get("podAntiAffinityType", "preferred") == "required":
            anti["requiredDuringSchedulingIgnoredDuringExecution"] = [term]
        else:
            anti["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": 100, "podAffinityTerm": term}
            ]
    for key, terms in wanted.get("additionalPodAntiAffinity", {}).items():
        anti[key] = [*anti.get(key, []), *terms]
    found = {
        "podAntiAffinity": anti,
        "podAffinity": wanted.get("additionalPodAffinity"),
        "nodeAffinity": wanted.get("nodeAffinity"),
    }
    return {key: value for key, value in found.items() if value}


def _pod_spec(cluster: Json, instance: str, container: str, operator: Operator) -> Json:
    spec, metadata = cluster["spec"], cluster["metadata"]
    wanted = spec.get("affinity", {})
    wal = "walStorage" in spec
    shared = {
        "volumeMounts": [*_MOUNTS, *([_WAL_MOUNT] if wal else [])],
        "resources": spec.get("resources", {}),
        "securityContext": CONTAINER_SECURITY,
    }
    env = [
        {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
        {"name": "POD_NAME", "value": instance},
        {"name": "NAMESPACE", "value": metadata["namespace"]},
        {"name": "CLUSTER_NAME", "value": metadata["name"]},
        *spec.get("env", []),
    ]
    uid, gid = spec.get("postgresUID", _USER), spec.get("postgresGID", _USER)
    found = {
        "hostname": instance,
        "serviceAccountName": metadata["name"],
        "initContainers": [
            {
                "name": "bootstrap-controller",
                "image": operator.image,
                "command": ["/manager", "bootstrap", "/controller/manager"],
                **shared,
            },
            # A plugin takes part in instances and in the recovery, in no other Job.
            *([operator.sidecar] if operator.sidecar and container in ("postgres", "full-recovery") else []),
        ],
        "containers": [
            {
                "name": container,
                "image": spec["imageName"],
                "command": ["/controller/manager", "instance", _COMMANDS.get(container, container)],
                "env": env,
                "envFrom": spec.get("envFrom", []),
                **shared,
            }
        ],
        "volumes": [
            {"name": "pgdata", "persistentVolumeClaim": {"claimName": instance}},
            *([{"name": "pg-wal", "persistentVolumeClaim": {"claimName": f"{instance}-wal"}}] if wal else []),
            {"name": "scratch-data", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
        "securityContext": {
            "runAsUser": uid,
            "runAsGroup": gid,
            "fsGroup": gid,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": affinity(cluster),
        "imagePullSecrets": spec.get("imagePullSecrets"),
        "nodeSelector": wanted.get("nodeSelector"),
        "priorityClassName": spec.get("priorityClassName"),
        "schedulerName": spec.get("schedulerName"),
        "tolerations": wanted.get("tolerations"),
        "topologySpreadConstraints": spec.get("topologySpreadConstraints"),
    }
    return {key: value for key, value in found.items() if value}


def _labels(cluster: Json) -> dict[str, str]:
    return {
        CLUSTER: cluster["metadata"]["name"],
        "app.kubernetes.io/name": "postgresql",
        "app.kubernetes.io/instance": cluster["metadata"]["name"],
        "app.kubernetes.io/version": major_version(cluster["spec"]["imageName"]),
        "app.kubernetes.io/component": "database",
        "app.kubernetes.io/managed-by": "cloudnative-pg",
    }


def _metadata(cluster: Json, name: str, labels: dict[str, str] | None = None) -> Json:
    inherited = cluster["spec"].get("inheritedMetadata", {})
    return {
        "name": name,
        "namespace": cluster["metadata"]["namespace"],
        "labels": {**inherited.get("labels", {}), **_labels(cluster), **(labels or {})},
        "annotations": dict(inherited.get("annotations", {})),
        "ownerReferences": [owner("Cluster", cluster)],
    }
