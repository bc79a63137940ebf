"""CloudNativePG's instance manager, played around a real PostgreSQL: `/controller/manager instance init|join|restore|run`.

It makes the data folder, runs the server on the pod's address, promotes it when the Cluster names it as primary, sets the
owner's password from its Secret, and answers the probes on port 8000. Differences:

- It asks the API server with the sandbox's own rights: the operator's stand-in makes no roles for instances.
- No TLS: connections are plain, standbys are trusted by their address, and follow the primary's process directly, where no
  NetworkPolicy is asked. The real one takes certificates for both.
- It stops at once, where the real one lets clients go on for up to three minutes.
- Barman's sidecar is none: WAL and base backups are files, which the operator's stand-in takes from this instance's volume
  (sandbox/operators/cloudnativepg/instances.py), and `restore` reads them from this machine.
- Parameters that need a restart, and a volume of WAL's own are not emulated.
- Nothing is forced onto the disk (fsync is off): data outlives every process, not the machine.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sandbox.cluster import control_plane
from sandbox.cluster.client import MERGE, ApiError, Client, Json, Unreachable
from sandbox.cluster.status import moment, timestamp
from sandbox.network.addresses import Network
from sandbox.paths import Home

STATUS_PORT = 8000
_PORT = 5432
_LOOK_SECONDS = 0.5
_HBA = """local all all trust
local replication all trust
host replication streaming_replica 127.0.0.0/8 trust
host all all all scram-sha-256
"""


class Instance:
    """One instance: its data folder, its server, and what the Cluster object wants of it."""

    def __init__(self) -> None:
        self.data = Path(os.environ["PGDATA"])
        self.name = os.environ["POD_NAME"]
        self.address = os.environ["SANDBOX_ADDRESS"]
        self._cluster = os.environ["CLUSTER_NAME"]
        self._namespace = os.environ["NAMESPACE"]
        self._sockets = os.environ["PGHOST"]
        self._server: subprocess.Popen[bytes] | None = None
        self._taken = ""
        self._said = ""
        self._archived = False

    @property
    def api(self) -> Client:
        return control_plane.api(Home(Path(os.environ["SANDBOX_HOME"])))

    def cluster(self) -> Json:
        path = f"/apis/postgresql.cnpg.io/v1/namespaces/{self._namespace}/clusters/{self._cluster}"
        return self.api.get(path)

    def init(self) -> int:
        """Make the data folder, the application's role and its database."""
        if self.data.exists():  # a try before this one did not get to its end
            shutil.rmtree(self.data)
        initdb = self.cluster()["spec"].get("bootstrap", {}).get("initdb", {})
        options = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync"]
        _run("initdb", f"--pgdata={self.data}", *options)
        self._configure({})
        self._start(listen="")
        try:
            database = initdb.get("database", "app")
            owner = initdb.get("owner", database)
            self.query(f'CREATE ROLE "{owner}" LOGIN')
            self.query(f'CREATE DATABASE "{database}" OWNER "{owner}"')
            self.query("CREATE ROLE streaming_replica LOGIN REPLICATION")
        finally:
            self._stop()
        return 0

    def join(self) -> int:
        """Copy the primary's data folder; what is there already goes once the copy is complete."""
        primary = self._address_of(self.cluster()["status"]["currentPrimary"])
        if primary is None:
            print("the primary has no address yet", flush=True)
            return 1
        copy = self.data.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        where = [f"--host={primary}", "--username=streaming_replica", "--no-sync", "--checkpoint=fast"]
        _run("pg_basebackup", f"--pgdata={copy}", *where, "--wal-method=stream")
        (copy / "standby.signal").touch()
        shutil.rmtree(self.data, ignore_errors=True)
        copy.rename(self.data)
        return 0

    def restore(self) -> int:
        """Unpack a base backup and replay WAL: to the time that is asked for, or to the end of what is archived."""
        if self.data.exists():
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        _run("tar", "-xzf", os.environ["SANDBOX_BACKUP"], "-C", str(self.data))
        wal = f"{_quoted(os.environ['SANDBOX_WAL'])}/%f"
        recovery = {
            "restore_command": f"test -f {wal} && gzip -dc < {wal} > %p",
            "recovery_target_action": "promote",
        }
        asked = self.cluster()["spec"]["bootstrap"]["recovery"].get("recoveryTarget", {})
        if "targetTime" in asked:
            # PostgreSQL takes no Z in its configuration.
            recovery["recovery_target_time"] = moment(asked["targetTime"]).isoformat(" ")
        self._configure({}, recovery)
        (self.data / "recovery.signal").touch()
        self._start(listen="")
        try:
            while self._server and self._server.poll() is None:
                if self.accepts() and self.query("SELECT pg_is_in_recovery()") == "f":
                    return 0
                time.sleep(0.2)
            return 1  # the server has said why
        finally:
            self._stop()

    def back_up(self, identity: str) -> None:
        """Make a base backup in a folder of the volume. Raises CalledProcessError."""
        folder = self.data.parent / "backup" / identity
        words = [
            "pg_basebackup",
            f"--pgdata={folder}",
            "--format=tar",
            "--compress=gzip:1",
            "--wal-method=none",
        ]
        subprocess.run([*words, "--checkpoint=fast", "--no-sync", "--username=postgres"], check=True)

    def run(self) -> int:
        """Run the server until SIGTERM, as primary or standby."""
        signal.signal(signal.SIGTERM, _interrupt)
        cluster = self.cluster()
        self.data.chmod(0o700)
        if (
            cluster["status"].get("targetPrimary") != self.name
            and not (self.data / "standby.signal").exists()
        ):
            # It was the primary: its last WAL may be nobody else's.
            print(f"{self.name} is no longer the primary: copying the new one", flush=True)
            if code := self.join():
                return code
        self._configure(cluster)
        _Probes.instance = self
        probes = ThreadingHTTPServer((self.address, STATUS_PORT), _Probes)
        threading.Thread(target=probes.serve_forever, daemon=True).start()
        self._start(self.address)
        try:
            while self._server and self._server.poll() is None:
                self._follow()
                time.sleep(_LOOK_SECONDS)
            return 1  # the server ended by itself
        except KeyboardInterrupt:
            self._stop()
            return 0

    def query(self, statement: str) -> str:
        """What psql prints for a statement of the superuser. Raises CalledProcessError."""
        words = [
            "psql",
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self._sockets,
            "-U",
            "postgres",
        ]
        done = subprocess.run(
            [*words, "-d", "postgres"], input=statement, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def replication(self) -> dict[str, Any]:
        """How much of the WAL a standby has, in bytes, and whether it still receives any."""
        has, receives = self.query(
            "SELECT COALESCE(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_current_wal_lsn()) - '0/0', "
            "EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        ).split("|")
        return {"position": int(has), "receives": receives == "t"}

    def accepts(self) -> bool:
        """Whether the server takes connections."""
        words = ["pg_isready", "-q", "-d", "postgres"]
        return subprocess.run(words).returncode == 0

    def _follow(self) -> None:
        """Do what the Cluster object wants."""
        try:
            cluster = self.cluster()
            if not self.accepts():
                return
            status = cluster["status"]
            primary = status.get("targetPrimary") == self.name
            standby = self.query("SELECT pg_is_in_recovery()") == "t"
            if primary and standby:
                print(f"promoting {self.name}", flush=True)
                self.query("SELECT pg_promote()")
            elif not primary and not standby:
                print(f"{self.name} is no longer the primary: stopping", flush=True)
                self._stop()
                return
            if primary and status.get("currentPrimary", self.name) != self.name:
                self._become_primary()
            elif primary:
                self._take_password(cluster)
                if archives(cluster) and not self._archived:
                    self.query(
                        "CHECKPOINT; SELECT pg_switch_wal() FROM pg_stat_archiver WHERE archived_count = 0"
                    )
                    self._archived = True
            self._configure(cluster)
        except (ApiError, Unreachable, subprocess.CalledProcessError, OSError, KeyError) as error:
            words = getattr(error, "stderr", None) or str(error)
            if words != self._said:
                print(f"instance manager: {words}", flush=True)
            self._said = words

    def _become_primary(self) -> None:
        """Tell the operator that the promotion is done."""
        path = f"/apis/postgresql.cnpg.io/v1/namespaces/{self._namespace}/clusters/{self._cluster}/status"
        status = {"currentPrimary": self.name, "currentPrimaryTimestamp": timestamp()}
        self.api.send("PATCH", path, {"status": status}, MERGE)

    def _take_password(self, cluster: Json) -> None:
        initdb = cluster["spec"].get("bootstrap", {})
        wanted = initdb.get("recovery") or initdb.get("initdb", {})
        name = wanted.get("secret", {}).get("name") or f"{self._cluster}-app"
        owner = wanted.get("owner", wanted.get("database", "app"))
        secret = self.api.get(f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        version = secret["metadata"]["resourceVersion"]
        reloads = secret["metadata"].get("labels", {}).get("cnpg.io/reload") == "true"
        if version == self._taken or (self._taken and not reloads):
            return
        data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        if data["username"] != owner:
            raise KeyError(f"wrong username '{data['username']}' in secret, expected '{owner}'")
        quoted = data["password"].replace("'", "''")
        self.query(f"SET log_statement = 'none'; ALTER ROLE \"{owner}\" PASSWORD '{quoted}'")
        self._taken = version

    def _configure(self, cluster: Json, recovery: dict[str, str] | None = None) -> None:
        """Write the server's configuration; reload it where it changed."""
        wanted = cluster.get("spec", {}).get("postgresql", {})
        parameters: dict[str, Any] = {
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 100,
            "shared_buffers": "32MB",
            "wal_level": "logical",
            "wal_keep_size": "128MB",
            "archive_timeout": "5min",
            **wanted.get("parameters", {}),
            "listen_addresses": self.address,
            "port": _PORT,
            "unix_socket_directories": self._sockets,
            "unix_socket_permissions": "0700",  # whoever gets in is the superuser
            "hot_standby": "on",
            **(recovery or {}),
        }
        if archives(cluster):
            folder = self.data.parent / "archive"
            folder.mkdir(exist_ok=True)
            place = _quoted(str(folder))
            parameters["archive_mode"] = "on"
            parameters["archive_command"] = f"gzip -1 < %p > {place}/.%f && mv {place}/.%f {place}/%f"
        status = cluster.get("status", {})
        primary = status.get("targetPrimary")
        if primary == self.name and (synchronous := wanted.get("synchronous")):
            others = [f'"{name}"' for name in status.get("instanceNames", []) if name != self.name]
            healthy = status.get("instancesStatus", {}).get("healthy", [])
            up = [name for name in others if name.strip('"') in healthy]
            number = synchronous["number"]
            if synchronous.get("dataDurability") == "preferred":
                others, number = up, min(number, len(up))
            if number:
                parameters["synchronous_standby_names"] = (
                    f"{synchronous['method'].upper()} {number} ({','.join(others)})"
                )
        elif primary and primary != self.name and (address := self._address_of(primary)):
            parameters["primary_conninfo"] = (
                f"host={address} port={_PORT} user=streaming_replica application_name={self.name}"
            )
        lines = [
            f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'" for name, value in parameters.items()
        ]
        text = "\n".join([*lines, ""])
        file = self.data / "postgresql.auto.conf"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            (self.data / "pg_hba.conf").write_text(_HBA)
            if self._server:
                self._server.send_signal(signal.SIGHUP)

    def _address_of(self, instance: str) -> str | None:
        """Where another instance's server listens on this machine; None where it has no pod, or that no address."""
        try:
            pod = self.api.get(f"/api/v1/namespaces/{self._namespace}/pods/{instance}")
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        address = pod["status"].get("podIP")
        return Network(int(self.address.split(".")[1])).process(address) if address else None

    def _start(self, listen: str) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed
        words = ["postgres", "-D", str(self.data), "-c", f"listen_addresses={listen}", "-k", self._sockets]
        self._server = subprocess.Popen(words)
        deadline = time.monotonic() + 60
        while not self.accepts() and self._server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _stop(self) -> None:
        if self._server and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait()


class _Probes(BaseHTTPRequestHandler):
    instance: Instance

    def do_GET(self) -> None:
        well = self.path == "/healthz" or self.instance.accepts()
        text = b""
        try:
            if self.path == "/pg/status" and well:
                text = json.dumps(self.instance.replication()).encode()
            elif self.path.startswith("/pg/backup/"):
                self.instance.back_up(self.path.rpartition("/")[2])
                text = b"{}"
        except subprocess.CalledProcessError:
            well = False
        self.send_response(200 if well else 500)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)


def archives(cluster: Json) -> bool:
    """Whether a plugin takes the Cluster's WAL."""
    return any(plugin.get("isWALArchiver") for plugin in cluster.get("spec", {}).get("plugins", []))


def _quoted(path: str) -> str:
    """A path in a command of PostgreSQL's configuration."""
    return shlex.quote(path.replace("%", "%%"))


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    if sys.argv[1:2] != ["instance"] or sys.argv[2:3] not in (["init"], ["join"], ["restore"], ["run"]):
        print(f"manager {' '.join(sys.argv[1:])} is not emulated by the sandbox", flush=True)
        return 1
    instance = Instance()
    commands = {
        "init": instance.init,
        "join": instance.join,
        "restore": instance.restore,
        "run": instance.run,
    }
    try:
        return commands[sys.argv[2]]()
    except (ApiError, Unreachable, subprocess.CalledProcessError) as error:
        print(f"instance manager: {getattr(error, 'stderr', None) or error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
