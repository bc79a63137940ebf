"""ghcr.io/cloudnative-pg/postgresql: a real PostgreSQL, run by a stand-in of CloudNativePG's instance manager.

The server is one on PATH where that is of the tag's major version, otherwise that of sandbox/containers/programs.in,
whatever the tag says. postgres_instance.py says what the instance manager here is not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sandbox.containers import on_path
from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch

_LONGEST = 85  # bytes, with 20 more for the socket's name


def image(launch: Launch) -> Image:
    manager = launch.python("sandbox.containers.postgres_instance")
    binaries = _binaries(launch)
    programs = {name: [str(binaries / name)] for name in ("psql", "pg_isready", "postgres", "pg_controldata")}
    sockets = launch.home / f"pg-{launch.pod['metadata']['uid'][:8]}"
    if len(bytes(sockets)) > _LONGEST:
        sockets = Path(tempfile.gettempdir()) / f"llm-gateway-{sockets.name}"
    sockets.mkdir(exist_ok=True)
    sockets.chmod(0o1777)
    variables = {
        # Where the server listens for the superuser; a socket's path must be short.
        "PGHOST": str(sockets),
        "PGUSER": "postgres",
        **SANDBOX,
        "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
        "SANDBOX_HOME": str(launch.home),
        "SANDBOX_ADDRESS": launch.address,
    }
    return Image([], ["postgres"], {**SHELL, **programs, "/controller/manager": manager}, variables)


def _binaries(launch: Launch) -> Path:
    """PostgreSQL's programs. A data folder stays with the major version that made it, and no other reads it."""
    found = on_path.folder("postgres", launch.container["image"], beside="initdb")
    made_by = [
        file.read_text().strip() for mount in launch.mounts for file in mount.target.glob("*/PG_VERSION")
    ]
    fits = found and all(on_path.folder("postgres", f"postgres:{each}", beside="initdb") for each in made_by)
    return found if found and fits else launch.programs.postgres
