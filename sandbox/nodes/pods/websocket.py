"""The server's end of a WebSocket (RFC 6455), as far as the API server speaks it to a kubelet: binary messages, no extensions."""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
from http.server import BaseHTTPRequestHandler
from typing import BinaryIO

_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """An accepted connection. Sending is safe for several threads."""

    def __init__(self, handler: BaseHTTPRequestHandler, protocol: str) -> None:
        accept = hashlib.sha1(
            (handler.headers["sec-websocket-key"] + _KEY).encode(), usedforsecurity=False
        ).digest()
        handler.send_response(101)
        handler.send_header("upgrade", "websocket")
        handler.send_header("connection", "Upgrade")
        handler.send_header("sec-websocket-accept", base64.b64encode(accept).decode())
        handler.send_header("sec-websocket-protocol", protocol)
        handler.end_headers()
        handler.close_connection = True
        self._in: BinaryIO = handler.rfile  # pyright: ignore[reportAttributeAccessIssue]
        self._out: BinaryIO = handler.wfile  # pyright: ignore[reportAttributeAccessIssue]
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send a binary message."""
        self._frame(_BINARY, data)

    def close(self, code: int = 1000) -> None:
        """Say that nothing more comes."""
        self._frame(_CLOSE, struct.pack(">H", code))

    def receive(self) -> bytes | None:
        """The next message; None at the end."""
        message = b""
        while True:
            head = self._in.read(2)
            if len(head) < 2:
                return None
            final, kind, length = head[0] & 0x80, head[0] & 0x0F, head[1] & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._in.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._in.read(8))
            mask = self._in.read(4) if head[1] & 0x80 else b""
            data = self._in.read(length)
            if mask:
                whole = (mask * (length // 4 + 1))[:length]
                data = (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big")
            if kind == _CLOSE:
                return None
            if kind == _PING:
                self._frame(_PONG, data)
            elif kind != _PONG:
                message += data
                if final:
                    return message

    def _frame(self, kind: int, data: bytes) -> None:
        length = len(data)
        if length < 126:
            head = struct.pack(">BB", 0x80 | kind, length)
        elif length < 65536:
            head = struct.pack(">BBH", 0x80 | kind, 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | kind, 127, length)
        with self._lock:
            self._out.write(head + data)
            self._out.flush()
