"""Forwards: what listens on the loopback addresses of Services and pods, and leads to a pod's process.

A connection's source is the address that it comes from: a pod's processes connect from the pod's own. It is let through
where `Route.choose` says so, else reset: in a cluster it would be swallowed, and the client would wait. TCP alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import cast

_LOG = logging.getLogger(__name__)

Place = tuple[str, int]
"""An address and a port of this machine."""
Route = Callable[[str], Place | None]
"""Where a connection from an address is led; None where it is not let through."""


class Forwards:
    """The listeners of one sandbox, served by a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[Place, asyncio.Server] = {}
        self._routes: dict[Place, Route] = {}
        self._refused: set[Place] = set()
        threading.Thread(target=self._loop.run_forever, name="forwards", daemon=True).start()

    def set(self, routes: Mapping[Place, Route]) -> None:
        """Have exactly these listeners; connections of one that goes live on."""
        asyncio.run_coroutine_threadsafe(self._set(dict(routes)), self._loop).result()

    async def _set(self, routes: dict[Place, Route]) -> None:
        self._routes = routes
        for place in self._servers.keys() - routes.keys():
            self._servers.pop(place).close()
        for place in sorted(routes.keys() - self._servers.keys()):
            try:
                self._servers[place] = await self._loop.create_server(
                    lambda place=place: _Client(self, place), *place, backlog=512
                )
                self._refused.discard(place)
            except OSError as error:
                if place not in self._refused:
                    self._refused.add(place)
                    _LOG.error("cannot listen on %s port %s: %s", *place, error)

    def lead(self, place: Place, source: str) -> Place | None:
        """Where a connection to a listener goes."""
        route = self._routes.get(place)
        return route(source) if route else None


class _End(asyncio.Protocol):
    """One end of a forwarded connection: what comes in goes out at the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: _End | None = None
        self.early: list[bytes] = []
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        connection = cast(socket.socket, transport.get_extra_info("socket"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)
        else:
            self.early.append(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other:
            if self.other.ended:
                return False  # closes this end, and with it the other
            with contextlib.suppress(OSError, RuntimeError):
                self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other:
            self.other.transport.abort() if exc else self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class _Client(_End):
    """The end that connected."""

    def __init__(self, forwards: Forwards, place: Place) -> None:
        super().__init__()
        self._forwards = forwards
        self._place = place
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        source = cast(Place, transport.get_extra_info("peername"))[0]
        try:
            target = self._forwards.lead(self._place, source)
        except Exception:
            _LOG.exception("cannot tell where %s leads", self._place)
            target = None
        if target is None:
            self._reset()
            return
        self._opening = asyncio.get_running_loop().create_task(self._open(target, source))

    async def _open(self, target: Place, source: str) -> None:
        server = _End()
        local = (source, 0) if source != "127.0.0.1" else None
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, *target, local_addr=local)
        except OSError:
            self._reset()
            return
        self.other, server.other = server, self
        for data in self.early:
            server.transport.write(data)
        if self.ended:
            server.transport.write_eof()
        if self.transport.is_closing():
            server.transport.close()

    def _reset(self) -> None:
        connection = cast(socket.socket, self.transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.transport.abort()
