"""The emulated Google Cloud: resources by full name in one SQLite file, shared by every process of a sandbox.

What it does not do: evaluate IAM beyond the one role Secret Manager reading needs (no inherited folder or
organisation policy, no conditions), delay IAM propagation, keep audit logs, or check quotas. It stores what
it is given; the gcp provider stand-in does the checking. Secret payloads live here and nowhere else (file
mode 0600).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Body = dict[str, Any]

GPU_STOCKOUT = "gpu_stockout"
"""The switch that takes the capacity for GPU machines away while it is "true"."""
ACCESSOR_ROLE = "roles/secretmanager.secretAccessor"
_STATUS = {
    "NOT_FOUND": 404,
    "PERMISSION_DENIED": 403,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 400,
    "INVALID_ARGUMENT": 400,
}
_LABELS = {"secret": "Secret", "secretVersion": "Secret Version", "project": "Project", "cluster": "Cluster"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS resource (kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE IF NOT EXISTS switch (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class CloudError(Exception):
    """An error as a Google API returns it: HTTP `status`, canonical `reason` and the API's own words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = _STATUS[reason]
        self.reason = reason
        self.message = message


def member_name(resource: str, role: str, member: str) -> str:
    """The name under which one IAM member of a resource is stored."""
    return f"{resource} {role} {member}"


class Cloud:
    """Resources of every kind by full resource name, e.g. `get("secret", "projects/p/secrets/s")`.

    Names hold project ids; a project number is understood in its place once the project is known. Every body
    has its own `name`. Safe for several threads and processes at once.
    """

    def __init__(self, path: Path) -> None:
        """Open the store, creating it readable by its owner only."""
        # An existing store is opened by SQLite only: closing another descriptor would drop this process's locks.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _query(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _canonical(self, name: str) -> str:
        head, *rest = name.split("/", 2)
        if head != "projects" or not rest or not rest[0].isdigit():
            return name
        for project in self._query("SELECT name, body FROM resource WHERE kind = 'project'"):
            if json.loads(project[1])["number"] == int(rest[0]):
                return "/".join([project[0], *rest[1:]])
        return name

    def _numbered(self, name: str) -> str:
        head, *rest = name.split("/", 2)
        if head != "projects" or not rest:
            return name
        return "/".join([head, str(project_number(rest[0])), *rest[1:]])

    def _error(self, reason: str, kind: str, name: str, words: str) -> CloudError:
        if kind == "bucket" and reason == "NOT_FOUND":
            return CloudError(reason, "The specified bucket does not exist., notFound")
        shown = self._numbered(name) if kind.startswith("secret") else name
        return CloudError(reason, f"{_LABELS.get(kind, kind)} [{shown}] {words}.")

    def get(self, kind: str, name: str) -> Body:
        """One resource. Raises CloudError NOT_FOUND."""
        rows = self._query(
            "SELECT body FROM resource WHERE kind = ? AND name = ?", kind, self._canonical(name)
        )
        if not rows:
            raise self._error("NOT_FOUND", kind, name, "not found")
        return json.loads(rows[0][0])

    def list(self, kind: str, prefix: str = "") -> list[Body]:
        """Every resource of a kind whose name starts with `prefix`, by name."""
        prefix = self._canonical(prefix)
        rows = self._query(
            "SELECT body FROM resource WHERE kind = ? AND substr(name, 1, length(?)) = ? ORDER BY name",
            kind,
            prefix,
            prefix,
        )
        return [json.loads(body) for (body,) in rows]

    def create(self, kind: str, name: str, body: Body) -> Body:
        """Store a new resource. Raises CloudError ALREADY_EXISTS."""
        name = self._canonical(name)
        stored = {**body, "name": name}
        try:
            with self._transaction() as db:
                db.execute("INSERT INTO resource VALUES (?, ?, ?)", (kind, name, json.dumps(stored)))
        except sqlite3.IntegrityError:
            raise self._error("ALREADY_EXISTS", kind, name, "already exists") from None
        return stored

    def update(self, kind: str, name: str, body: Body) -> Body:
        """Replace a resource's body. Raises CloudError NOT_FOUND."""
        name = self._canonical(name)
        stored = {**body, "name": name}
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE resource SET body = ? WHERE kind = ? AND name = ?", (json.dumps(stored), kind, name)
            )
        if not changed.rowcount:
            raise self._error("NOT_FOUND", kind, name, "not found")
        return stored

    def change(self, kind: str, name: str, **fields: Any) -> Body:
        """Set some of a resource's fields and leave the others as they are. Raises CloudError NOT_FOUND."""
        name = self._canonical(name)
        with self._transaction() as db:
            row = db.execute("SELECT body FROM resource WHERE kind = ? AND name = ?", (kind, name)).fetchone()
            if row:
                stored = {**json.loads(row[0]), **fields}
                db.execute(
                    "UPDATE resource SET body = ? WHERE kind = ? AND name = ?",
                    (json.dumps(stored), kind, name),
                )
                return stored
        raise self._error("NOT_FOUND", kind, name, "not found")

    def delete(self, kind: str, name: str) -> None:
        """Remove a resource and what belongs to it (versions, IAM members). Raises CloudError NOT_FOUND."""
        name = self._canonical(name)
        with self._transaction() as db:
            gone = db.execute("DELETE FROM resource WHERE kind = ? AND name = ?", (kind, name))
            if gone.rowcount:
                db.execute(
                    "DELETE FROM resource WHERE substr(name, 1, length(?) + 1) IN (? || '/', ? || ' ')",
                    (name, name, name),
                )
        if not gone.rowcount:
            raise self._error("NOT_FOUND", kind, name, "not found")

    def ensure_project(self, project_id: str, bare: bool = False) -> int:
        """Make the project exist; its number (12 digits, always the same for one id).

        A new one is `bare`, as Google makes it, or has the APIs of one in use. One that exists stays as it is.
        """
        number = project_number(project_id)
        name = f"projects/{project_id}"
        body = json.dumps({"name": name, "projectId": project_id, "number": number, "bare": bare})
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO resource VALUES ('project', ?, ?)", (name, body))
        return number

    def ensure_cluster(
        self,
        project: str,
        location: str,
        name: str,
        endpoint: str,
        ca_certificate: str,
        autopilot: bool = False,
    ) -> None:
        """Make a GKE cluster exist, as infrastructure that was there before the stack.

        `endpoint` is HOST:PORT, `ca_certificate` PEM in base64 as the GKE API gives it. An existing one is
        updated.
        """
        self.ensure_project(project)
        full = f"projects/{project}/locations/{location}/clusters/{name}"
        body = {
            "name": full,
            "project": project,
            "location": location,
            "clusterName": name,
            "endpoint": endpoint,
            "caCertificate": ca_certificate,
            "autopilot": autopilot,
        }
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO resource VALUES ('cluster', ?, ?)", (full, json.dumps(body)))

    def set_control_plane(self, endpoint: str, ca_certificate: str) -> None:
        """Set where every cluster is reached: `endpoint` is HOST:PORT, `ca_certificate` PEM in base64."""
        where = {"endpoint": endpoint, "caCertificate": ca_certificate}
        try:
            self.create("controlPlane", "sandbox", where)
        except CloudError:
            self.change("controlPlane", "sandbox", **where)
        for cluster in self.list("cluster"):
            self.change("cluster", cluster["name"], **where)

    def add_secret_version(self, secret: str, payload: bytes) -> Body:
        """Add the next version (1, 2, ...) of a secret, enabled. Raises CloudError NOT_FOUND."""
        secret = self.get("secret", secret)["name"]
        prefix = f"{secret}/versions/"
        with self._transaction() as db:
            (count,) = db.execute(
                "SELECT count(*) FROM resource WHERE kind = 'secretVersion' AND substr(name, 1, length(?)) = ?",
                (prefix, prefix),
            ).fetchone()
            name = f"{prefix}{count + 1}"
            body = {
                "name": name,
                "secret": secret,
                "version": str(count + 1),
                "state": "ENABLED",
                "payload": base64.b64encode(payload).decode(),
            }
            db.execute("INSERT INTO resource VALUES ('secretVersion', ?, ?)", (name, json.dumps(body)))
        return body

    def set_secret_version(self, name: str, state: str) -> Body:
        """Have a secret's version ENABLED, DISABLED or DESTROYED, as Secret Manager's methods of these names do.

        One whose secret has a versionDestroyTtl is not destroyed at once: it is disabled, and scheduled, which each
        of the other two takes back. (Nothing here waits until that time comes.) Raises CloudError NOT_FOUND, or
        FAILED_PRECONDITION for one that is destroyed.
        """
        version = self.get("secretVersion", name)
        if version["state"] == "DESTROYED":
            raise self._error("FAILED_PRECONDITION", "secretVersion", name, "is in DESTROYED state")
        delay = (
            self.get("secret", version["secret"]).get("versionDestroyTtl") if state == "DESTROYED" else None
        )
        if delay:
            due = datetime.now(UTC) + timedelta(seconds=float(delay.removesuffix("s")))
            return self.change("secretVersion", name, state="DISABLED", scheduledDestroyTime=_written(due))
        gone = {"payload": "", "destroyTime": now()} if state == "DESTROYED" else {}
        return self.change("secretVersion", name, state=state, scheduledDestroyTime="", **gone)

    def access_secret_version(
        self, project: str, secret: str, version: str, member: str
    ) -> tuple[str, bytes]:
        """What Secret Manager's AccessSecretVersion gives `member`: the version's number and its payload.

        `version` is a number or "latest" (the highest-numbered one, whatever its state). A missing secret is
        PERMISSION_DENIED to a member with no role on the project, as IAM is asked first; else NOT_FOUND.
        Raises CloudError PERMISSION_DENIED, NOT_FOUND or FAILED_PRECONDITION (disabled or destroyed).
        """
        project_name = self._canonical(f"projects/{project}")
        name = f"{project_name}/secrets/{secret}"
        granted = [
            *self._query("SELECT 1 FROM resource WHERE name = ?", member_name(name, ACCESSOR_ROLE, member)),
            *self._query(
                "SELECT 1 FROM resource WHERE name = ?", member_name(project_name, ACCESSOR_ROLE, member)
            ),
        ]
        asked = self._numbered(f"{name}/versions/{version}")
        if not granted:
            raise CloudError(
                "PERMISSION_DENIED",
                f"Permission 'secretmanager.versions.access' denied for resource '{asked}' (or it may not exist).",
            )
        self.get("secret", name)
        versions = {int(row["version"]): row for row in self.list("secretVersion", f"{name}/versions/")}
        if version == "latest":
            if not versions:
                raise self._error("NOT_FOUND", "secret", name, "not found or has no versions")
            row = versions[max(versions)]
        elif version.isdigit() and int(version) in versions:
            row = versions[int(version)]
        else:
            raise CloudError("NOT_FOUND", f"Secret Version [{asked}] not found.")
        if row["state"] != "ENABLED":
            raise self._error(
                "FAILED_PRECONDITION", "secretVersion", row["name"], f"is in {row['state']} state"
            )
        return row["version"], base64.b64decode(row["payload"])

    def set_switch(self, name: str, value: str) -> None:
        """Set a switch of the emulation, e.g. gpu_stockout to "true"."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO switch VALUES (?, ?)", (name, value))

    def get_switch(self, name: str) -> str | None:
        """The value of a switch; None when it was never set."""
        rows = self._query("SELECT value FROM switch WHERE name = ?", name)
        return rows[0][0] if rows else None


def now() -> str:
    """This moment as the APIs write it."""
    return _written(datetime.now(UTC))


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def project_number(project: str) -> int:
    """The 12-digit number of a project id; a number is itself."""
    if project.isdigit():
        return int(project)
    return 10**11 + int(hashlib.sha256(project.encode()).hexdigest(), 16) % (9 * 10**11)
