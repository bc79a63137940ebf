"""CloudNativePG's Backups and ScheduledBackups, taken with the Barman Cloud plugin into the emulated bucket.

A Backup that fails says why in its status, as the operator lets it, and is not tried again. A ScheduledBackup
with `immediate` takes one Backup when it is made.

What it does not do: take a Backup at a schedule's later times, suspend, take volume snapshots or use the
in-tree object store (such a Backup fails, naming the method), choose a standby to back up from.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sandbox.cluster.status import holds, timestamp
from sandbox.cluster.watched import Json, Watched, available, owner, set_condition
from sandbox.google.cloud import Cloud
from sandbox.operators.cloudnativepg import database
from sandbox.operators.cloudnativepg.barman import BarmanError
from sandbox.operators.cloudnativepg.barman_plugin import PLUGIN, BarmanPlugin, own_parameters

_SOURCE = "cloudnative-pg-backup"


class PostgresBackups:
    """Reconciles Backups and ScheduledBackups."""

    kinds = frozenset(
        {
            "Backup",
            "Cluster",
            "ConfigMap",
            "Deployment",
            "ObjectStore",
            "PersistentVolumeClaim",
            "Pod",
            "ScheduledBackup",
            "Service",
        }
    )

    def __init__(self, api: Watched, cloud: Cloud, buckets: Path | None = None) -> None:
        self._api = api
        self._cloud = cloud
        self._plugin = BarmanPlugin(api, cloud, buckets)

    def reconcile(self) -> None:
        operator = available(self._api, "cloudnative-pg")
        if operator is None:
            return
        for schedule in self._api.list("ScheduledBackup"):
            if schedule["spec"].get("immediate") and "lastCheckTime" not in schedule.get("status", {}):
                self._start(schedule)
        plugin = self._plugin.sidecar_image(operator["metadata"]["namespace"]) is not None
        for backup in self._api.list("Backup"):
            if backup.get("status", {}).get("phase") not in ("completed", "failed"):
                self._take(backup, plugin)

    def _start(self, schedule: Json) -> None:
        metadata, spec = schedule["metadata"], schedule["spec"]
        now = datetime.now(UTC)
        backup: Json = {
            "metadata": {
                "name": f"{metadata['name']}-{now:%Y%m%d%H%M%S}",
                "namespace": metadata["namespace"],
                "labels": {
                    "cnpg.io/cluster": spec["cluster"]["name"],
                    "cnpg.io/immediateBackup": "true",
                    "cnpg.io/scheduled-backup": metadata["name"],
                },
            },
            "spec": {
                key: spec[key]
                for key in ("cluster", "method", "pluginConfiguration", "target")
                if key in spec
            },
        }
        if spec.get("backupOwnerReference") == "self":
            backup["metadata"]["ownerReferences"] = [owner("ScheduledBackup", schedule)]
        status = {"lastCheckTime": timestamp(now), "lastScheduleTime": timestamp(now)}
        # First the status: a Backup is made once, even if the daemon ends between the two.
        if self._api.patch("ScheduledBackup", schedule, {"status": status}, "/status"):
            self._api.create("Backup", backup)

    def _take(self, backup: Json, plugin: bool) -> None:
        spec, namespace = backup["spec"], backup["metadata"]["namespace"]
        cluster = self._api.get("Cluster", namespace, spec["cluster"]["name"])
        if cluster is None or not database.exists(self._cloud, cluster) or not holds(cluster, "Ready"):
            if backup.get("status", {}).get("phase") != "pending":
                self._api.patch("Backup", backup, {"status": {"phase": "pending"}}, "/status")
            return
        started = timestamp()
        try:
            if spec.get("method") != "plugin":
                raise BarmanError(
                    f"method {spec.get('method', 'barmanObjectStore')} is not emulated by the sandbox"
                )
            if own_parameters(cluster) is None:
                raise BarmanError("cannot proceed with the backup as the cluster has no plugin configured")
            if spec["pluginConfiguration"]["name"] != PLUGIN or not plugin:
                raise BarmanError(f"requested plugin is not available: {spec['pluginConfiguration']['name']}")
            identity = self._plugin.back_up(cluster)
        except BarmanError as error:
            status = {"phase": "failed", "method": spec.get("method"), "error": str(error)}
            self._api.event("Backup", backup, "Normal", "Failed", "Backup failed", _SOURCE)
            self._tell(cluster, False, "LastBackupFailed", str(error))
        else:
            status = {
                "phase": "completed",
                "method": "plugin",
                "backupId": identity,
                "backupName": f"backup-{identity.replace('T', '')}",
                "online": True,
                "startedAt": started,
                "stoppedAt": timestamp(),
            }
            self._api.event("Backup", backup, "Normal", "Completed", "Backup completed", _SOURCE)
            self._tell(cluster, True, "LastBackupSucceeded", "Backup was successful")
        self._api.patch("Backup", backup, {"status": status}, "/status")

    def _tell(self, cluster: Json, succeeded: bool, reason: str, message: str) -> None:
        set_condition(self._api, "Cluster", cluster, "LastBackupSucceeded", succeeded, reason, message)
