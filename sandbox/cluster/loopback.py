"""The sandbox talks to this machine only."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbox.errors import SandboxError

_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def require_loopback(server: str) -> str:
    """`server` (a URL) itself; raises SandboxError when its host is not loopback."""
    host = urlsplit(server).hostname
    if host not in _HOSTS:
        raise SandboxError(
            f"refused to talk to {server!r}: the sandbox only ever reaches clusters on this machine "
            f"({', '.join(sorted(_HOSTS))}). To deploy to a real cluster use plain pulumi outside `make shell`."
        )
    return server
