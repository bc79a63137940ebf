"""The kubelet's own API, as far as the API server asks it for `kubectl logs`: of this run, of the one before, and following.

It listens on a socket in the sandbox's home, to which the cluster network leads the API server (sandbox/cluster/webhooks.py).
What it does not do: exec, attach, port-forward (they speak SPDY), metrics, timestamps of lines. It refuses these by name.
"""

from __future__ import annotations

import os
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from sandbox.nodes.pods.process import Container
from sandbox.paths import Home

Find = Callable[[str, str, str], Container | None]
"""A container by namespace, pod and name, where its pod runs."""
_NOT_EMULATED = ("timestamps", "sinceSeconds", "sinceTime", "stream")
_LOOK_SECONDS = 0.2


def serve(home: Home, find: Find) -> None:
    """Serve in a thread until the process ends."""
    path = home.kubelet_socket
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        server = _Server(str(path), _Handler)
    finally:
        os.umask(mask)
    server.find = find
    threading.Thread(target=server.serve_forever, name="kubelet-api", daemon=True).start()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    find: Find

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(path, handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA(organization_name="llm-gateway sandbox").issue_cert("localhost").configure_cert(
            self._context
        )

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        connection.settimeout(30)
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), (
            "kubelet",
            0,
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the API server went away


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if parts[0] != "containerLogs" or len(parts) != 4:
            self._refuse(
                501, f"{parts[0]} is not emulated by the sandbox: it runs pods, and serves their logs"
            )
            return
        if unknown := [name for name in _NOT_EMULATED if asked.get(name) not in (None, "false", "All")]:
            self._refuse(501, f"{', '.join(unknown)} of logs is not emulated by the sandbox")
            return
        container = cast(_Server, self.server).find(*parts[1:])
        if container is None:
            self._refuse(
                404, f'container "{parts[3]}" in pod "{parts[2]}" is not run by the sandbox: it is played'
            )
            return
        log = container.log(1 if asked.get("previous") == "true" else 0)
        if not log.exists():
            self._refuse(400, f'previous terminated container "{parts[3]}" in pod "{parts[2]}" not found')
            return
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        for data in read(log, asked, container):
            self.wfile.write(data)

    do_POST = do_GET

    def _refuse(self, status: int, message: str) -> None:
        data = message.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def read(log: Path, asked: dict[str, str], container: Container) -> Iterator[bytes]:
    """A log's content as `tailLines`, `limitBytes` and `follow` have it."""
    with log.open("rb") as file:
        data = file.read()
        if "tailLines" in asked:
            lines = data.splitlines(keepends=True)
            data = b"".join(lines[len(lines) - min(int(asked["tailLines"]), len(lines)) :])
        yield data[: int(asked["limitBytes"])] if "limitBytes" in asked else data
        while asked.get("follow") == "true":
            more = file.read()
            if more:
                yield more
            elif not container.running or container.log() != log:
                return
            else:
                time.sleep(_LOOK_SECONDS)
