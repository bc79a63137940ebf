"""ghcr.io/cloudnative-pg/postgresql: a real PostgreSQL, run by a stand-in of CloudNativePG's instance manager.

The server is that of sandbox/containers/programs.in, whatever the tag says; postgres_instance.py says what the instance
manager here is not.
"""

from __future__ import annotations

from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch


def image(launch: Launch) -> Image:
    manager = launch.python("sandbox.containers.postgres_instance")
    binaries = launch.programs.postgres
    programs = {name: [str(binaries / name)] for name in ("psql", "pg_isready", "postgres", "pg_controldata")}
    uid = launch.pod["metadata"]["uid"]
    variables = {
        # Where the server listens for the superuser; a socket's path must be short.
        "PGHOST": f"/tmp/llm-gateway-pg-{uid[:8]}",  # noqa: S108
        "PGUSER": "postgres",
        **SANDBOX,
        "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
        "SANDBOX_HOME": str(launch.home),
        "SANDBOX_ADDRESS": launch.address,
    }
    return Image([], ["postgres"], {**SHELL, **programs, "/controller/manager": manager}, variables)
