"""A real PostgreSQL for tests: one server per test run, and in it databases with LiteLLM's schema."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from sandbox.network.forwards import Forwards
from sandbox.nodes.pods.process import as_user
from sandbox.toolchain.containers import MANIFESTS, ensure

_OTHER_USER = 65534  # PostgreSQL refuses root
_TEMPLATE = "migrated"


class Postgres:
    """A server that listens on loopback; `environment` is what Prisma's client needs besides a database's URL."""

    def __init__(self) -> None:
        self._programs = ensure()
        self._folder = Path(tempfile.mkdtemp(prefix="llm-gateway-"))
        self._port = _free_port()
        self._forwards, self._doors, self._away = Forwards(), dict[str, int](), frozenset[str]()
        self._user = as_user(_OTHER_USER, [], self._folder)
        data = self._folder / "data"
        self._run(
            "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--no-sync", "--locale=C"
        )
        options = ["-c", "fsync=off", "-c", "max_connections=300", "-k", str(self._folder)]
        server = [str(self._programs.postgres / "postgres"), "-D", str(data), "-h", "127.0.0.1"]
        with (self._folder / "log").open("w") as log:
            self._server = subprocess.Popen(
                [*self._user, *server, "-p", str(self._port), *options], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 30
        while subprocess.run(self._psql("SELECT 1"), capture_output=True).returncode:
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.1)
        self.query("CREATE ROLE litellm LOGIN SUPERUSER")
        self.query(f"CREATE DATABASE {_TEMPLATE} OWNER litellm")
        (package,) = self._programs.litellm.glob("lib/python*/site-packages/litellm_proxy_extras")
        environment = {**os.environ, **self.environment, "DATABASE_URL": self.url(_TEMPLATE)}
        migrate = [str(self._programs.prisma / "bin" / "prisma"), "migrate", "deploy"]
        subprocess.run(migrate, cwd=package, env=environment, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PRISMA_QUERY_ENGINE_BINARY": str(self._programs.prisma / "bin" / "query-engine"),
            "PYTHONPATH": str(self._programs.prisma / "python"),
            "SANDBOX_CONTAINERS": str(MANIFESTS),
        }

    def url(self, database: str) -> str:
        return f"postgresql://litellm@127.0.0.1:{self._door(database)}/{database}"

    def database(self, name: str) -> None:
        """Make a database with LiteLLM's schema, unless it is there."""
        if self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") != "1":  # noqa: S608 - a name of ours
            self.query(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} OWNER litellm")

    def drop(self, name: str) -> None:
        self.query(f"DROP DATABASE {name} WITH (FORCE)")

    def take(self, name: str, away: bool) -> None:
        """Be gone for the clients of a database, or come back to them."""
        self._away = self._away | {name} if away else self._away - {name}
        self._open()
        if away:
            ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
            self.query(ended)

    def _door(self, name: str) -> int:
        """The port at which a database's clients find the server: one per database, so that each can be shut."""
        if name not in self._doors:
            self._doors[name] = _free_port()
            self._open()
        return self._doors[name]

    def _open(self) -> None:
        place = "127.0.0.1", self._port
        doors = {
            ("127.0.0.1", port): lambda _: place
            for name, port in self._doors.items()
            if name not in self._away
        }
        self._forwards.set(doors)

    def query(self, statement: str, database: str = "postgres") -> str:
        done = subprocess.run(self._psql(statement, database), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)
        self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _psql(self, statement: str, database: str = "postgres") -> list[str]:
        psql = [
            str(self._programs.postgres / "psql"),
            "-XqtA",
            "-h",
            str(self._folder),
            "-p",
            str(self._port),
        ]
        return [*psql, "-U", "postgres", "-d", database, "-c", statement]

    def _run(self, program: str, *arguments: str) -> None:
        words = [*self._user, str(self._programs.postgres / program), *arguments]
        subprocess.run(words, check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@functools.cache
def shared() -> Postgres:
    """The server of this test process, started when it is first asked for."""
    made = Postgres()
    atexit.register(made.stop)
    return made
