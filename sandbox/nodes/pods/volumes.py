"""What a pod mounts, as folders and files of this machine.

Secrets, ConfigMaps, the downward API and projections of them are written below the pod's folder, with their modes;
emptyDirs are folders there, claims folders of the sandbox, which outlive the pod. A container does not see them at their
mountPath, since nothing here needs root: `Mount.seen` turns a path of the container into one of this machine, and the
runtime does so in its command and environment. A program that has such a path in its own code does not find it.

What it does not do: sizes, media, read-only mounts, mount propagation, block devices. It refuses volumes of other types, such
as hostPath and ephemeral claims.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sandbox.cluster.client import Json
from sandbox.nodes.pods.variables import ConfigError, Objects, data_of, expand, field, resource

_MODE = 0o644
_TYPES = frozenset({"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"})
Token = Callable[[Json], str]
"""Makes a ServiceAccount's token, given the projection that asks for it."""


class Item(NamedTuple):
    """One file of a volume."""

    path: str
    content: bytes
    mode: int


class Mount(NamedTuple):
    """A container's path, and where on this machine it is."""

    path: str
    target: Path


class Volumes:
    """The volumes of one pod, below `folder`; `claims` is the folder of the PersistentVolumes."""

    def __init__(self, pod: Json, folder: Path, claims: Path, api: Objects, token: Token) -> None:
        self._pod = pod
        self._folder = folder
        self._claims = claims
        self._api = api
        self._token = token
        self._refreshed = False
        self._group: int | None = pod["spec"].get("securityContext", {}).get("fsGroup")

    def write(self) -> None:
        """Write every volume, or write those anew that hold an object's content. Raises ConfigError."""
        for volume in self._pod["spec"].get("volumes", []):
            if _TYPES.isdisjoint(volume):
                types = ", ".join(sorted(volume.keys() - {"name"}))
                raise ConfigError(f"volumes of type {types} are not emulated by the sandbox")
            folder = self.folder(volume)
            folder.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                folder.chmod(0o777)
            items = list(self._items(volume))
            for item in items:
                _write(folder / item.path, item)
            if items or _from_objects(volume):
                _remove_others(folder, {item.path for item in items})
            if "persistentVolumeClaim" not in volume or not self._refreshed:
                self._hand_over(folder)
        self._refreshed = True

    def folder(self, volume: Json) -> Path:
        """Where a volume is."""
        if claim := volume.get("persistentVolumeClaim"):
            namespace = self._pod["metadata"]["namespace"]
            found = self._api.get("PersistentVolumeClaim", namespace, claim["claimName"])
            if found is None:
                raise ConfigError(f'persistentvolumeclaim "{claim["claimName"]}" not found')
            volume_name = found["spec"].get("volumeName")
            if not volume_name:
                raise ConfigError(f'persistentvolumeclaim "{claim["claimName"]}" is not bound')
            return self._claims / volume_name
        return self._folder / "volumes" / volume["name"]

    def mounts(self, container: Json, variables: dict[str, str]) -> list[Mount]:
        """A container's mounts, the longest path first. Raises ConfigError."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", [])}
        made: list[Mount] = []
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            below = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
            if below and (below.startswith("/") or ".." in PurePosixPath(below).parts):
                raise ConfigError(f'failed to prepare subPath for volumeMount "{mount["name"]}" of container')
            target = self.folder(volume) / below if below else self.folder(volume)
            if not target.exists():
                target.mkdir(parents=True)
                self._hand_over(target)
            made.append(Mount(mount["mountPath"].rstrip("/") or "/", target))
        return sorted(made, key=lambda mount: -len(mount.path))

    def _items(self, volume: Json) -> Iterator[Item]:
        if secret := volume.get("secret"):
            reference = {"name": secret["secretName"], **secret}
            yield from self._of_object("Secret", reference, secret.get("defaultMode", _MODE))
        elif config := volume.get("configMap"):
            yield from self._of_object("ConfigMap", config, config.get("defaultMode", _MODE))
        elif downward := volume.get("downwardAPI"):
            yield from self._of_fields(downward, downward.get("defaultMode", _MODE))
        elif projected := volume.get("projected"):
            mode = projected.get("defaultMode", _MODE)
            for source in projected.get("sources", []):
                if "secret" in source:
                    yield from self._of_object("Secret", source["secret"], mode)
                elif "configMap" in source:
                    yield from self._of_object("ConfigMap", source["configMap"], mode)
                elif "downwardAPI" in source:
                    yield from self._of_fields(source["downwardAPI"], mode)
                elif "serviceAccountToken" in source:
                    token = source["serviceAccountToken"]
                    yield Item(token["path"], self._token(token).encode(), 0o600)

    def _of_object(self, kind: str, reference: Json, mode: int) -> Iterator[Item]:
        found = self._api.get(kind, self._pod["metadata"]["namespace"], reference["name"])
        if found is None:
            if reference.get("optional"):
                return
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        data = data_of(kind, found)
        items: list[Json] = reference.get("items") or [{"key": key, "path": key} for key in data]
        for item in items:
            if item["key"] in data:
                yield Item(item["path"], data[item["key"]], item.get("mode", mode))
            elif not reference.get("optional"):
                what = "secret" if kind == "Secret" else "config"
                raise ConfigError(f"references non-existent {what} key: {item['key']}")

    def _of_fields(self, downward: Json, mode: int) -> Iterator[Item]:
        for item in downward.get("items", []):
            text = (
                field(self._pod, item["fieldRef"]["fieldPath"])
                if "fieldRef" in item
                else resource(item["resourceFieldRef"], self._pod, {"name": ""}, None)
            )
            yield Item(item["path"], text.encode(), item.get("mode", mode))

    def _hand_over(self, folder: Path) -> None:
        """Give a volume to the pod's group, as the kubelet does for fsGroup; only root can."""
        if self._group is None or os.geteuid() != 0:
            return
        # What a claim holds is its programs' own.
        inside = [] if folder.parent == self._claims else folder.rglob("*")
        for path in [folder, *inside]:
            if not path.is_symlink() and path.stat().st_gid != self._group:
                os.chown(path, -1, self._group)
                path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o040))


def translated(text: str, mounts: Sequence[Mount]) -> str:
    """A text of a container (an argument, a variable) with paths below its mounts as those of this machine."""
    for mount in mounts:
        pattern = rf"(?<![\w./-]){re.escape(mount.path)}(?=/|$|[:,;\s'\"])"
        text = re.sub(pattern, lambda found, mount=mount: str(mount.target), text)
    return text


def _from_objects(volume: Json) -> bool:
    return not volume.keys().isdisjoint({"secret", "configMap", "downwardAPI", "projected"})


def _write(path: Path, item: Item) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == item.content and path.stat().st_mode & 0o7777 == item.mode:
        return
    unfinished = path.with_name(f"..{path.name}")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
        file.write(item.content)
    unfinished.chmod(item.mode)
    unfinished.replace(path)


def _remove_others(folder: Path, paths: set[str]) -> None:
    kept = {PurePosixPath(path).parts[0] for path in paths}
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
