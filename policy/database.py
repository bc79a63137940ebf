"""What production requires of the database and the proxy: backups, instances, PodDisruptionBudgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policy.base import UNKNOWN, Resource, each, resource_policy, stack_policy

CLUSTER = "kubernetes:postgresql.cnpg.io/v1:Cluster"
_SCHEDULE = "kubernetes:postgresql.cnpg.io/v1:ScheduledBackup"
_RELEASE = "kubernetes:helm.sh/v3:Release"
_LEAST_INSTANCES = 3


def _is_cluster(resource: Resource) -> bool:
    return resource.type == CLUSTER


def _spec(cluster: Resource) -> dict[str, Any]:
    spec = cluster.props.get("spec")
    return spec if isinstance(spec, dict) else {}


def _backed_up(cluster: Resource) -> Iterator[str]:
    plugins = _spec(cluster).get("plugins") or []
    archives = plugins is UNKNOWN or any(item is UNKNOWN or item.get("isWALArchiver") for item in plugins)
    if not (archives or _spec(cluster).get("backup")):
        yield f"{cluster.name} has no backup: if its volumes are lost, so are every key and all spend."


def _scheduled(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    if not any(resource.type == _SCHEDULE for resource in resources):
        for cluster in filter(_is_cluster, resources):
            yield cluster, f"No ScheduledBackup takes base backups of {cluster.name}."


def _copies(cluster: Resource) -> Iterator[str]:
    instances = _spec(cluster).get("instances", 1)
    if isinstance(instances, int | float) and instances < _LEAST_INSTANCES:
        yield f"{cluster.name} has {instances:g} instance(s): one failed zone can take the database down."


def _wal_apart(cluster: Resource) -> Iterator[str]:
    if not _spec(cluster).get("walStorage"):
        yield f"{cluster.name} keeps WAL beside its data: WAL that is not archived or replicated fills both."


def _is_replicated(resource: Resource) -> bool:
    return resource.type == _RELEASE and _replicas(resource) > 1


def _replicas(release: Resource) -> float:
    values = release.props.get("values")
    replicas = values.get("replicaCount") if isinstance(values, dict) else None
    return replicas if isinstance(replicas, int | float) else 1


def _drained_in_turn(cluster: Resource) -> Iterator[str]:
    if _spec(cluster).get("enablePDB", True) is False:
        yield f"{cluster.name}: draining nodes may evict every instance at once."


def _budget(resource: Resource) -> Iterator[str]:
    values = resource.props["values"]
    budget, more = values.get("pdb"), values.get("extraResources") or []
    if UNKNOWN in (budget, more) or (budget and budget.get("enabled")):
        return
    if not any(item is UNKNOWN or item.get("kind") == "PodDisruptionBudget" for item in more):
        yield f"{resource.name}: draining nodes may evict every replica at once."


POLICIES = [
    stack_policy(
        "production-database-has-backups",
        "In production the database has backups: without them its volumes are the only copy.",
        "`postgres.backups.method: objectStore` (or `volumeSnapshot`) in the settings.",
        _is_cluster,
        each(_is_cluster, _backed_up),
        production=True,
    ),
    stack_policy(
        "production-backups-are-scheduled",
        "In production a schedule takes base backups: a WAL archive without a base backup restores nothing.",
        "`postgres.backups.schedule` with a `method` in the settings.",
        _is_cluster,
        _scheduled,
        production=True,
    ),
    stack_policy(
        "production-database-has-three-instances",
        f"In production the database has at least {_LEAST_INSTANCES} instances: one per zone, and a majority is left "
        "when one fails.",
        f"`postgres.instances: {_LEAST_INSTANCES}` in the settings.",
        _is_cluster,
        each(_is_cluster, _copies),
        production=True,
    ),
    stack_policy(
        "production-wal-has-its-own-volume",
        "In production WAL has a volume of its own: WAL that the archive or a standby has not fetched piles up, and must "
        "not take the room of the data.",
        "`postgres.walStorageSize: 10Gi` in the settings.",
        _is_cluster,
        each(_is_cluster, _wal_apart),
        production=True,
    ),
    resource_policy(
        "disruptions-leave-some",
        "A Release with several replicas has a PodDisruptionBudget: node upgrades drain one node after the other without "
        "waiting until the evicted pods are ready elsewhere.",
        "`pdb: {enabled: true, maxUnavailable: 1}` or a PodDisruptionBudget in `extraResources`, in the Release's values.",
        _is_replicated,
        _budget,
    ),
    stack_policy(
        "production-database-is-drained-in-turn",
        "In production the database has a PodDisruptionBudget, as a Release with several replicas has.",
        "`postgres.instances: 3` in the settings; in code leave `enablePDB` out.",
        _is_cluster,
        each(_is_cluster, _drained_in_turn),
        production=True,
    ),
]
