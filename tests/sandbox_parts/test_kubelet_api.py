"""The node runtime's end of `kubectl exec` and `kubectl port-forward`, spoken to as the API server speaks to it."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes.pods import kubelet_api, port_forward, remote_command
from sandbox.nodes.pods.process import Container, Program
from sandbox.nodes.pods.websocket import WebSocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods run on Linux")


class Wire:
    """Messages that come in, and those that went out."""

    def __init__(self, *messages: bytes, ends: int = 0) -> None:
        self.ends = ends
        """Ends of SPDY streams, after which nothing more comes in."""
        self.coming = list(messages)
        self.sent: list[bytes] = []
        self.done = threading.Event()

    def receive(self) -> bytes | None:
        if self.coming:
            return self.coming.pop(0)
        self.done.wait(5)
        return None

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.ends and sum(not part[0] & 0x80 and part[4] == 1 for part in self.sent) >= self.ends:
            self.done.set()

    def close(self, code: int = 1000) -> None:
        self.done.set()


def ran(
    tmp_path: Path, *words: str, given: list[bytes] | None = None, **asked: str
) -> tuple[bytes, bytes, Any]:
    wire = Wire(*(given or []))
    container = Container({"name": "c"}, tmp_path, "mark")
    container.program = Program([], {"PATH": os.environ["PATH"], "V": "value"}, tmp_path)
    remote_command.run(wire, container, words, asked)  # pyright: ignore[reportArgumentType]
    out, err = (b"".join(part[1:] for part in wire.sent if part[0] == stream) for stream in (1, 2))
    (outcome,) = [json.loads(part[1:]) for part in wire.sent if part[0] == 3]
    return out, err, outcome


def test_a_command_has_the_containers_environment_and_two_streams(tmp_path: Path) -> None:
    out, err, outcome = ran(tmp_path, "sh", "-c", "echo $V; pwd; echo wrong >&2")
    assert (out, err) == (f"value\n{tmp_path}\n".encode(), b"wrong\n")
    assert outcome["status"] == "Success"


def test_its_exit_code_is_told(tmp_path: Path) -> None:
    _, _, outcome = ran(tmp_path, "sh", "-c", "exit 7")
    assert outcome["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


def test_it_reads_what_is_sent_until_its_end(tmp_path: Path) -> None:
    out, _, _ = ran(tmp_path, "cat", given=[b"\x00one ", b"\x00two", b"\xff\x00"], input="1")
    assert out == b"one two"


def test_on_a_terminal_both_streams_are_one(tmp_path: Path) -> None:
    out, err, _ = ran(tmp_path, "sh", "-c", "test -t 1 && echo tty >&2", tty="true")
    assert (out, err) == (b"tty\r\n", b"")


def test_a_log_is_followed_until_its_reader_has_gone(tmp_path: Path) -> None:
    container = Container({"name": "c"}, tmp_path, "mark", state={"running": {}})
    container.log().write_text("one\n")
    gone = iter([False, True])
    assert list(kubelet_api.read(container.log(), {"follow": "true"}, container, lambda: next(gone))) == [
        b"one\n"
    ]


class Handler:
    """What WebSocket needs of an HTTP handler."""

    def __init__(self, coming: bytes) -> None:
        self.headers = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
        self.rfile, self.wfile = io.BytesIO(coming), io.BytesIO()
        self.close_connection = False
        self.said: list[Any] = []

    def send_response(self, code: int) -> None:
        self.said.append(code)

    def send_header(self, name: str, value: str) -> None:
        self.said.append((name, value))

    def end_headers(self) -> None:
        pass


def frame(kind: int, data: bytes, final: bool = True) -> bytes:
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    length = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data))
    return bytes([(0x80 if final else 0) | kind]) + length + mask + masked


def test_websocket_frames() -> None:
    large = bytes(range(256)) * 2
    coming = (
        frame(2, b"ab", final=False) + frame(9, b"ping") + frame(0, b"cd") + frame(2, large) + frame(8, b"")
    )
    handler = Handler(coming)
    made = WebSocket(handler, "p")  # pyright: ignore[reportArgumentType]
    assert handler.said[0] == 101
    assert ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in handler.said  # the example of RFC 6455
    assert [made.receive(), made.receive(), made.receive()] == [b"abcd", large, None]
    made.send(b"x" * 70000)
    assert handler.wfile.getvalue()[:6] == b"\x8a\x04ping"
    assert handler.wfile.getvalue()[6:16] == b"\x82\x7f" + struct.pack(">Q", 70000)


class Kubectl:
    """SPDY as kubectl speaks it: streams in pairs."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=port_forward.DICTIONARY)

    def stream(self, number: int, **headers: str) -> bytes:
        pairs = [part for name, value in headers.items() for part in (name, value)]
        block = struct.pack(">I", len(headers)) + b"".join(
            struct.pack(">I", len(part)) + part.encode() for part in pairs
        )
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        content = struct.pack(">IIH", number, 0, 0) + packed
        return struct.pack(">HHI", 0x8003, 1, len(content)) + content

    def data(self, number: int, data: bytes, ended: bool = False) -> bytes:
        return struct.pack(">II", number, (1 << 24 if ended else 0) | len(data)) + data


def received(wire: Wire) -> dict[int, bytes]:
    """The data of each stream."""
    found: dict[int, bytes] = {}
    for sent in wire.sent:
        if not sent[0] & 0x80:
            number = int.from_bytes(sent[:4], "big")
            found[number] = found.get(number, b"") + sent[8:]
    return found


def pair(kubectl: Kubectl, first: int, port: int, request: str) -> bytes:
    common = {"port": str(port), "requestid": request}
    return kubectl.stream(first, streamtype="error", **common) + kubectl.stream(
        first + 2, streamtype="data", **common
    )


def test_a_forwarded_port_answers() -> None:
    kubectl = Kubectl()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                text = connection.makefile("rb").read()
                connection.sendall(text.upper())
                connection.close()

        frames = b"".join(
            pair(kubectl, first, port, request) + kubectl.data(first + 2, b"hello " + request.encode(), True)
            for first, request in ((1, "0"), (5, "1"))
        )
        wire = Wire(frames[:50], frames[50:], ends=4)  # frames need not keep to messages
        threading.Thread(target=serve, daemon=True).start()
        port_forward.Session(wire, "127.0.0.1").run()  # pyright: ignore[reportArgumentType]
    assert {number: text for number, text in received(wire).items() if text} == {3: b"HELLO 0", 7: b"HELLO 1"}


def test_a_port_that_nobody_listens_on_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wire = Wire(pair(Kubectl(), 1, port, "0"))
    wire.done.set()
    port_forward.Session(wire, "127.0.0.1").run()  # pyright: ignore[reportArgumentType]
    assert received(wire)[1] == f"error forwarding port {port} to pod: Connection refused".encode()
