"""The loopback addresses of a sandbox's pods and Services: 127.N.0.0/16 is one sandbox's, N its number.

In the API pods and Services keep addresses of the cluster (EndpointSlices refuse loopback), which these stand for:

| in the API | here | is |
|---|---|---|
| 10.0.0.x, a Service | 127.N.0.x | a forward to its ready pods |
| 10.8.h.x, a pod that runs (h from 128) | 127.N.(h - 64).x | a forward to the pod |
| | 127.N.h.x | what the pod's processes listen on and connect from |

Nothing needs root: a port below 1024 is one above 20000 here. Addresses beyond 127.0.0.1 can be had on Linux only; where
they cannot, pods are played.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Set
from ipaddress import ip_address, ip_network
from pathlib import Path

from sandbox.paths import write_atomically

SERVICES = ip_network("10.0.0.0/24")
PODS = ip_network("10.8.0.0/16")
"""Addresses of pods: of those that kwok plays in its first half, of those that run in its second."""
PLAYED = "10.8.0.1/17"
_CLAIM_PORT = 10250
_PER_BLOCK = 250
_BLOCKS = 60


class Network:
    """One sandbox's loopback network."""

    def __init__(self, number: int, claim: socket.socket | None = None) -> None:
        self.number = number
        self._claim = claim

    @classmethod
    def claimed(cls, home: Path) -> Network:
        """A network that no other sandbox has, until this process ends: the one of last time where it is free."""
        kept = home / "network"
        first = int(kept.read_text()) if kept.exists() else zlib.crc32(bytes(home)) % 250
        for offset in range(250):
            number = 2 + (first - 2 + offset) % 250
            claim = socket.socket()
            try:
                claim.bind((f"127.{number}.255.254", _CLAIM_PORT))
                claim.listen()
            except OSError:
                claim.close()
                continue
            write_atomically(kept, str(number))
            return cls(number, claim)
        raise OSError("no network in 127.0.0.0/8 is free")

    def service(self, address: str) -> str:
        """Where a Service's forwards listen."""
        return f"127.{self.number}.0.{address.rpartition('.')[2]}"

    def front(self, address: str) -> str:
        """Where the forwards of a pod that runs listen."""
        _, _, block, last = address.split(".")
        return f"127.{self.number}.{int(block) - 64}.{last}"

    def process(self, address: str) -> str:
        """Where the processes of a pod that runs listen, and connect from."""
        _, _, block, last = address.split(".")
        return f"127.{self.number}.{block}.{last}"

    def pod(self, process: str) -> str | None:
        """The pod's address in the API, of one of its processes."""
        _, number, block, last = process.split(".")
        return f"10.8.{block}.{last}" if int(number) == self.number and int(block) >= 128 else None


def runs(address: str) -> bool:
    """Whether an address of the API is that of a pod that runs."""
    return bool(address) and ip_address(address) in PODS and int(address.split(".")[2]) >= 128


def free_address(taken: Set[str]) -> str:
    """An address of the API for a pod that is to run."""
    for block in range(128, 128 + _BLOCKS):
        for last in range(1, _PER_BLOCK + 1):
            if (address := f"10.8.{block}.{last}") not in taken:
                return address
    raise OSError("no address is left for another pod")


def here(port: int) -> int:
    """The port of this machine that stands for a port of the cluster."""
    return port if port >= 1024 else port + 20000


def available() -> bool:
    """Whether this machine has loopback addresses beyond 127.0.0.1."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.253.0.1", 0))
        except OSError:
            return False
    return True
