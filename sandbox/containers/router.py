"""lmcache/lmstack-router: the vllm-stack's router, as far as the stack uses it (router_server.py says what it is not)."""

from __future__ import annotations

from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch


def image(launch: Launch) -> Image:
    server = launch.python("sandbox.containers.router_server")
    account = next((m.target for m in launch.mounts if m.path.endswith("/serviceaccount")), launch.folder)
    return Image(
        ["vllm-router"],
        [],
        {**SHELL, "vllm-router": server},
        {**SANDBOX, "SANDBOX_ACCOUNT": str(account)},
        "app",
    )
