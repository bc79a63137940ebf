"""`kubectl port-forward`: connections to a pod's port, as SPDY/3.1 streams within a WebSocket.

Each connection is a pair of streams that kubectl opens, for errors and for data (headers streamType, port, requestID); the pod
is reached as from its node, where no NetworkPolicy is asked. What it does not do: flow control (kubectl's library has none).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.network.addresses import here
from sandbox.nodes.pods.websocket import WebSocket

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING = 1, 2, 3, 6
_FIN = 1
# SPDY's dictionary, https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ (2.6.10.1).
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal "
    "Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, "
    "Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.encode()
        for word in (word.replace("_", " ") for word in _WORDS.split())
    )
    + _REST.encode()
)


@dataclass
class _Connection:
    port: int
    error: int | None = None
    data: int | None = None
    target: socket.socket | None = None


class Session:
    """One `kubectl port-forward`, until it ends. `address` is where the pod's processes listen."""

    def __init__(self, tunnel: WebSocket, address: str) -> None:
        self._tunnel = tunnel
        self._address = address
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._sending = threading.Lock()
        self._buffer = b""
        self._connections: dict[str, _Connection] = {}
        self._streams: dict[int, _Connection] = {}

    def run(self) -> None:
        """Serve frames until the tunnel ends."""
        with contextlib.suppress(OSError):
            while frame := self._frame():
                self._take(*frame)
        for connection in self._connections.values():
            if connection.target:
                connection.target.close()

    def _frame(self) -> tuple[bytes, bytes] | None:
        """The next frame's head and content; None at the end."""
        while len(self._buffer) < 8 or len(self._buffer) < 8 + int.from_bytes(self._buffer[5:8], "big"):
            message = self._tunnel.receive()
            if message is None:
                return None
            self._buffer += message
        end = 8 + int.from_bytes(self._buffer[5:8], "big")
        frame, self._buffer = self._buffer[:end], self._buffer[end:]
        return frame[:8], frame[8:]

    def _take(self, head: bytes, content: bytes) -> None:
        first, flags = int.from_bytes(head[:4], "big"), head[4]
        if not first & 0x80000000:
            self._receive(first, content, bool(flags & _FIN))
            return
        kind, stream = first & 0xFFFF, int.from_bytes(content[:4], "big") & 0x7FFFFFFF
        if kind == _SYN_STREAM:
            self._open(stream, self._headers(content[10:]))
        elif kind == _RST_STREAM:
            connection = self._streams.pop(stream, None)
            if connection and connection.target:
                connection.target.close()
        elif kind == _PING:
            self._send(head + content)

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflate.decompress(block)
        (count,), at, found = struct.unpack(">I", text[:4]), 4, list[str]()
        for _ in range(2 * count):
            (length,) = struct.unpack(">I", text[at : at + 4])
            found.append(text[at + 4 : at + 4 + length].decode())
            at += 4 + length
        return {name.lower(): value for name, value in zip(found[::2], found[1::2], strict=True)}

    def _open(self, stream: int, headers: Mapping[str, str]) -> None:
        connection = self._connections.setdefault(headers["requestid"], _Connection(int(headers["port"])))
        self._streams[stream] = connection
        with self._sending:
            block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            reply = struct.pack(">I", stream) + block
            self._tunnel.send(struct.pack(">HHI", 0x8003, _SYN_REPLY, len(reply)) + reply)
        if headers["streamtype"] == "error":
            connection.error = stream
        else:
            connection.data = stream
        if connection.error is not None and connection.data is not None:
            self._connect(connection)

    def _connect(self, connection: _Connection) -> None:
        place = self._address, here(connection.port)
        try:
            connection.target = socket.create_connection(place, 5)
        except OSError as error:
            text = f"error forwarding port {connection.port} to pod: {error.strerror or error}"
            self._data(connection.error or 0, text.encode(), True)
            self._data(connection.data or 0, b"", True)
            return
        connection.target.settimeout(None)
        threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while connection.target and (data := connection.target.recv(32768)):
                self._data(connection.data or 0, data, False)
        with contextlib.suppress(OSError):
            self._data(connection.data or 0, b"", True)
            self._data(connection.error or 0, b"", True)
        if connection.target:
            connection.target.close()

    def _receive(self, stream: int, data: bytes, ended: bool) -> None:
        connection = self._streams.get(stream)
        if connection is None or connection.data != stream or connection.target is None:
            return
        with contextlib.suppress(OSError):
            connection.target.sendall(data)
            if ended:
                connection.target.shutdown(socket.SHUT_WR)

    def _data(self, stream: int, data: bytes, ended: bool) -> None:
        self._send(struct.pack(">II", stream, (_FIN if ended else 0) << 24 | len(data)) + data)

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._tunnel.send(frame)
