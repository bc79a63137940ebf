"""A Cluster's instances where pods run, as the operator reaches them: their managers' answers, and their volumes' folders.

An instance hands WAL and base backups over in folders of its volume (sandbox/containers/postgres_instance.py); the operator
takes them from there into the bucket's folder of this machine, which the real sidecar does over the network.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from sandbox.cluster.client import Json
from sandbox.cluster.watched import Watched, controlled_by
from sandbox.network.addresses import Network
from sandbox.paths import Home

_STATUS_PORT = 8000


def ask(pod: Json, path: str, timeout: float = 2) -> Json | None:
    """What an instance's manager answers; None where it does not."""
    number = int((Home.from_env().root / "network").read_text())
    address = Network(number).process(pod["status"]["podIP"])
    connection = http.client.HTTPConnection(address, _STATUS_PORT, timeout=timeout)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def take_wal(api: Watched, cluster: Json, folder: Path) -> bool:
    """Move the WAL that instances have handed over into a folder; whether any is there."""
    for volume in _volumes(api, cluster):
        for file in sorted((volume / "archive").glob("[0-9A-F]*")):
            _move(file, folder / file.name)
    return folder.exists()


def take_backup(api: Watched, cluster: Json, folder: Path, identity: str) -> bool:
    """Have the primary make a base backup, and move it into a folder of that name; whether it could."""
    primary = api.get("Pod", cluster["metadata"]["namespace"], cluster["status"]["currentPrimary"])
    if primary is None or ask(primary, f"/pg/backup/{identity}", timeout=300) is None:
        return False
    taken = folder / identity / "base.tar.gz"
    for volume in _volumes(api, cluster):
        made = volume / "backup" / identity
        if made.exists():
            _move(made / taken.name, taken)
            shutil.rmtree(made)
    return taken.exists()


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}")
    shutil.copyfile(file, unfinished)
    unfinished.replace(target)
    file.unlink()


def _volumes(api: Watched, cluster: Json) -> Iterator[Path]:
    metadata = cluster["metadata"]
    for claim in api.list("PersistentVolumeClaim", metadata["namespace"]):
        if controlled_by(claim, metadata["uid"]) and (name := claim["spec"].get("volumeName")):
            yield Home.from_env().claims / name
