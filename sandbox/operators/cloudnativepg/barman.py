"""One server's folder in a bucket, as the Barman Cloud plugin's sidecar writes and reads it.

A backup holds what the emulated database holds: its rows, each with the time it was written, and its roles.
The WAL archive holds the same as of its last archiving, so that any moment between a backup and then can be
restored.

What it does not do: other clouds than Google's, keys in place of Workload Identity, retention, compression,
tags. Kinder in one thing: the error itself has a failure's cause, which Barman writes to the sidecar's log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sandbox.cluster.status import moment, timestamp
from sandbox.google.cloud import Cloud, CloudError, member_name

Json = dict[str, Any]

_OBJECTS = frozenset({"objects.create", "objects.delete", "objects.get", "objects.list"})
# https://cloud.google.com/storage/docs/access-control/iam-roles
_PERMISSIONS: dict[str, frozenset[str]] = {
    "roles/storage.admin": _OBJECTS | {"buckets.get"},
    "roles/storage.legacyBucketReader": frozenset({"buckets.get", "objects.list"}),
    "roles/storage.legacyBucketWriter": frozenset(
        {"buckets.get", "objects.create", "objects.delete", "objects.list"}
    ),
    "roles/storage.objectAdmin": _OBJECTS,
    "roles/storage.objectCreator": frozenset({"objects.create"}),
    "roles/storage.objectUser": _OBJECTS,
    "roles/storage.objectViewer": frozenset({"objects.get", "objects.list"}),
}
_API = "https://storage.googleapis.com/storage/v1/b"


class BarmanError(Exception):
    """A barman-cloud command failed; the text is what the plugin reports."""


class Folder:
    """The backups and WAL of one server (a Cluster's name) in the bucket of an ObjectStore.

    `member` is the IAM member that asks. Every method raises BarmanError.
    """

    def __init__(self, cloud: Cloud, store: Json, server: str, member: str) -> None:
        self._cloud = cloud
        self._configuration: Json = store["spec"]["configuration"]
        self._member = member
        bucket, _, folder = self._configuration["destinationPath"].removeprefix("gs://").partition("/")
        self._bucket = bucket
        self._prefix = "/".join(part for part in (bucket, folder.strip("/"), server) if part)
        self._server = server

    @property
    def path(self) -> str:
        """Where it is: BUCKET/FOLDER/SERVER."""
        return self._prefix

    def check_empty(self, owner: str) -> None:
        """Refuse a folder that holds the backups of another Cluster than the one with the uid `owner`."""
        self._allow("barman-cloud-check-wal-archive", "buckets.get", "objects.list")
        if any(kept.get("owner") != owner for kept in self._cloud.list("bucketObject", f"{self._prefix}/")):
            raise BarmanError(
                "unexpected failure invoking barman-cloud-check-wal-archive: exit status 1: "
                f"WAL archive check failed for server {self._server}: Expected empty archive"
            )

    def archive(self, owner: str, content: Json) -> None:
        """Archive WAL up to now; `owner` is the uid of the Cluster, which shares its folder with no other."""
        self._allow("barman-cloud-wal-archive", "buckets.get", "objects.create")
        now = timestamp()
        name = f"{self._prefix}/wals"
        body = {"owner": owner, "until": now, "content": content}
        try:
            known = self._cloud.get("bucketObject", name)
        except CloudError:
            self.check_empty(owner)
            self._cloud.create("bucketObject", name, body)
            return
        if known["owner"] != owner:
            self.check_empty(owner)
        if known["until"] != now or known["content"] != content:
            self._cloud.update("bucketObject", name, body)

    def back_up(self, owner: str, content: Json, take: Callable[[str], bool] = lambda _: True) -> str:
        """Take a base backup of the Cluster with the uid `owner`; its id, by which `take` makes its files, if it can."""
        self._allow("barman-cloud-backup", "buckets.get", "objects.create", "objects.list", "objects.get")
        identity = timestamp().translate({ord(mark): None for mark in "-:Z"})[:15]
        if not take(identity):
            raise BarmanError("unexpected failure invoking barman-cloud-backup: exit status 4")
        with suppress(CloudError):  # two within a second are one
            self._cloud.create(
                "bucketObject",
                f"{self._prefix}/base/{identity}",
                {"owner": owner, "ended": timestamp(), "content": content},
            )
        return identity

    def backup(self, target: str | None) -> Json:
        """The last base backup that ended before the time `target` (None: the last)."""
        self._allow("barman-cloud-backup-list", "buckets.get", "objects.list", "objects.get")
        backups = self._cloud.list("bucketObject", f"{self._prefix}/base/")
        backups = [
            backup for backup in backups if target is None or moment(backup["ended"]) <= moment(target)
        ]
        if not backups:
            raise BarmanError("no target backup found")
        return backups[-1]

    def restore(self, target: str | None) -> Json:
        """The content at the time `target` (None: the last archived), from a backup before it and WAL."""
        content: Json = self.backup(target)["content"]
        try:
            archived = self._cloud.get("bucketObject", f"{self._prefix}/wals")
        except CloudError:
            if target:
                raise _unreached() from None
            return content
        if target and moment(archived["until"]) < moment(target):
            raise _unreached()
        rows = [
            row
            for row in archived["content"]["rows"]
            if target is None or moment(row["at"]) <= moment(target)
        ]
        return {"rows": rows, "roles": content["roles"] if target else archived["content"]["roles"]}

    def _allow(self, command: str, *permissions: str) -> None:
        if not self._configuration.get("googleCredentials", {}).get("gkeEnvironment"):
            raise BarmanError(
                "missing credentials: the sandbox emulates googleCredentials.gkeEnvironment only"
            )
        held: set[str] = set()
        for role, permissions_of_role in _PERMISSIONS.items():
            with suppress(CloudError):
                self._cloud.get("bucketIamMember", member_name(self._bucket, role, self._member))
                held |= permissions_of_role
        for permission in permissions:
            if permission not in held:
                raise BarmanError(
                    f"unexpected failure invoking {command}: exit status 2: 403 GET {_API}/{self._bucket}: "
                    f"{self._member} does not have storage.{permission} access to the Google Cloud Storage bucket. "
                    f"Permission 'storage.{permission}' denied on resource (or it may not exist)."
                )
        try:
            self._cloud.get("bucket", self._bucket)
        except CloudError:
            raise BarmanError(
                f"unexpected failure invoking {command}: exit status 2: 404 GET {_API}/{self._bucket}: "
                "The specified bucket does not exist."
            ) from None


def _unreached() -> BarmanError:
    return BarmanError("FATAL: recovery ended before configured recovery target was reached")
