"""Which programs and providers a sandbox has: the user's own where they are installed, stand-ins for the others."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from sandbox.paths import PROGRAM_VARIABLE, Home
from sandbox.plugins.shims import write_shims
from sandbox.toolchain.build import Toolchain


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A sandbox of a user who has nothing installed."""
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    home = Home(tmp_path / "home")
    home.root.mkdir()
    return home


def shims(home: Home) -> list[str]:
    """Write the shims; the sandbox's pulumi says which stack and settings it was given."""
    says = home.root.parent / "says"
    says.write_text('#!/bin/sh\necho "${PULUMI_STACK-none} ${PULUMI_OPTION_CONFIG_FILE-none}"\n')
    says.chmod(0o755)
    return write_shims(home, Toolchain(*[says] * 9, language_host=says))


def install(plugins: Path, package: str) -> Path:
    """A plugin as Pulumi installs one; returns its program."""
    program = plugins / folder(package) / f"pulumi-resource-{package}"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho real\n")
    program.chmod(0o755)
    (program.parent / "LICENSE").touch()
    return program


def folder(package: str) -> str:
    return f"resource-{package}-v{version(f'pulumi-{package}')}"


def seen_by_the_engine(home: Home) -> set[str]:
    """The engine reads the folder's entries and skips what is not a directory itself."""
    return {entry.name for entry in os.scandir(home.plugins) if entry.is_dir(follow_symlinks=False)}


def test_every_provider_has_a_stand_in(home: Home) -> None:
    assert {f"pulumi-resource-{package}" for package in ("gcp", "kubernetes", "random")} <= set(shims(home))
    assert seen_by_the_engine(home) == {folder("gcp"), folder("kubernetes"), folder("random")}


def test_the_users_own_plugins_are_seen_and_left_as_they_are(home: Home) -> None:
    real = {package: install(home.root.parent / "user/plugins", package) for package in ("gcp", "random")}
    before = {path: path.read_bytes() for path in (home.root.parent / "user").rglob("*") if path.is_file()}
    for _ in range(2):
        stand_ins = shims(home)
        assert "pulumi-resource-random" not in stand_ins
        assert "pulumi-resource-gcp" in stand_ins  # the real one would ask Google
        assert seen_by_the_engine(home) == {folder("gcp"), folder("kubernetes"), folder("random")}
        plugin = home.plugins / folder("random")
        assert sorted(file.name for file in plugin.iterdir()) == ["LICENSE", "pulumi-resource-random"]
        done = subprocess.run([plugin / "pulumi-resource-random"], capture_output=True, text=True, check=True)
        assert done.stdout == "real\n"
    # Taken away again, it is not written to through what linked to it.
    real["random"].unlink()
    assert "pulumi-resource-random" in shims(home)
    assert not real["random"].exists()
    assert {path: text for path, text in before.items() if path.exists() and path.read_bytes() == text} == {
        path: text for path, text in before.items() if path != real["random"]
    }


@pytest.fixture
def folders(home: Home) -> Path:
    """Our program, one inside its folder, and one elsewhere."""
    shims(home)
    for program, file in (
        ("ours", "Pulumi.yaml"),
        ("ours/examples/theirs", "Pulumi.yaml"),
        ("else", "Pulumi.yml"),
    ):
        (home.root.parent / program / "deep").mkdir(parents=True)
        (home.root.parent / program / file).write_text("name: p\n")
    (home.root.parent / "link").symlink_to("ours")
    (home.root.parent / "empty").mkdir()
    return home.root.parent


@pytest.mark.parametrize(
    ("at", "arguments", "own"),
    [
        ("ours", ["up"], True),
        ("ours/deep", ["up"], True),
        ("link/deep", ["up"], True),
        ("ours/examples", ["up"], True),
        ("else", ["--cwd", "../ours", "up"], True),
        ("else", ["up", "--cwd=../ours/deep"], True),
        ("ours/examples/theirs", ["up"], False),
        ("ours/examples/theirs/deep", ["up"], False),
        ("else", ["up"], False),
        ("empty", ["up"], False),
        ("ours", ["up", "-C", "../else"], False),
        ("ours", ["up", "-C../else"], False),
        ("ours", ["up", "--cwd=../none"], False),
    ],
)
def test_only_our_program_is_given_our_stack(
    home: Home, folders: Path, at: str, arguments: list[str], own: bool
) -> None:
    env = {
        "PULUMI_STACK": "dev",
        "PULUMI_OPTION_CONFIG_FILE": "copy",
        PROGRAM_VARIABLE: str(folders / "ours"),
    }
    done = subprocess.run(
        [home.bin / "pulumi", *arguments],
        cwd=folders / at,
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ("dev copy\n" if own else "none none\n")
