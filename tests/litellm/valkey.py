"""A real Valkey behind TLS for tests, alone or as a cluster of two nodes, which knows one user."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from sandbox.toolchain.containers import ensure
from tests.litellm.tls import terminated
from tests.support.waiting import wait_for

USER, PASSWORD = "litellm", "redis-password"
_SLOTS = 16384


@dataclass(frozen=True)
class Node:
    """A server; `port` is where it answers to TLS, `plain` where it does not need it."""

    port: int
    plain: int

    def ask(self, *words: str) -> str:
        """The answer to a command, as it comes."""
        with socket.create_connection(("127.0.0.1", self.plain)) as connection:
            _said(connection, "AUTH", USER, PASSWORD)
            return _said(connection, *words)

    def keys(self) -> int:
        return int(self.ask("DBSIZE").removeprefix(":"))


def _said(connection: socket.socket, *words: str) -> str:
    parts = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word))]
    connection.sendall(("\r\n".join(parts) + "\r\n").encode())
    answer = connection.recv(1 << 16).decode()
    assert not answer.startswith("-"), answer
    return answer.rstrip()


@contextlib.contextmanager
def valkey(folder: Path, certificate: tuple[Path, Path], nodes: int = 0) -> Generator[list[Node]]:
    """A server, or a cluster of so many nodes, until the block ends."""
    found = [Node(free_port(), free_port()) for _ in range(nodes or 1)]
    with contextlib.ExitStack() as running:
        buses = [free_port() for _ in found]
        for number, (node, bus) in enumerate(zip(found, buses, strict=True)):
            home = folder / f"node-{number}"
            home.mkdir()
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
            options += ["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(node.port)]
            command = [ensure().valkey, "--bind", "127.0.0.1", "--port", str(node.plain), "--dir", home]
            command += ["--save", "", "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
            command += ["--user", "default", "off", *(options if nodes else [])]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            running.callback(process.wait)
            running.callback(process.terminate)
            running.enter_context(terminated(node.port, node.plain, certificate))
            wait_for(lambda node=node: _answers(node))
        if nodes:
            _joined(found, buses)
        yield found


def _joined(nodes: list[Node], buses: list[int]) -> None:
    share = _SLOTS // len(nodes)
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        node.ask("CLUSTER", "ADDSLOTSRANGE", str(number * share), str((number + 1) * share - 1))
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.plain), str(bus))
    wait_for(lambda: all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes))


def _answers(node: Node) -> bool:
    try:
        return "PONG" in node.ask("PING")
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
