"""The files that say to a container's programs who their pod is on the network (sandbox/containers/hooks read them)."""

from __future__ import annotations

import json
from pathlib import Path

from sandbox.cluster.client import Json
from sandbox.network.addresses import Network
from sandbox.network.names import search
from sandbox.paths import Home, write_atomically


def path(folder: Path) -> Path:
    """The file of the pod whose folder this is."""
    return folder / "network.json"


def names(home: Home) -> Path:
    """The file of every name in the cluster's DNS."""
    return home.pods / "names.json"


def write(folder: Path, pod: Json, address: str, network: Network, home: Home, resolves: bool) -> None:
    """Write a pod's file, where something in it changed; `resolves` is whether it may ask for names."""
    content = {
        "hostname": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "podIP": address,
        "address": network.process(address),
        "network": network.number,
        "names": str(names(home)),
        "search": search(pod["metadata"]["namespace"]),
        "resolves": resolves,
    }
    _write(path(folder), content)


def write_names(home: Home, found: dict[str, list[str]]) -> None:
    """Write every name anew, where one changed."""
    _write(names(home), found)


def _write(file: Path, content: Json) -> None:
    text = json.dumps(content, indent=1, sort_keys=True)
    if not file.exists() or file.read_text() != text:
        write_atomically(file, text)
        file.chmod(0o644)
