"""An HTTP proxy that asks for a login and looks into TLS, as many networks have one: it records what it is asked for, and answers
for every host.

It knows CONNECT, and requests in plain HTTP for any host; both end at one upstream.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ForwardProxy:
    """The running proxy: its address, and the hosts with ports that it was asked for."""

    url: str
    asked: list[str] = field(default_factory=list[str])


@contextlib.contextmanager
def forwarding(tls_port: int, login: str) -> Generator[ForwardProxy]:
    """Lead each CONNECT to a port of this machine, where TLS is answered, until the block ends.

    Who does not log in as `login`, `user:password`, is refused and not recorded.
    """
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            if self.headers.get("Proxy-Authorization") == wanted:
                return True
            self.close_connection = True
            self.send_error(407)
            return False

        def do_CONNECT(self) -> None:
            running.asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", tls_port)) as target:
                back = threading.Thread(target=_copy, args=(target, self.connection), daemon=True)
                back.start()
                _copy(self.connection, target)
                back.join()
            self.close_connection = True

        def do_POST(self) -> None:
            running.asked.append(self.path)
            self.send_error(502)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = ForwardProxy(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
