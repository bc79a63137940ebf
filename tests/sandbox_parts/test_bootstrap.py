"""Making a clone ready: which Python, and when the environment is made anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.phases import Phases
from sandbox.processes import began_at
from sandbox.toolchain import bootstrap


class Clone:
    """A clone whose virtual environment is made by noting so."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.venv, self.requirements, self.made = root / ".venv", root / "requirements-dev.txt", 0
        self.requirements.write_text("a==1")
        self.python = "3.12"
        monkeypatch.setattr(bootstrap, "VENV", self.venv)
        monkeypatch.setattr(bootstrap, "PYTHON", self.venv / "python")
        monkeypatch.setattr(bootstrap, "STAMP", self.venv / "complete")
        monkeypatch.setattr(bootstrap, "REQUIREMENTS", self.requirements)
        monkeypatch.setattr(bootstrap, "choose_python", lambda: ("python", self.python))
        monkeypatch.setattr(bootstrap, "make_environment", self.make)
        monkeypatch.setattr(bootstrap, "install_packages", self.install)

    def make(self, python: str, phases: Phases) -> None:
        self.venv.mkdir(exist_ok=True)
        (self.venv / "python").touch()
        bootstrap.STAMP.unlink(missing_ok=True)
        self.made += 1

    def install(self, version: str, phases: Phases) -> None:
        bootstrap.STAMP.write_text(bootstrap.stamp(version))

    def make_ready(self) -> int:
        """How many times the environment has been made after this."""
        bootstrap.make_ready(packages_only=True, phases=Phases())
        return self.made


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    return Clone(tmp_path, monkeypatch)


def test_environment_is_made_once(clone: Clone) -> None:
    assert [clone.make_ready(), clone.make_ready()] == [1, 1]


def test_environment_follows_lock_and_python(clone: Clone) -> None:
    clone.make_ready()
    clone.requirements.write_text("a==2")
    assert clone.make_ready() == 2
    clone.python = "3.13"
    assert clone.make_ready() == 3


def test_half_made_environment_is_made_anew(clone: Clone) -> None:
    clone.make("python", Phases())
    assert [clone.make_ready(), clone.make_ready()] == [2, 2]


def test_unusable_pythons_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {"python3": "echo 3.10.1", "python3.12": "echo 3.12.3; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap.sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(bootstrap.BootstrapError) as raised:
        bootstrap.choose_python()
    assert f"{tmp_path}/python3 is 3.10.1\n" in str(raised.value)
    assert f"{tmp_path}/python3.12 is 3.12.3 without ensurepip" in str(raised.value)
    assert "make up PYTHON=" in str(raised.value)


def test_a_supported_python_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {"python3": "echo 3.9.1", "python3.13": "echo 3.13.0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap.sys, "executable", str(tmp_path / "python3"))
    assert bootstrap.choose_python() == (str(tmp_path / "python3.13"), "3.13")


def test_what_was_being_installed_ends_with_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
        case "$2" in *build) until [ -s {pid} ]; do sleep 0.05; done; exit 1;; esac
        sleep 60 & echo $! > {pid}; wait
        """
    )
    python.chmod(0o755)
    (tmp_path / "stamp").write_text(bootstrap.stamp("3.12.0"))
    monkeypatch.setattr(bootstrap, "PYTHON", python)
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(bootstrap, "choose_python", lambda: ("python", "3.12.0"))
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.make_ready(False, Phases())
    deadline = time.monotonic() + 20
    while runs(int(pid.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(process: int) -> bool:
    try:
        began_at(process)
    except OSError:
        return False
    return True
