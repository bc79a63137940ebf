"""The search for leaked secrets finds a value in each form that programs give to text."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbox.paths import Home
from tests.support.leaks import Processes, files, search

VALUE = "sk-Zx81mQ0aKeyThatNobodyMayRead0123456789"
AWKWARD = 'a "quoted"/value+with ümlaut & ÿÿÿ>>>???~~'
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c"
BASE64 = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is"


@pytest.mark.parametrize("value", [VALUE, AWKWARD, HEX, BASE64])
@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("behind", ["", "!", "!!", "!!!"])
def test_it_is_found_in_each_form(value: str, before: str, behind: str) -> None:
    text = f"{before}{value}{behind}"
    encoded = text.encode()
    for form in (
        encoded,
        quote(text, safe="").encode(),
        json.dumps(text).encode(),
        json.dumps(text, ensure_ascii=False).encode(),
        encoded.hex().encode(),
        encoded.hex().upper().encode(),
        base64.b64encode(encoded),
        base64.urlsafe_b64encode(encoded),
        b"..." + base64.b64encode(encoded).rstrip(b"=") + b"...",
    ):
        assert search({"key": value}, {"there": form}), form
        assert search({"key": value}, {"there": b"\0" + form + b"\0"}), form


@pytest.mark.parametrize("raw", [bytes.fromhex(HEX), base64.b64decode(BASE64)])
@pytest.mark.parametrize("before", [b"", b"x", b"xy"])
def test_the_bytes_behind_hex_and_base64_are_found(raw: bytes, before: bytes) -> None:
    """RandomBytes: what was known of the value was its hex, what leaked was base64 of the bytes."""
    values = {"hex": raw.hex(), "base64": base64.b64encode(raw).decode(), "key": f"sk-{raw.hex()}"}
    for form in (
        raw,
        base64.b64encode(before + raw),
        base64.urlsafe_b64encode(before + raw),
        raw.hex().encode(),
    ):
        assert {found.split()[0] for found in search(values, {"id": form})} == values.keys()


def test_it_says_what_is_where_and_in_which_form() -> None:
    places = {"log": base64.b64encode(b"xy" + VALUE.encode()), "state": b"nothing", "comment": VALUE.encode()}
    found = search({"key": VALUE, "other": "not there at all"}, places)
    assert "key is in log (text, base64 at offset 2)" in found
    assert "key is in comment (text)" in found
    assert {line.split(" is in ")[1].split()[0] for line in found} == {"log", "comment"}


def test_what_resembles_a_value_is_not_taken_for_it() -> None:
    assert (
        search(
            {"key": VALUE}, {"other": base64.b64encode(VALUE[::-1].encode()), "near": VALUE[:-1].encode()[4:]}
        )
        == []
    )


def test_files_but_the_stores_are_read_and_unpacked(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (tmp_path / "home" / "etcd").mkdir(parents=True)
    for name in ("cloud.db", "cloud.db-wal", "etcd/wal"):
        (home.root / name).write_text(VALUE)
    (home.root / "state.gz").write_bytes(gzip.compress(VALUE.encode()))
    (tmp_path / "up.txt").write_text(VALUE)
    found = search({"key": VALUE}, files(tmp_path, home))
    assert {line.split(" (")[0] for line in found} == {
        f"key is in {tmp_path / 'up.txt'}",
        f"key is in {home.root / 'state.gz'}",
    }


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("where", ["cmdline", "environ"])
def test_processes_and_their_children_are_seen(tmp_path: Path, where: str) -> None:
    """A process of the sandbox starts one that is told by its parent only; it has the value."""
    sleeps = "import sys, time; time.sleep(float(sys.argv[1]))"
    child = [sys.executable, "-c", sleeps, "1.5", *([VALUE] if where == "cmdline" else [])]
    env = {"SECRET": VALUE} if where == "environ" else {}
    starts = f"import subprocess; subprocess.run({child!r}, env={env!r})"
    with Processes(Home(tmp_path)) as processes:
        subprocess.run([sys.executable, "-X", f"sandbox={tmp_path}", "-c", starts], check=True)
    found = search({"key": VALUE}, processes.places)
    assert any(line.startswith(f"key is in {where}") for line in found), processes.places.keys()
