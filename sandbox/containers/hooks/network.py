"""The pod's network for Python programs in it: names, addresses and where they listen. Standard library only.

SANDBOX_POD names the file that says who the pod is (sandbox/nodes/pods/network.py writes it). Names are those of the
cluster's DNS; addresses of the cluster lead to their loopback ones; every listener and loopback address is the pod's own;
connections come from it. Nothing else can be reached. It stands in socket, and in uvloop, which does not use it; a library
that calls the system itself (libpq, gRPC) has none of this and so reaches nothing of the cluster.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Any

_known: dict[str, Any] = {}
_LOOPBACK = ("", "0.0.0.0", "::", "::1", "localhost", "127.0.0.1")  # noqa: S104
_connect, _connect_ex, _bind = socket.socket.connect, socket.socket.connect_ex, socket.socket.bind
_getaddrinfo = socket.getaddrinfo


def _pod() -> dict[str, Any]:
    return _read(os.environ["SANDBOX_POD"])


def _read(path: str) -> dict[str, Any]:
    changed = os.stat(path).st_mtime_ns
    if path not in _known or _known[path][0] != changed:
        with open(path) as file:
            _known[path] = (changed, json.load(file))
    return _known[path][1]


def _is_address(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return False
    return True


def resolve(host: str) -> list[str]:
    """The addresses of a name in the cluster. Raises socket.gaierror."""
    pod = _pod()
    if host in _LOOPBACK or host == pod["hostname"]:
        return ["127.0.0.1"]
    if _is_address(host):
        return [host]
    if pod["resolves"]:
        names = _read(pod["names"])
        absolute = host.endswith(".")
        bare = host.rstrip(".").lower()
        tried = [] if absolute else [f"{bare}.{domain}" for domain in pod["search"]]
        for name in [bare, *tried] if bare.count(".") >= 5 else [*tried, bare]:
            if name in names:
                return names[name]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def here(host: str, port: int) -> tuple[str, int]:
    """Where this machine has an address of the cluster. Raises OSError where there is no way."""
    pod = _pod()
    mapped = port if port >= 1024 or port == 0 else port + 20000
    if host in _LOOPBACK or host == pod["podIP"]:
        return pod["address"], mapped
    first, second, block, last = (*host.split("."), "", "", "")[:4]
    if (first, second, block) == ("10", "0", "0"):
        return f"127.{pod['network']}.0.{last}", mapped
    if (first, second) == ("10", "8") and int(block) >= 128:
        return f"127.{pod['network']}.{int(block) - 64}.{last}", mapped
    if host == pod["address"]:
        return host, port
    raise OSError(errno.ENETUNREACH, "Network is unreachable")


def _target(sock: socket.socket, address: Any) -> Any:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return address
    if sock.family == socket.AF_INET6:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")
    found = here(resolve(address[0])[0], address[1])
    if sock.getsockname()[1] == 0:
        sock.setsockopt(
            socket.IPPROTO_IP, 24, 1
        )  # IP_BIND_ADDRESS_NO_PORT: the port is chosen with the target
        _bind(sock, (_pod()["address"], 0))
    return found


def connect(self: socket.socket, address: Any) -> None:
    return _connect(self, _target(self, address))


def connect_ex(self: socket.socket, address: Any) -> int:
    try:
        target = _target(self, address)
    except OSError as error:
        return error.errno or errno.ENETUNREACH
    return _connect_ex(self, target)


def bind(self: socket.socket, address: Any) -> None:
    if self.family == socket.AF_INET and isinstance(address, tuple):
        if address[0] == _pod()["address"]:
            return _bind(self, address)
        if address[0] not in _LOOPBACK and address[0] != _pod()["podIP"]:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return _bind(self, here("127.0.0.1", address[1]))
    if self.family == socket.AF_INET6:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    return _bind(self, address)


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if family == socket.AF_INET6:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name is None:
        return _getaddrinfo(host, port, socket.AF_INET, type, proto, flags)
    return [
        found
        for address in resolve(name)
        if ":" not in address
        for found in _getaddrinfo(address, port, socket.AF_INET, type, proto, flags & ~socket.AI_CANONNAME)
    ]


def gethostbyname(host: str) -> str:
    return resolve(host)[0]


def _hook_uvloop() -> None:
    try:
        import uvloop  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    loop: Any = uvloop.Loop
    plain_connection, plain_server = loop.create_connection, loop.create_server

    async def resolved(
        self: Any, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        return await self.run_in_executor(None, getaddrinfo, host, port, family, type, proto, flags)

    async def create_connection(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if host is None:
            return await plain_connection(self, factory, host, port, **options)
        if options.get("ssl") and not options.get("server_hostname"):
            options["server_hostname"] = host
        address, number = here(resolve(host)[0], int(port))
        options["local_addr"] = (_pod()["address"], 0)
        return await plain_connection(self, factory, address, number, **options)

    async def create_server(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if options.get("sock") is None:
            host, port = here(host if host else "127.0.0.1", port or 0)
        return await plain_server(self, factory, host, port, **options)

    loop.getaddrinfo, loop.create_connection, loop.create_server = resolved, create_connection, create_server


def install() -> None:
    """Put all this into force."""
    plain: Any = socket.socket
    plain.connect, plain.connect_ex, plain.bind = connect, connect_ex, bind
    module: Any = socket
    module.getaddrinfo, module.gethostbyname = getaddrinfo, gethostbyname
    module.gethostname = lambda: _pod()["hostname"]
    _hook_uvloop()


if __name__ == "sandbox_network":  # run by LiteLLM's environment (sandbox/toolchain/containers.py)
    install()
