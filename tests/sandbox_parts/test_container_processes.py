"""The processes of containers are found, however they call themselves, and no one else's are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.paths import Home
from sandbox.processes import CONTAINER, began_at, running, stop, stop_containers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods run on Linux")


def started(home: Path, mark: str | None = None) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], **({CONTAINER: f"{home}:{mark}"} if mark else {})}
    return subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)


def test_by_their_environment_and_by_the_note_of_their_start(tmp_path: Path) -> None:
    home, other = Home(tmp_path / "a"), tmp_path / "a2"
    marked, noted, strangers = started(home.root, "p/c"), started(home.root), started(other, "p/c")
    try:
        note = home.pods / "uid" / "d" / "process"
        note.parent.mkdir(parents=True)
        note.write_text(f"{noted.pid} {began_at(noted.pid)} p/d")
        assert running(home) == {marked.pid: "p/c", noted.pid: "p/d"}
        assert stop(home) == ["p/c", "p/d"]
        assert (marked.wait(5), noted.wait(5), strangers.poll()) == (-15, -15, None)
    finally:
        strangers.kill()
        strangers.wait()


def test_what_is_started_while_all_is_stopped_is_stopped_too(tmp_path: Path) -> None:
    home = Home(tmp_path)
    late = f"trap '{CONTAINER}={home.root}:p/late sleep 60 & exit' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"
    environment = {"PATH": os.environ["PATH"], CONTAINER: f"{home.root}:p/c"}
    first = subprocess.Popen(["sh", "-c", late], env=environment, start_new_session=True)
    while not (tmp_path / "up").exists():
        time.sleep(0.02)
    stop(home)
    try:
        assert running(home) == {}
    finally:
        stop_containers(home)
        first.wait()


def test_a_pid_that_another_process_has_now_is_left_alone(tmp_path: Path) -> None:
    home, stranger = Home(tmp_path), started(tmp_path)
    try:
        note = home.pods / "uid" / "c" / "process"
        note.parent.mkdir(parents=True)
        note.write_text(f"{stranger.pid} {int(began_at(stranger.pid)) - 1} p/c")
        stop_containers(home)
        assert running(home) == {}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
