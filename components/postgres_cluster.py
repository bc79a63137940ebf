"""LiteLLM's database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.backup_store import OBJECT_STORE
from components.barman_plugin import PLUGIN
from components.image_source import ImageSource
from components.salt_gate import SALT
from components.secret_sync import DATABASE_OWNER, SyncedSecret
from components.volumes import Volume, volumes_only_grow
from components.workload import Workload
from settings.postgres import Existing, Postgres, Restore
from versions import POSTGRES_IMAGE

DATABASE = "litellm"
API_VERSION = "postgresql.cnpg.io/v1"
INSTANCES = Workload("postgres", {"cnpg.io/cluster": ""})
PORT = 5432
INSTANCE_MANAGER_PORT = 8000
"""CloudNativePG's status port, https://cloudnative-pg.io/documentation/current/networking/."""
ZONE = "topology.kubernetes.io/zone"
_RESTORED = "restored"


@dataclass(frozen=True, kw_only=True)
class PostgresClusterArgs:
    """Arguments of PostgresCluster.

    `credentials` is a basic-auth Secret, with which LiteLLM logs in. `salt` is the name and version of what encrypts
    the credentials that LiteLLM stores. `needs` is the operator, whose webhook answers, and what must be there before the
    first WAL is archived or restored. `protect` refuses to delete or replace the Cluster. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    credentials: SyncedSecret
    salt: pulumi.Input[str]
    needs: Sequence[pulumi.Resource]
    postgres: Postgres
    images: ImageSource
    protect: bool
    timeout: int


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database that can be connected to once `ready` is there; `host` is its primary, at port 5432 or that of `existing`."""

    host: pulumi.Output[str]
    name: str
    credentials: SyncedSecret
    ready: pulumi.Resource
    existing: Existing | None = None


class PostgresCluster(pulumi.ComponentResource):
    """A CloudNativePG Cluster, waited for until healthy, and its backup schedule."""

    database: Database

    def __init__(
        self, name: str, args: PostgresClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:postgres_cluster:PostgresCluster", name, None, opts)
        timeout = f"{args.timeout}s"
        postgres = args.postgres

        cluster = kubernetes.apiextensions.CustomResource(
            f"{name}-cluster",
            api_version=API_VERSION,
            kind="Cluster",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=postgres.name,
                namespace=args.namespace,
                annotations={"pulumi.com/waitFor": _healthy(postgres), SALT: args.salt},
            ),
            spec={
                "instances": postgres.instances,
                "imageName": str(args.images.at(POSTGRES_IMAGE)),
                **args.images.values,
                # Read when the Cluster is first made and never again: a later change has no effect.
                "bootstrap": _bootstrap(postgres.restore, args.credentials.name),
                "storage": {"size": postgres.storage_size, "storageClass": postgres.storage_class},
                **_wal(postgres),
                "resources": {
                    "requests": {"cpu": postgres.cpu, "memory": postgres.memory},
                    "limits": {"memory": postgres.memory},
                },
                # A budget for a single instance would only keep its node from ever being drained.
                "enablePDB": postgres.instances > 1,
                **_replication(postgres),
                **_backups(postgres),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.credentials.ready, *args.needs, *args.images.ready],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
                protect=args.protect,
                # A restore gives the Cluster a new name, which replaces it: the old one stays until someone
                # has looked at the new one and deletes it by hand.
                retain_on_delete=args.protect,
                hooks=pulumi.ResourceHookBinding(
                    before_update=[volumes_only_grow(f"{name}-volumes", volumes)]
                ),
            ),
        )
        if postgres.backups.method != "none":
            self._schedule(name, args, cluster)
        self.database = Database(
            host=pulumi.Output.format("{0}-rw.{1}.svc.cluster.local", postgres.name, args.namespace),
            name=DATABASE,
            credentials=args.credentials,
            ready=cluster,
        )
        self.register_outputs({"host": self.database.host})

    def _schedule(self, name: str, args: PostgresClusterArgs, cluster: pulumi.Resource) -> None:
        backups = args.postgres.backups
        method: dict[str, Any] = (
            {"method": "plugin", "pluginConfiguration": {"name": PLUGIN}}
            if backups.method == "objectStore"
            else {"method": "volumeSnapshot"}
        )
        kubernetes.apiextensions.CustomResource(
            f"{name}-schedule",
            api_version=API_VERSION,
            kind="ScheduledBackup",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=args.postgres.name, namespace=args.namespace),
            spec={
                "cluster": {"name": args.postgres.name},
                "schedule": backups.schedule,
                # Without a first base backup nothing can be restored until the schedule's first time.
                "immediate": True,
                "backupOwnerReference": "self",
                **method,
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[cluster]),
        )


def _wal(postgres: Postgres) -> dict[str, Any]:
    """A volume of its own for the WAL, so that WAL which nobody fetches leaves the data its room."""
    if postgres.wal_storage_size is None:
        return {}
    return {"walStorage": {"size": postgres.wal_storage_size, "storageClass": postgres.storage_class}}


def volumes(inputs: Mapping[str, Any]) -> dict[str, Volume | None]:
    spec = inputs.get("spec", {})
    return {
        f"postgres.{key}": Volume(
            spec[field]["size"],
            f"of class {spec[field]['storageClass']}",
            "restore a backup into a Cluster of another `name` (docs/restore.md)",
        )
        if field in spec
        else None
        for key, field in (("storageSize", "storage"), ("walStorageSize", "walStorage"))
    }


def _parameters(postgres: Postgres) -> dict[str, str]:
    """PostgreSQL's own parameters; CloudNativePG keeps a replication slot per standby."""
    return {
        "max_connections": str(postgres.max_connections),
        # A standby that is away keeps WAL on the primary by its slot, without end unless this ends it: the
        # standby then fetches from the archive, or is made anew.
        "max_slot_wal_keep_size": f"{int(postgres.slots_keep_gib * 1024)}MB",
    }


def _healthy(postgres: Postgres) -> str:
    """What is waited for: an `up` that succeeded has a database, and one whose WAL arrives in the bucket."""
    if postgres.backups.method != "objectStore":
        return "condition=Ready"
    return json.dumps(["condition=Ready", "condition=ContinuousArchiving"])


def _bootstrap(restore: Restore | None, credentials: str) -> dict[str, Any]:
    application = {"database": DATABASE, "owner": DATABASE_OWNER, "secret": {"name": credentials}}
    if restore is None:
        return {"initdb": application}
    if restore.snapshot:
        snapshot = {
            "apiGroup": "snapshot.storage.k8s.io",
            "kind": "VolumeSnapshot",
            "name": restore.snapshot,
        }
        return {"recovery": {**application, "volumeSnapshots": {"storage": snapshot}}}
    target = {"recoveryTarget": {"targetTime": restore.target_time}} if restore.target_time else {}
    return {"recovery": {**application, "source": _RESTORED, **target}}


def _replication(postgres: Postgres) -> dict[str, Any]:
    postgresql: dict[str, Any] = {"parameters": _parameters(postgres)}
    if postgres.instances == 1:
        return {"postgresql": postgresql}
    spec: dict[str, Any] = {
        "postgresql": postgresql,
        # Not anti-affinity: preferred is only a wish, required forbids a fourth instance in three zones. The
        # selector takes in the Jobs, as a volume's zone is that of the Job that first writes to it.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": ZONE,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"cnpg.io/cluster": postgres.name}},
                # A zone whose only nodes have GPUs would be the emptiest, and take no instance.
                "nodeTaintsPolicy": "Honor",
            }
        ],
    }
    if postgres.synchronous_replicas:
        postgresql["synchronous"] = {
            "method": "any",
            "number": postgres.synchronous_replicas,
            "dataDurability": "preferred",
        }
    return spec


def _backups(postgres: Postgres) -> dict[str, Any]:
    backups, restore = postgres.backups, postgres.restore
    spec: dict[str, Any] = {}
    if backups.method == "objectStore":
        spec["plugins"] = [
            {"name": PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": OBJECT_STORE}}
        ]
    elif backups.method == "volumeSnapshot":
        # Cold: a hot snapshot is of no use without the WAL that an archive would have. A standby is stopped
        # for it where there is one, else the primary.
        spec["backup"] = {"volumeSnapshot": {"className": backups.snapshot_class, "online": False}}
    if restore and not restore.snapshot:
        # The same store as the new Cluster's own: Barman keeps each Cluster under its name.
        parameters = {"barmanObjectName": OBJECT_STORE, "serverName": restore.source}
        spec["externalClusters"] = [{"name": _RESTORED, "plugin": {"name": PLUGIN, "parameters": parameters}}]
    return spec
