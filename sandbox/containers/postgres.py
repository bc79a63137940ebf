"""ghcr.io/cloudnative-pg/postgresql: a real PostgreSQL, run by a stand-in of CloudNativePG's instance manager.

The server is that of sandbox/containers/programs.in, whatever the tag says; postgres_instance.py says what the instance
manager here is not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch

_LONGEST = 85  # bytes, with 20 more for the socket's name


def image(launch: Launch) -> Image:
    manager = launch.python("sandbox.containers.postgres_instance")
    binaries = launch.programs.postgres
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
