"""What production asks of the database and of the proxy: backups, copies, and disruptions that leave some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policy.base import UNKNOWN, Resource, resource_policy, stack_policy

CLUSTER = "kubernetes:postgresql.cnpg.io/v1:Cluster"
_SCHEDULE = "kubernetes:postgresql.cnpg.io/v1:ScheduledBackup"
_RELEASE = "kubernetes:helm.sh/v3:Release"
_LEAST_INSTANCES = 3


def _is_production_cluster(resource: Resource) -> bool:
    return resource.type == CLUSTER and resource.in_production


def _spec(cluster: Resource) -> dict[str, Any]:
    spec = cluster.props.get("spec")
    return spec if isinstance(spec, dict) else {}


def _backed_up(cluster: Resource) -> Iterator[str]:
    plugins = _spec(cluster).get("plugins") or []
    archives = plugins is UNKNOWN or any(each is UNKNOWN or each.get("isWALArchiver") for each in plugins)
    if not (archives or _spec(cluster).get("backup")):
        yield f"{cluster.name} has no backup: with its volumes every key and all spend are gone."


def _scheduled(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    if not any(each.type == _SCHEDULE for each in resources):
        for cluster in filter(_is_production_cluster, resources):
            yield cluster, f"No ScheduledBackup takes base backups of {cluster.name}."


def _copies(cluster: Resource) -> Iterator[str]:
    instances = _spec(cluster).get("instances", 1)
    if isinstance(instances, int | float) and instances < _LEAST_INSTANCES:
        yield f"{cluster.name} has {instances:g} instance(s), so a zone that fails takes the database with it."


def _may_be_disrupted(resource: Resource) -> bool:
    return _is_production_cluster(resource) or (resource.type == _RELEASE and _replicas(resource) > 1)


def _replicas(release: Resource) -> float:
    values = release.props.get("values")
    replicas = values.get("replicaCount") if isinstance(values, dict) else None
    return replicas if isinstance(replicas, int | float) else 1


def _budget(resource: Resource) -> Iterator[str]:
    if resource.type == CLUSTER:
        if _spec(resource).get("enablePDB", True) is False:
            yield f"{resource.name} lets a node's drain take every instance at once."
        return
    budget = resource.props["values"].get("pdb")
    if budget is not UNKNOWN and not (budget and budget.get("enabled")):
        yield f"{resource.name} lets a node's drain take every replica at once."


POLICIES = [
    resource_policy(
        "production-database-has-backups",
        "In production the database is backed up: its volumes are its only copy otherwise.",
        "`postgres.backups.method: objectStore` (or `volumeSnapshot`) in the settings.",
        _is_production_cluster,
        _backed_up,
    ),
    stack_policy(
        "production-backups-are-scheduled",
        "In production base backups are taken by a schedule: a log without a base backup restores nothing.",
        "`postgres.backups.schedule` with a `method` in the settings.",
        _is_production_cluster,
        _scheduled,
    ),
    resource_policy(
        "production-database-has-three-instances",
        f"In production the database has at least {_LEAST_INSTANCES} instances: one a zone, and a majority left when "
        "one fails.",
        f"`postgres.instances: {_LEAST_INSTANCES}` in the settings.",
        _is_production_cluster,
        _copies,
    ),
    resource_policy(
        "disruptions-leave-some",
        "What runs more than once has a PodDisruptionBudget, the production database too: node upgrades drain nodes "
        "one after the other without waiting for pods to be ready elsewhere.",
        "`pdb: {enabled: true, maxUnavailable: 1}` in the Release's values; for the database leave `enablePDB` out, or "
        "set `postgres.instances: 3`.",
        _may_be_disrupted,
        _budget,
    ),
]
