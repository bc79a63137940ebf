"""ghcr.io/cloudnative-pg/postgresql: a real PostgreSQL, run by a stand-in of CloudNativePG's instance manager.

The server is one on PATH where that is of the tag's major version, otherwise that of sandbox/containers/programs.in,
whatever the tag says. postgres_instance.py says what the instance manager here is not.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.containers import on_path
from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch
from sandbox.paths import Home


def image(launch: Launch) -> Image:
    manager = launch.python("sandbox.containers.postgres_instance")
    binaries = _binaries(launch)
    programs = {name: [str(binaries / name)] for name in ("psql", "pg_isready", "postgres", "pg_controldata")}
    sockets = Home(launch.home).pod_sockets(launch.pod["metadata"]["uid"])
    sockets.mkdir(exist_ok=True)
    sockets.chmod(0o1777 if os.geteuid() == 0 else 0o700)  # root's sandbox runs the server as another user
    variables = {
        # Where the server listens for the superuser.
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
    fits = found and all(
        on_path.folder("postgres", f"postgres:{version}", beside="initdb") for version in made_by
    )
    return found if found and fits else launch.programs.postgres
