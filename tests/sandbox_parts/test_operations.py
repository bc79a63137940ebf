"""What follows an engine operation, and what must not hide how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import operations
from sandbox.paths import Home
from sandbox.start import Sandbox
from tests.support.recorded import EVENTS, write_failed


def test_a_report_that_fails_does_not_hide_how_the_up_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    home.event_log("dev", "up").parent.mkdir(parents=True)

    def engine(command: list[str], *_: object) -> int:
        if command[1] == "up":
            home.event_log("dev", "up").write_text(EVENTS.read_text())
        return 7 if command[1] == "up" else 0

    home.answer.write_text("{}")
    monkeypatch.setattr(operations, "run", engine)
    sandbox = Sandbox(home, "dev", tmp_path, {})  # there is no state
    assert operations.operate(sandbox, "up", (), preview_first=True) == 7
    assert "no report: " in capfd.readouterr().err
    assert not home.answer.exists()


def test_a_failed_up_is_explained_and_what_cannot_be_does_not_hide_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    log = home.event_log("dev", "up")
    log.parent.mkdir(parents=True)

    def engine(command: list[str], *_: object) -> int:
        if command[1] == "up":
            log.write_text(write_failed(tmp_path)[1].read_text())
        return 7

    monkeypatch.setattr(operations, "run", engine)
    assert operations.operate(Sandbox(home, "dev", tmp_path, {}), "up", (), preview_first=False) == 7
    assert "why: the event log names no cluster" in capfd.readouterr().err


def test_without_an_up_there_is_no_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert operations.write_report(Sandbox(Home(tmp_path), "dev", tmp_path, {})) == 1
    assert "`make up`" in capfd.readouterr().err
