"""The loopback network of pods and Services: addresses, names, forwards, and the hooks in containers' programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.network.addresses import Network, available, free_address, here, runs
from sandbox.network.forwards import Forwards, Place
from sandbox.network.names import names, search
from sandbox.toolchain.containers import MANIFESTS

linux = pytest.mark.skipif(not available(), reason="needs loopback addresses beyond 127.0.0.1")


def test_addresses_and_what_they_stand_for() -> None:
    network = Network(7)
    assert network.service("10.0.0.9") == "127.7.0.9"
    assert network.front("10.8.130.4") == "127.7.66.4"
    assert network.process("10.8.130.4") == "127.7.130.4"
    assert network.pod("127.7.130.4") == "10.8.130.4"
    assert network.pod("127.8.130.4") is None
    assert network.pod("127.0.0.1") is None
    assert (runs("10.8.128.1"), runs("10.8.1.1"), runs("10.0.0.1")) == (True, False, False)
    assert (here(80), here(8000)) == (20080, 8000)
    assert free_address({"10.8.128.1", "10.8.128.2"}) == "10.8.128.3"


@linux
def test_two_sandboxes_have_two_networks_and_keep_them(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    one = Network.claimed(first)
    (second / "network").write_text(str(one.number))  # a copy of a home
    other = Network.claimed(second)
    assert one.number != other.number
    assert Network.claimed(first).number != one.number  # still claimed


def service(name: str, address: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "n"}, "spec": {"clusterIP": address}}


def test_names_are_those_of_services() -> None:
    ready = {"addresses": ["10.8.128.1"], "conditions": {"ready": True}, "hostname": "db-0"}
    slices = [
        {
            "metadata": {"namespace": "n", "labels": {"kubernetes.io/service-name": "headless"}},
            "endpoints": [ready, {"addresses": ["10.8.128.2"], "conditions": {"ready": False}}],
        }
    ]
    assert names([service("web", "10.0.0.5"), service("headless", "None")], slices) == {
        "web.n.svc.cluster.local": ["10.0.0.5"],
        "headless.n.svc.cluster.local": ["10.8.128.1"],
        "db-0.headless.n.svc.cluster.local": ["10.8.128.1"],
    }
    assert search("n") == ["n.svc.cluster.local", "svc.cluster.local", "cluster.local"]


@pytest.fixture
def echo() -> Iterator[Place]:
    """A server that says back what it gets, in capitals, and then who asked."""
    server = socket.create_server(("127.201.128.2", 0))

    def serve() -> None:
        while True:
            try:
                connection, client = server.accept()
            except OSError:
                return
            while data := connection.recv(65536):
                connection.sendall(data.upper())
            connection.sendall(client[0].encode())
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()
    server.close()


def asked(place: Place, source: str, text: bytes = b"hello") -> bytes:
    with socket.create_connection(place, 5, (source, 0)) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@linux
def test_a_forward_leads_on_and_the_server_sees_the_client(echo: Place) -> None:
    forwards, place = Forwards(), ("127.201.0.5", 4321)
    forwards.set({place: lambda source: echo})
    assert asked(place, "127.201.128.1") == b"HELLO127.201.128.1"
    large = b"x" * 3_000_000
    assert asked(place, "127.201.128.1", large) == large.upper() + b"127.201.128.1"


@linux
@pytest.mark.parametrize("route", [lambda source: None, lambda source: ("127.201.128.9", 9)])
def test_what_is_not_let_through_is_reset(route: Callable[[str], Place | None]) -> None:
    forwards, place = Forwards(), ("127.201.0.6", 4321)
    forwards.set({place: route})
    # The reset comes with the first read or, where the forward is quicker, with the connection itself.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(place, 5, ("127.201.128.1", 0)) as connection,
    ):
        connection.recv(1)


@linux
def test_a_service_without_pods_refuses(echo: Place) -> None:
    forwards, place = Forwards(), ("127.201.0.7", 4321)
    forwards.set({place: lambda source: echo})
    assert asked(place, "127.201.128.1")
    forwards.set({})
    with pytest.raises(ConnectionRefusedError):
        asked(place, "127.201.128.1")


PROGRAM = """
import asyncio, json, runpy, socket, sys
runpy.run_path(sys.argv[1], run_name="sandbox_network")
found = {}
def tried(name, what):
    try:
        found[name] = what()
    except OSError as error:
        found[name] = type(error).__name__
tried("name", lambda: socket.getaddrinfo("web", 80)[0][4])
tried("full", lambda: socket.gethostbyname("web.n.svc.cluster.local"))
tried("own", lambda: socket.gethostbyname("me"))
tried("unknown", lambda: socket.getaddrinfo("nothing", 80))
tried("outside", lambda: socket.create_connection(("192.0.2.1", 80), 1))
server = socket.create_server(("0.0.0.0", 0))
found["bound"] = server.getsockname()[0]
client = socket.create_connection(("localhost", server.getsockname()[1]))
found["from"] = server.accept()[1][0]
async def main():
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(asyncio.Protocol, "0.0.0.0", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", listening.sockets[0].getsockname()[1])
    return transport.get_extra_info("sockname")[0]
found["asyncio"] = asyncio.run(main())
tried("elsewhere", lambda: socket.create_server(("127.0.0.9", 0)))
tried("process", lambda: socket.create_connection(("127.202.128.2", 4321), 1).getpeername())
tried("port", lambda: socket.create_connection(("web", 80), 1).getpeername())
print(json.dumps(found))
"""


@linux
@pytest.mark.parametrize("resolves", [True, False])
def test_python_in_a_pod_sees_the_cluster_and_nothing_else(tmp_path: Path, resolves: bool) -> None:
    (tmp_path / "names.json").write_text(json.dumps({"web.n.svc.cluster.local": ["10.0.0.5"]}))
    pod = {
        "hostname": "me",
        "podIP": "10.8.128.1",
        "address": "127.202.128.1",
        "network": 202,
        "names": str(tmp_path / "names.json"),
        "search": search("n"),
        "resolves": resolves,
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    words = [sys.executable, "-c", PROGRAM, str(MANIFESTS / "hooks" / "network.py")]
    environment = {**os.environ, "SANDBOX_POD": str(tmp_path / "pod.json")}
    with socket.create_server(("127.202.0.5", 20080)), socket.create_server(("127.202.128.2", 4321)):
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {found[key] for key in ("bound", "from", "asyncio")} == {"127.202.128.1"}
    assert (found["own"], found["unknown"]) == ("127.0.0.1", "gaierror")
    # Another pod's process, past its forward and so past policies, too.
    assert {found[key] for key in ("outside", "elsewhere", "process")} == {"OSError"}
    if resolves:
        assert (found["name"], found["full"]) == (["10.0.0.5", 80], "10.0.0.5")
    else:
        assert {found[key] for key in ("name", "full", "port")} == {"gaierror"}
