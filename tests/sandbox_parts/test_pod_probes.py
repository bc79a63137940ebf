"""Probes: single tries in the kubelet's words, and their thresholds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox.nodes.pods.probes import Tally, Try, Verdict, attempt

Json = dict[str, Any]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            threading.Event().wait(1)
        self.send_response(
            {"/well": 200, "/moved": 302, "/header": 200 if self.headers.get("X") == "y" else 400}.get(
                self.path, 503
            )
        )
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def tried(probe: Json, **container: Any) -> Try:
    def run(words: list[str], timeout: float) -> tuple[int, str]:
        if words == ["slow"]:
            raise TimeoutError
        return (0, "fine") if words == ["true"] else (1, "no file")

    return attempt(probe, {"name": "c", **container}, "127.0.0.1", "10.8.128.1", run)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/well", Try(True, "")),
        ("/moved", Try(True, "")),
        ("/ill", Try(False, "HTTP probe failed with statuscode: 503")),
    ],
)
def test_http(port: int, path: str, outcome: Try) -> None:
    assert tried({"httpGet": {"path": path, "port": port}}) == outcome


def test_http_by_name_with_headers(port: int) -> None:
    action = {"path": "/header", "port": "http", "httpHeaders": [{"name": "X", "value": "y"}]}
    assert tried({"httpGet": action}, ports=[{"name": "http", "containerPort": port}]).succeeded


def test_http_too_slow(port: int) -> None:
    found = tried({"httpGet": {"path": "/slow", "port": port}, "timeoutSeconds": 0.2})
    assert found.output == (
        f'Get "http://10.8.128.1:{port}/slow": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused = f"dial tcp 10.8.128.1:{port}: connect: connection refused"
    assert tried({"httpGet": {"path": "/", "port": port}}) == Try(
        False, f'Get "http://10.8.128.1:{port}/": {refused}'
    )
    assert tried({"tcpSocket": {"port": port}}) == Try(False, refused)


def test_a_port_of_no_container_fails() -> None:
    assert tried({"httpGet": {"port": "none"}}) == Try(False, "couldn't find port: none")


def test_tcp(port: int) -> None:
    assert tried({"tcpSocket": {"port": port}}).succeeded


def test_commands() -> None:
    assert tried({"exec": {"command": ["true"]}}) == Try(True, "fine")
    assert tried({"exec": {"command": ["false"]}}) == Try(False, "no file")
    assert (
        tried({"exec": {"command": ["slow"]}, "timeoutSeconds": 2}).output
        == 'command timed out: "slow" timed out after 2s'
    )


def test_grpc_is_refused_by_name() -> None:
    assert "grpc are not emulated" in tried({"grpc": {"port": 1}}).output


def test_thresholds() -> None:
    tally = Tally({"failureThreshold": 2, "successThreshold": 2})
    assert tally.verdict is Verdict.UNKNOWN
    assert tally.add(True) is Verdict.UNKNOWN
    assert tally.add(True) is Verdict.SUCCESS
    assert tally.add(False) is Verdict.SUCCESS
    assert tally.add(True) is Verdict.SUCCESS
    assert tally.add(False) is Verdict.SUCCESS
    assert tally.add(False) is Verdict.FAILURE
