"""What the sandbox's commands say where they cannot do what they are asked for."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path

import pytest

from sandbox import cli
from sandbox.errors import SandboxError
from sandbox.paths import Home


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def dispatch(options: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("sys.argv", ["sandbox", "up"])
    monkeypatch.setattr(cli, "dispatch", dispatch)


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert cli.main() == 1
    assert capsys.readouterr().err.startswith(
        "error: the disk is full: make room (`df -h`), and run it again"
    )
    failing(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(PermissionError):
        cli.main()


@pytest.mark.parametrize("scale", ["much", "-1", "nan"])
def test_a_latency_that_is_no_factor_is_refused(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(["up", f"--latency={scale}"])
    assert f"{scale} is not a factor: give 0 (no latency)" in capsys.readouterr().err


def test_a_sandbox_that_cannot_be_stopped_keeps_no_other_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    def stop(home: Home) -> list[str]:
        if home.root.name == "dev":
            raise SandboxError("could not stop etcd (pid 1)")
        stopped.append(home.root.name)
        return []

    monkeypatch.setattr(cli, "stop", stop)
    for name in ("dev", "prod"):
        (tmp_path / ".sandbox" / name).mkdir(parents=True)
    with pytest.raises(SandboxError, match="could not stop etcd"):
        cli.down_all(tmp_path)
    assert stopped == ["prod"]
