"""TLS in front of servers whose builds have none."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Generator
from pathlib import Path

_SSL_REQUEST = 8
"""Bytes of PostgreSQL's SSLRequest, which one letter answers."""


@contextlib.contextmanager
def terminated(
    port: int, plain: int, certificate: tuple[Path, Path], *, postgres: bool = False
) -> Generator[None]:
    """Answer to TLS at `port` for the server at the port `plain` until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", port)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(
                    target=_serve, args=(connection, context, plain, postgres), daemon=True
                ).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _serve(connection: socket.socket, context: ssl.SSLContext, port: int, postgres: bool) -> None:
    if postgres:
        connection.recv(_SSL_REQUEST)
        connection.sendall(b"S")
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(connection, server_side=True) as secure,
        selectors.DefaultSelector() as ready,
    ):
        ready.register(plain, selectors.EVENT_READ)
        ready.register(secure, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is plain:
                    data = plain.recv(1 << 16)
                    secure.sendall(data)
                else:
                    data = secure.recv(1 << 16)
                    while secure.pending():
                        data += secure.recv(secure.pending())
                    plain.sendall(data)
                if not data:
                    return
