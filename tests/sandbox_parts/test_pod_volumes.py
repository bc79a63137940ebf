"""A pod's volumes on this machine."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes.pods.variables import ConfigError
from sandbox.nodes.pods.volumes import Mount, Volumes, translated
from tests.sandbox_parts.test_pod_variables import Objects, secret

Json = dict[str, Any]
API = Objects(
    Secret={"keys": secret(master="sk-1", other="x")},
    ConfigMap={"settings": {"data": {"config.yaml": "a: 1"}, "binaryData": {"b": "AAE="}}},
    PersistentVolumeClaim={"data": {"metadata": {}, "spec": {"volumeName": "pvc-claim-1"}}},
)


def volumes(folder: Path, *declared: Json, mounts: list[Json] | None = None) -> tuple[Volumes, Json]:
    container = {"name": "c", "volumeMounts": mounts or []}
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}},
        "spec": {"volumes": list(declared), "containers": [container]},
        "status": {},
    }
    return Volumes(
        pod, folder, folder / "claims", API, lambda projection: f"token for {projection['path']}"
    ), container


def written(folder: Path, declared: Json) -> dict[str, str]:
    made, _ = volumes(folder, {"name": "v", **declared})
    made.write()
    root = folder / "volumes" / "v"
    return {
        str(path.relative_to(root)): path.read_bytes().decode() for path in root.rglob("*") if path.is_file()
    }


def test_a_secret_is_files(tmp_path: Path) -> None:
    assert written(tmp_path, {"secret": {"secretName": "keys"}}) == {"master": "sk-1", "other": "x"}


def test_items_choose_and_name(tmp_path: Path) -> None:
    items = [{"key": "master", "path": "sub/MASTER", "mode": 0o400}]
    assert written(tmp_path, {"secret": {"secretName": "keys", "items": items}}) == {"sub/MASTER": "sk-1"}
    assert stat.S_IMODE((tmp_path / "volumes/v/sub/MASTER").stat().st_mode) == 0o400


def test_modes(tmp_path: Path) -> None:
    written(tmp_path, {"secret": {"secretName": "keys", "defaultMode": 0o440}})
    assert stat.S_IMODE((tmp_path / "volumes/v/master").stat().st_mode) == 0o440


def test_a_configmap_has_binary_data_too(tmp_path: Path) -> None:
    assert written(tmp_path, {"configMap": {"name": "settings"}}) == {"config.yaml": "a: 1", "b": "\x00\x01"}


def test_every_user_may_write_to_an_empty_dir(tmp_path: Path) -> None:
    written(tmp_path, {"emptyDir": {}})
    assert stat.S_IMODE((tmp_path / "volumes/v").stat().st_mode) == 0o777


def test_projections_lie_together(tmp_path: Path) -> None:
    sources = [
        {"secret": {"name": "keys", "items": [{"key": "master", "path": "m"}]}},
        {"configMap": {"name": "settings", "items": [{"key": "config.yaml", "path": "c"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    found = written(tmp_path, {"projected": {"sources": sources}})
    assert found == {"m": "sk-1", "c": "a: 1", "name": "p", "token": "token for token"}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "settings", "items": [{"key": "no", "path": "x"}]}},
            "references non-existent config key: no",
        ),
        ({"persistentVolumeClaim": {"claimName": "none"}}, 'persistentvolumeclaim "none" not found'),
        ({"hostPath": {"path": "/etc"}}, "volumes of type hostPath are not emulated by the sandbox"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, declared: Json, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        written(tmp_path, declared)


def test_a_changed_object_changes_its_files_and_takes_keys_away(tmp_path: Path) -> None:
    api = Objects(ConfigMap={"c": {"data": {"a": "1", "b": "2"}}})
    made, _ = volumes(tmp_path, {"name": "v", "configMap": {"name": "c"}})
    made._api = api  # pyright: ignore[reportPrivateUsage]
    made.write()
    api._kinds["ConfigMap"]["c"] = {"data": {"a": "3"}}  # pyright: ignore[reportPrivateUsage]
    made.write()
    root = tmp_path / "volumes/v"
    assert {path.name: path.read_text() for path in root.iterdir()} == {"a": "3"}


def test_mounts_lead_to_volumes_claims_and_single_files(tmp_path: Path) -> None:
    made, container = volumes(
        tmp_path,
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "tmp", "emptyDir": {}},
        mounts=[
            {"name": "config", "mountPath": "/etc/litellm/config.yaml", "subPath": "config.yaml"},
            {"name": "data", "mountPath": "/var/lib/data"},
            {"name": "tmp", "mountPath": "/tmp", "subPathExpr": "$(NAME)"},
        ],
    )
    made.write()
    found = {mount.path: mount.target for mount in made.mounts(container, {"NAME": "mine"})}
    assert found["/etc/litellm/config.yaml"].read_text() == "a: 1"
    assert found["/var/lib/data"] == tmp_path / "claims/pvc-claim-1"
    assert found["/tmp"] == tmp_path / "volumes/tmp/mine"


def test_a_sub_path_may_not_lead_out(tmp_path: Path) -> None:
    made, container = volumes(
        tmp_path, {"name": "v", "emptyDir": {}}, mounts=[{"name": "v", "mountPath": "/x", "subPath": "../y"}]
    )
    made.write()
    with pytest.raises(ConfigError, match="subPath"):
        made.mounts(container, {})


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("/data/x", "/here/data/x"),
        ("--file=/data/x,/data", "--file=/here/data/x,/here/data"),
        ("/database", "/database"),
        ("/other/data/x", "/other/data/x"),
        ("cat '/data/x'; ls /data", "cat '/here/data/x'; ls /here/data"),
        ("http://host/data", "http://host/data"),
    ],
)
def test_paths_below_mounts_are_those_of_this_machine(text: str, seen: str) -> None:
    assert translated(text, [Mount("/data", Path("/here/data"))]) == seen
