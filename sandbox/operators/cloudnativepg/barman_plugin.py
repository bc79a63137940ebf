"""The Barman Cloud plugin as a Cluster meets it: found by its Service, it archives and restores.

What it does not do: check the certificates between it and the operator, make the Role it lets a Cluster read
its ObjectStore with, update an ObjectStore's status, restore WAL to standbys, or take part in replica
clusters.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sandbox.cluster.watched import Json, Watched, available, set_condition
from sandbox.google.cloud import Cloud
from sandbox.google.workload_identity import principal
from sandbox.operators.cloudnativepg import database, instances
from sandbox.operators.cloudnativepg.barman import BarmanError, Folder
from sandbox.operators.cloudnativepg.objects import CONTAINER_SECURITY

PLUGIN = "barman-cloud.cloudnative-pg.io"


class BarmanPlugin:
    """The plugin, on the cluster's objects and the emulated cloud.

    `buckets` is where files of buckets lie; None where pods are played, and the emulated database is what is backed up.
    """

    def __init__(self, api: Watched, cloud: Cloud, buckets: Path | None) -> None:
        self._api = api
        self._cloud = cloud
        self._buckets = buckets

    def sidecar_image(self, namespace: str) -> str | None:
        """The image of its sidecar; None when the operator in `namespace` finds no plugin that answers."""
        served = any(
            service["metadata"].get("labels", {}).get("cnpg.io/pluginName") == PLUGIN
            for service in self._api.list("Service", namespace)
        )
        deployment = available(self._api, "plugin-barman-cloud")
        if not served or deployment is None or deployment["metadata"]["namespace"] != namespace:
            return None
        settings = self._api.get("ConfigMap", namespace, "plugin-barman-cloud-config")
        return settings["data"]["SIDECAR_IMAGE"] if settings else None

    def has_stores(self, cluster: Json) -> bool:
        """Is every ObjectStore there that the Cluster names? Until then its reconciliation stops."""
        return all(self._store(cluster, parameters) for parameters in _parameters(cluster))

    def sidecar(self, cluster: Json, image: str) -> Json:
        """The container that it adds to the pods of the Cluster."""
        store = self._store(cluster, _parameters(cluster)[0]) or {"spec": {}}
        settings = store["spec"].get("instanceSidecarConfiguration", {})
        return {
            "name": "plugin-barman-cloud",
            "image": image,
            "args": ["instance"],
            "env": settings.get("env", []),
            "restartPolicy": "Always",
            "resources": settings.get("resources", {}),
            "securityContext": CONTAINER_SECURITY,
        }

    def archive(self, cluster: Json) -> None:
        """Archive the database's WAL and say in the Cluster's condition whether that works."""
        try:
            folder = self._folder(cluster, own_parameters(cluster))
            folder.archive(cluster["metadata"]["uid"], database.content(self._cloud, cluster))
            wals = self._buckets and self._buckets / folder.path / "wals"
            if wals and not instances.take_wal(self._api, cluster, wals):
                return  # until the first segment is there
            archived = (True, "ContinuousArchivingSuccess", "Continuous archiving is working")
        except BarmanError as error:
            archived = (False, "ContinuousArchivingFailing", f"rpc error: code = Unknown desc = {error}")
        metadata = cluster["metadata"]
        now = self._api.get("Cluster", metadata["namespace"], metadata["name"])
        if now is not None:
            set_condition(self._api, "Cluster", now, "ContinuousArchiving", *archived)

    def back_up(self, cluster: Json) -> str:
        """Take a base backup; its id. Raises BarmanError."""
        folder = self._folder(cluster, own_parameters(cluster))
        content = database.content(self._cloud, cluster)
        folder.archive(cluster["metadata"]["uid"], content)
        if self._buckets is None:
            return folder.back_up(cluster["metadata"]["uid"], content)
        base = self._buckets / folder.path / "base"
        take = partial(instances.take_backup, self._api, cluster, base)
        return folder.back_up(cluster["metadata"]["uid"], content, take)

    def restore(self, cluster: Json, recovery: Json) -> Json:
        """What the database of a Cluster that is made by recovery holds. Raises BarmanError."""
        source, target = self._source(cluster, recovery)
        return source.restore(target)

    def files(self, cluster: Json, recovery: Json) -> dict[str, str]:
        """The variables that name the base backup and the WAL to restore, where pods run. Raises BarmanError."""
        if self._buckets is None:
            return {}
        source, target = self._source(cluster, recovery)
        folder, identity = self._buckets / source.path, source.backup(target)["name"].rpartition("/")[2]
        base = folder / "base" / identity / "base.tar.gz"
        return {"SANDBOX_BACKUP": str(base), "SANDBOX_WAL": str(folder / "wals")}

    def _source(self, cluster: Json, recovery: Json) -> tuple[Folder, str | None]:
        """Where a Cluster is to be restored from, and the time that is asked for."""
        [source] = [
            external["plugin"]["parameters"]
            for external in cluster["spec"].get("externalClusters", [])
            if external["name"] == recovery.get("source")
        ]
        own = own_parameters(cluster)
        if own:
            self._folder(cluster, own).check_empty(cluster["metadata"]["uid"])
        return self._folder(cluster, source), recovery.get("recoveryTarget", {}).get("targetTime")

    def _folder(self, cluster: Json, parameters: Json | None) -> Folder:
        metadata = cluster["metadata"]
        store = self._store(cluster, parameters) if parameters else None
        if store is None or parameters is None:
            raise BarmanError("objectstores.barmancloud.cnpg.io not found")
        # Instances, and the Job that restores, run as the ServiceAccount named after the Cluster.
        member = principal(self._cloud, metadata["namespace"], metadata["name"])
        return Folder(self._cloud, store, parameters.get("serverName", metadata["name"]), member)

    def _store(self, cluster: Json, parameters: Json) -> Json | None:
        namespace = cluster["metadata"]["namespace"]
        return self._api.get("ObjectStore", namespace, parameters.get("barmanObjectName", ""))


def uses_plugin(cluster: Json) -> bool:
    """Does the Cluster name the plugin, for itself or for another it is restored from?"""
    return bool(_parameters(cluster))


def archives(cluster: Json) -> bool:
    """Is the plugin the Cluster's WAL archiver?"""
    return any(plugin.get("isWALArchiver") for plugin in cluster["spec"].get("plugins", []))


def own_parameters(cluster: Json) -> Json | None:
    """The plugin's parameters for the Cluster's own backups."""
    plugins = {plugin["name"]: plugin.get("parameters", {}) for plugin in cluster["spec"].get("plugins", [])}
    return plugins.get(PLUGIN)


def _parameters(cluster: Json) -> list[Json]:
    own = own_parameters(cluster)
    external = cluster["spec"].get("externalClusters", [])
    others = [other["plugin"].get("parameters", {}) for other in external]
    return [*([own] if own is not None else []), *others]
