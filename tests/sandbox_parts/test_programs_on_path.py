"""A container's program is one on PATH only where its version is the image's."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.containers import on_path, valkey
from sandbox.containers.launch import Launch
from sandbox.nodes.pods.process import StartError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with a PostgreSQL 17 and a Valkey 8, as they tell their versions."""
    told = {
        "postgres": "postgres (PostgreSQL) 17.6 (Debian 17.6-1)",
        "valkey-server": "Valkey server v=8.1.4 sha=0:0",
    }
    for name, text in told.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "image", "fits"),
    [
        ("postgres", "ghcr.io/cloudnative-pg/postgresql:17.6", True),
        ("postgres", "registry:5000/cloudnative-pg/postgresql:17.2-system-trixie@sha256:00", True),
        ("postgres", "ghcr.io/cloudnative-pg/postgresql:18.1", False),
        ("postgres", "registry:5000/cloudnative-pg/postgresql", False),
        ("valkey-server", "valkey/valkey:8.1.9", True),
        ("valkey-server", "valkey/valkey:9.0.0", False),
        ("initdb", "ghcr.io/cloudnative-pg/postgresql:17.6", False),
    ],
)
def test_the_major_version_decides(programs: Path, program: str, image: str, fits: bool) -> None:
    assert on_path.folder(program, image) == (programs if fits else None)


def test_a_server_without_the_programs_beside_it_is_left(programs: Path) -> None:
    assert on_path.folder("postgres", "postgresql:17.6", beside="initdb") is None
    (programs / "initdb").touch()
    assert on_path.folder("postgres", "postgresql:17.6", beside="initdb") == programs


@pytest.mark.parametrize(("arguments", "starts"), [(["--save", ""], True), (["--bind", "192.0.2.1"], False)])
def test_valkey_listens_on_its_pods_address_alone(programs: Path, arguments: list[str], starts: bool) -> None:
    launch = Launch(
        home=programs,
        folder=programs,
        pod_file=programs / "pod.json",
        address="127.203.128.1",
        pod={},
        container={"image": "valkey/valkey:8.1.9"},
        words=["valkey-server"],
        arguments=arguments,
        variables={},
        mounts=[],
        programs=None,  # pyright: ignore[reportArgumentType]
    )
    if starts:
        assert valkey.image(launch).programs["valkey-server"][1:3] == ["--bind", "127.203.128.1"]
    else:
        with pytest.raises(StartError, match="--bind is not emulated"):
            valkey.image(launch)
