"""The kubelet's own API, as far as the API server asks it for `kubectl logs` (of this run, of the one before, following),
`kubectl exec` and `kubectl port-forward`.

It listens on a socket in the sandbox's home, to which the cluster network leads the API server (sandbox/cluster/webhooks.py).
Streams come as WebSockets, since the nodes declare the feature for it. What it does not do: attach, metrics, timestamps of
lines. It refuses these by name.
"""

from __future__ import annotations

import os
import select
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

from sandbox.containers.launch import NotFoundError
from sandbox.nodes.pods import port_forward, remote_command
from sandbox.nodes.pods.pod import Pod
from sandbox.nodes.pods.process import Container
from sandbox.nodes.pods.websocket import WebSocket
from sandbox.paths import Home

Find = Callable[[str, str, str], tuple[Pod, Container] | None]
"""A container that runs, and its pod, by namespace, pod and name."""
FindPod = Callable[[str, str], Pod | None]
"""A pod that runs, by namespace and name."""
_NOT_EMULATED = ("timestamps", "sinceSeconds", "sinceTime", "stream")
_LOOK_SECONDS = 0.2


def serve(home: Home, find: Find, find_pod: FindPod) -> None:
    """Serve in a thread until the process ends."""
    path = home.kubelet_socket
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        server = _Server(str(path), _Handler)
    finally:
        os.umask(mask)
    server.find, server.find_pod = find, find_pod
    threading.Thread(target=server.serve_forever, name="kubelet-api", daemon=True).start()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    find: Find
    find_pod: FindPod

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(path, handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA(organization_name="llm-gateway sandbox").issue_cert("localhost").configure_cert(
            self._context
        )

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        connection.settimeout(30)
        wrapped = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return wrapped, ("kubelet", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the API server went away


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = parse_qs(url.query)
        asked = {name: values[-1] for name, values in query.items()}
        if parts[0] == "exec" and len(parts) in (4, 5):
            self._exec(parts, query.get("command", []), asked)
        elif parts[0] == "portForward" and len(parts) in (3, 4):
            self._port_forward(parts)
        elif parts[0] == "containerLogs" and len(parts) == 4:
            self._log(parts, asked)
        else:
            self._refuse(501, f"{parts[0]} of pods is not emulated by the sandbox")

    do_POST = do_GET

    def _find(self, parts: list[str]) -> tuple[Pod, Container] | None:
        found = cast(_Server, self.server).find(parts[1], parts[2], parts[-1])
        if found is None:
            text = f'container "{parts[-1]}" in pod "{parts[2]}" is not run by the sandbox: it is played'
            self._refuse(404, text)
        return found

    def _log(self, parts: list[str], asked: dict[str, str]) -> None:
        if unknown := [name for name in _NOT_EMULATED if asked.get(name) not in (None, "false", "All")]:
            self._refuse(501, f"{', '.join(unknown)} of logs is not emulated by the sandbox")
            return
        found = self._find(parts)
        if found is None:
            return
        _, container = found
        log = container.log(1 if asked.get("previous") == "true" else 0)
        if not log.exists():
            self._refuse(400, f'previous terminated container "{parts[3]}" in pod "{parts[2]}" not found')
            return
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        for data in read(log, asked, container, self._has_gone):
            self.wfile.write(data)

    def _has_gone(self) -> bool:
        """Whether the client has, who sends nothing after its request."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def _exec(self, parts: list[str], words: list[str], asked: dict[str, str]) -> None:
        found = self._find(parts)
        if found is None:
            return
        if remote_command.PROTOCOL not in self.headers.get("sec-websocket-protocol", ""):
            self._refuse(501, f"exec is emulated over WebSockets only ({remote_command.PROTOCOL})")
            return
        pod, container = found
        if not container.running:
            self._refuse(500, f'container not found ("{container.name}")')
            return
        self.connection.settimeout(None)
        socket = WebSocket(self, remote_command.PROTOCOL)
        try:
            words = pod.command(container, words)
        except NotFoundError as error:
            remote_command.refuse(socket, str(error))
            return
        remote_command.run(socket, container, words, asked)

    def _port_forward(self, parts: list[str]) -> None:
        pod = cast(_Server, self.server).find_pod(parts[1], parts[2])
        if pod is None:
            self._refuse(404, f'pod "{parts[2]}" is not run by the sandbox: it is played')
            return
        if port_forward.PROTOCOL not in self.headers.get("sec-websocket-protocol", ""):
            self._refuse(501, f"port-forward is emulated over WebSockets only ({port_forward.PROTOCOL})")
            return
        self.connection.settimeout(None)
        port_forward.Session(WebSocket(self, port_forward.PROTOCOL), pod.process_address).run()

    def _refuse(self, status: int, message: str) -> None:
        data = message.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def read(
    log: Path, asked: dict[str, str], container: Container, has_gone: Callable[[], bool]
) -> Iterator[bytes]:
    """A log's content as `tailLines`, `limitBytes` and `follow` have it; `has_gone` says whether the reader has."""
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
            elif not container.running or container.log() != log or has_gone():
                return
            else:
                time.sleep(_LOOK_SECONDS)
