"""Where keys, budgets and spend are kept: the database and its backups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import StringConstraints
from pydantic.alias_generators import to_camel

from settings.base import (
    Bytes,
    Cpu,
    DnsLabel,
    DnsSubdomain,
    Region,
    SecretReference,
    Section,
    Violation,
    gibibytes,
    rule,
    section,
    setting,
)
from settings.cloud_sql import CloudSql
from settings.tls import Certificates, Host, address, count

UrlWord = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,63}$")]
"""What LiteLLM's chart can write into a URL as it is."""
MAX_WAL_GIB = 1
"""PostgreSQL's max_wal_size: WAL between two checkpoints."""
WAL_SHARE = 0.2
"""Of a volume with data, at most for WAL that a replication slot keeps."""
OWN_WAL_SHARE = 0.5
"""Of a volume for WAL alone."""


class Backups(Section):
    """Backups of the database."""

    otherwise = "Cloud Storage would refuse the bucket"

    method: Literal["none", "objectStore", "volumeSnapshot"] = setting(
        "none",
        about="objectStore: WAL archive and base backups in a bucket, by the barman-cloud plugin (point-in-time "
        "recovery); volumeSnapshot: snapshots of the volumes; none: no backups.",
        otherwise="every key, budget and spend record would be lost with the database",
        write="method: objectStore",
    )
    schedule: str = setting(
        "0 0 2 * * *",
        pattern=r"^([0-9*/,?-]+ ){4}[0-9A-Za-z*/,?-]+ [0-9A-Za-z*/,?-]+$",
        about="When a base backup is taken: cron with six fields, seconds first, UTC.",
        otherwise="CloudNativePG would refuse the schedule",
        write='schedule: "0 0 2 * * *"',
    )
    retention_days: int = setting(
        30,
        ge=1,
        le=3650,
        about="Days that the object store keeps backups; volume snapshots stay until someone deletes them.",
        otherwise="the plugin would refuse the retention",
    )
    bucket: str | None = setting(
        None,
        pattern=r"^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$",
        about="Name of the bucket for objectStore; unset means `<project>-<cluster>-litellm-pg`.",
        write="bucket: my-project-id-litellm-pg",
    )
    bucket_location: Region | None = setting(
        None,
        about="Region of the bucket; unset means the cluster's region.",
        write="bucketLocation: europe-west4",
    )
    adopt_bucket: bool = setting(
        False,
        about="Take over an existing `bucket`, which an earlier stack left behind, instead of making one.",
        otherwise="Cloud Storage would refuse to make a bucket that exists already",
        write="adoptBucket: true",
    )
    snapshot_class: DnsSubdomain | None = setting(
        None,
        about="VolumeSnapshotClass for volumeSnapshot.",
        otherwise="no snapshot could be taken",
        write="snapshotClass: pd-snapshots",
    )

    @rule
    def snapshots_have_a_class(self) -> Iterator[Violation]:
        if self.method == "volumeSnapshot" and self.snapshot_class is None:
            yield Violation(
                "snapshotClass",
                "volume snapshots need a class",
                "no snapshot could be taken and the schedule would fail every night",
                "snapshotClass: <a VolumeSnapshotClass of the cluster>",
            )

    @rule
    def adopted_bucket_is_named(self) -> Iterator[Violation]:
        if self.adopt_bucket and self.bucket is None:
            yield Violation(
                "bucket",
                "a bucket to take over needs a name",
                "another bucket than the one meant could be taken over",
                "bucket: <name of the existing bucket>",
            )

    @rule
    def keys_are_used(self) -> Iterator[Violation]:
        for key, value, method in (
            ("bucket", self.bucket, "objectStore"),
            ("bucketLocation", self.bucket_location, "objectStore"),
            ("snapshotClass", self.snapshot_class, "volumeSnapshot"),
        ):
            if value is not None and self.method != method:
                yield Violation(
                    key,
                    f"{key} is for method {method}, the method is {self.method}",
                    "it would be ignored, and no backup would be there when one is needed",
                    f"method: {method}, or no {key}",
                )


class Restore(Section):
    """Where a new Cluster's data comes from; read when that Cluster is made. While it stands here, the source may
    still archive to the bucket."""

    source: DnsLabel = setting(
        about="Name of the Cluster whose backups are restored.",
        otherwise="the restored database would be empty, or a copy of another one",
        write="source: litellm-pg",
    )
    target_time: str | None = setting(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$",
        about="Point in time to recover to, UTC; unset means the latest.",
        otherwise="CloudNativePG would refuse the recovery",
        write='targetTime: "2030-01-31T12:00:00Z"',
    )
    snapshot: DnsSubdomain | None = setting(
        None,
        about="VolumeSnapshot to restore, for backups by volumeSnapshot; unset means the object store.",
        otherwise="the recovery would wait for a snapshot that is not there",
        write="snapshot: litellm-pg-20300131",
    )

    @rule
    def snapshots_are_points_in_time(self) -> Iterator[Violation]:
        if self.snapshot and self.target_time:
            yield Violation(
                "targetTime",
                "a volume snapshot is a point in time of its own",
                "the recovery would wait for WAL that no archive has",
                "either snapshot or targetTime",
            )


class Existing(Section):
    """A Postgres that exists, in place of a CloudNativePG Cluster. Its disk, its backups and its updates are its owner's."""

    otherwise = "the migration would not reach the database, and `up` would fail"

    cloud_sql: CloudSql | None = setting(
        None,
        about="A Cloud SQL instance, which the stack reaches by an Auth Proxy of its own, in place of host, port, tls and ca.",
        otherwise="the section could not be read",
        write="cloudSql: {instance: my-project-id:europe-west4:gateway, serviceAccount: litellm-database@my-project-id.iam.gserviceaccount.com}",
    )
    host: Host | None = setting(
        None, about="Host name or IPv4 address, such as Cloud SQL's private one.", write="host: 10.20.0.5"
    )
    port: int = setting(5432, ge=1, le=65535, about="Port.")
    database: UrlWord = setting("litellm", about="Name of the database, which exists and is LiteLLM's alone.")
    user: str = setting(
        "litellm",
        pattern=r"^[A-Za-z0-9._~@-]{1,63}$",
        about="User who owns the database: LiteLLM's migrations make and change tables. With cloudSql.iam it is the service account.",
        otherwise="the database would refuse the login",
    )
    password_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with the user's password, or `<id>/versions/<number>`: letters, digits and . _ ~ - alone, as it is written into "
        "a URL. With cloudSql.iam there is none.",
        otherwise="the database would refuse the login",
        write="passwordSecret: cloudsql-litellm",
    )
    tls: Literal["none", "require", "verify-full"] | None = setting(
        None,
        about="none: plain text, as to a connector in this cluster; require: TLS, whoever answers; verify-full: TLS, and the "
        "server's certificate must be signed by `ca` or a public authority and have `host` in it. Prisma, by which LiteLLM "
        "talks to Postgres, has no verify-ca: Cloud SQL's certificates have a name in them where its server CA mode is "
        "a shared or customer-managed CA, and none by default.",
        otherwise="it would not be clear who may read the keys on their way, or play the database",
        write="tls: verify-full",
    )
    ca: Certificates | None = setting(
        None,
        about="Certificate (PEM) of the authority that signs the server's, for verify-full: one, as Prisma reads the first alone. "
        "It is no secret. Unset means the public ones.",
        otherwise="no connection to the database would be made",
        write="ca: |, and below it, indented, the certificate",
    )

    @property
    def login(self) -> str:
        """The user that LiteLLM logs in as."""
        return self.cloud_sql.account_user if self.cloud_sql and self.cloud_sql.iam else self.user

    @property
    def place(self) -> str:
        """Where the database is, as its owner names it."""
        where = self.cloud_sql.instance if self.cloud_sql else f"{self.host}:{self.port}"
        return f"{where}/{self.database}"

    @rule
    def it_is_named_once(self) -> Iterator[Violation]:
        if not self.cloud_sql:
            for key, value, write in (
                ("host", self.host, "host: 10.20.0.5, or cloudSql"),
                ("tls", self.tls, "tls: verify-full, tls: require, or tls: none"),
            ):
                if value is None:
                    yield Violation(key, "the key is missing", self.otherwise, write)
            return
        for field in ("host", "port", "tls", "ca"):
            if field in self.model_fields_set:
                yield Violation(
                    field,
                    f"{field}, and cloudSql, whose Auth Proxy finds the instance and checks its certificate",
                    "it would be ignored",
                    f"either cloudSql, or host and tls; here: no {field}",
                )

    @rule
    def there_is_one_login(self) -> Iterator[Violation]:
        iam = self.cloud_sql is not None and self.cloud_sql.iam
        if not iam and self.password_secret is None:
            yield Violation(
                "passwordSecret",
                "the key is missing",
                "the database would refuse the login",
                "passwordSecret: cloudsql-litellm" + (", or cloudSql.iam: true" if self.cloud_sql else ""),
            )
        for field in ("password_secret", "user"):
            if iam and field in self.model_fields_set:
                yield Violation(
                    to_camel(field),
                    "the Auth Proxy logs in as its service account (cloudSql.iam)",
                    "it would be ignored",
                    f"no {to_camel(field)}, or iam: false",
                )

    @rule
    def the_authority_is_asked(self) -> Iterator[Violation]:
        if self.ca and self.tls != "verify-full":
            yield Violation(
                "ca",
                f"a ca, and tls: {self.tls}",
                "nobody's certificate would be looked at, and whoever is on the way could play the database",
                "tls: verify-full, or no ca",
            )
        if self.ca and count(self.ca) > 1:
            yield Violation(
                "ca",
                f"{count(self.ca)} certificates",
                "Prisma would read the first alone, and refuse a server whose certificate another one signed",
                "ca, with the one certificate that signs the server's",
            )
        if self.tls == "verify-full" and not self.ca and address(self.host or ""):
            yield Violation(
                "ca",
                "verify-full without a ca, and an address in place of a name",
                "no public authority signs for a private address: Prisma would refuse the database",
                "ca, or the name that is in the server's certificate as host",
            )


class Postgres(Section):
    """LiteLLM's database: a CloudNativePG Cluster, or with `existing` one that is there."""

    otherwise = "CloudNativePG would refuse the Cluster"

    name: DnsLabel = setting(
        "litellm-pg",
        max_length=50,  # CloudNativePG's own limit
        about="Name of the Cluster; a restore is made under a new name.",
    )
    instances: int = setting(
        1,
        ge=1,
        le=9,
        about="Postgres instances: one primary, the others standbys, spread over the zones.",
        write="instances: 3",
    )
    synchronous_replicas: int = setting(
        0,
        ge=0,
        le=8,
        about="Standbys that must confirm a commit (durability `preferred`: writes go on when no standby can).",
        otherwise="a failover could lose the latest spend",
        write="synchronousReplicas: 1",
    )
    storage_size: Bytes = setting("10Gi", about="Size of each instance's volume; it can grow, never shrink.")
    wal_storage_size: Bytes | None = setting(
        None,
        about="Size of a volume of its own per instance for the write-ahead log (WAL); unset means that WAL shares "
        "the volume of `storageSize`. It can be added and grow, never shrink or go.",
        otherwise="WAL that a standby or the archive has not fetched would fill the database's volume",
        write="walStorageSize: 10Gi",
    )
    storage_class: DnsSubdomain = setting(
        "standard-rwo",
        about="StorageClass of the volumes.",
        otherwise="the volumes would stay Pending and the Cluster never become ready",
    )
    max_connections: int = setting(
        100,
        ge=25,
        le=5000,
        about="Connections that Postgres accepts (max_connections); a change restarts the instances one by one. Of an `existing` "
        "one: what it accepts of this gateway.",
        otherwise="the proxy's pods would be refused connections, and with them requests",
        write="maxConnections: 200",
    )
    cpu: Cpu = setting("500m", about="CPU request per instance.")
    memory: Bytes = setting("1Gi", about="Memory request and limit per instance.")
    backups: Backups = section(Backups)
    restore: Restore | None = setting(
        None,
        about="Restore the Cluster from another one's backups when it is made.",
        otherwise="the section could not be read",
        write="restore: {source: litellm-pg}",
    )

    existing: Existing | None = setting(
        None,
        about="Use a Postgres that exists: no CloudNativePG then. Of the other keys of `postgres` only maxConnections goes with it.",
        otherwise="the section could not be read",
        write="existing: {host: 10.20.0.5, passwordSecret: cloudsql-litellm, tls: require}",
    )

    @property
    def slots_keep_gib(self) -> float:
        """WAL that a replication slot may keep, GiB."""
        if self.wal_storage_size:
            return gibibytes(self.wal_storage_size) * OWN_WAL_SHARE
        return gibibytes(self.storage_size) * WAL_SHARE

    @property
    def clusters(self) -> list[str]:
        """The Clusters that archive to the bucket: the one in use, and the one that it was restored from."""
        return [self.name, *([self.restore.source] if self.restore else [])]

    @rule
    def an_existing_one_is_its_owners(self) -> Iterator[Violation]:
        ours = self.model_fields_set - {"existing", "max_connections"}
        if self.existing and ours:
            keys = [to_camel(name) for name in type(self).model_fields if name in ours]
            yield Violation(
                "existing",
                f"{' and '.join(keys)} beside it: of a CloudNativePG Cluster, which is not made then",
                "they would be ignored, and no backup would be there when one is needed",
                "either existing, and backups by whoever owns that database, or those keys",
            )

    @rule
    def standbys_are_enough(self) -> Iterator[Violation]:
        if self.synchronous_replicas >= self.instances:
            yield Violation(
                "synchronousReplicas",
                f"{self.synchronous_replicas} synchronous standbys of {self.instances} instance(s)",
                "CloudNativePG would refuse the Cluster: the primary cannot wait for itself",
                f"synchronousReplicas: {self.instances - 1}, or more instances",
            )

    @rule
    def wal_fits_its_volume(self) -> Iterator[Violation]:
        size = self.wal_storage_size
        if size and self.slots_keep_gib + MAX_WAL_GIB > gibibytes(size) * 0.9:
            yield Violation(
                "walStorageSize",
                f"{size}, of which replication slots may keep half and WAL between two checkpoints takes "
                f"{MAX_WAL_GIB}Gi",
                "WAL would fill its volume, and Postgres would stop",
                "walStorageSize: 10Gi",
            )

    @rule
    def is_restored_from_another(self) -> Iterator[Violation]:
        if self.restore and self.restore.source == self.name:
            yield Violation(
                "restore.source",
                f"{self.name!r} cannot be restored into itself",
                "the recovery would overwrite the backups it reads",
                "another `name` for the restored Cluster",
            )

    @rule
    def restore_has_a_store(self) -> Iterator[Violation]:
        if self.restore and not self.restore.snapshot and self.backups.method != "objectStore":
            yield Violation(
                "backups.method",
                f"a restore from the object store with backups by method {self.backups.method}",
                "there would be no object store to restore from",
                "method: objectStore, or restore.snapshot for a restore from a volume snapshot",
            )
