"""Looks for secret values wherever a sandbox leaves something: in files, in text, at its processes.

A value is looked for in every form that programs give to text: as it is, as bytes, escaped, in hex and in base64. It
need not stand alone: base64 of a text that holds the value looks different at each of three offsets.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from sandbox.paths import Home
from sandbox.processes import running

_SHORTEST = 8  # bytes: anything shorter is found by chance


def forms(value: str) -> dict[bytes, str]:
    """What a secret value may look like, to the name of that form."""
    found: dict[bytes, str] = {}
    for name, raw in _readings(value):
        escaped = raw.decode(errors="ignore")
        found.setdefault(raw, name)
        found.setdefault(quote(raw, safe="").encode(), f"{name}, URL-escaped")
        found.setdefault(json.dumps(escaped)[1:-1].encode(), f"{name}, JSON-escaped")
        found.setdefault(json.dumps(escaped, ensure_ascii=False)[1:-1].encode(), f"{name}, JSON-escaped")
        found.setdefault(raw.hex().encode(), f"{name}, hex")
        found.setdefault(raw.hex().upper().encode(), f"{name}, hex")
        for offset in range(3):
            encoded = base64.b64encode(bytes(offset) + raw)
            # Without the characters that hold bits of what stands before or behind the value.
            inner = encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
            found.setdefault(inner, f"{name}, base64 at offset {offset}")
            urlsafe = inner.translate(bytes.maketrans(b"+/", b"-_"))
            found.setdefault(urlsafe, f"{name}, base64url at offset {offset}")
    return {form: name for form, name in found.items() if len(form) >= _SHORTEST}


def _readings(value: str) -> Iterator[tuple[str, bytes]]:
    """The text itself, and the bytes that it stands for where it is hex or base64."""
    for text in {value, value.removeprefix("sk-")}:
        yield "text", text.encode()
        with contextlib.suppress(ValueError):
            yield "bytes of the hex", bytes.fromhex(text)
        with contextlib.suppress(ValueError, binascii.Error):
            yield "bytes of the base64", base64.b64decode(text, validate=True)


def search(values: Mapping[str, str], places: Mapping[str, bytes]) -> list[str]:
    """Where each value, by name, is in some places, by name: `NAME is in PLACE (FORM)`."""
    wanted = [
        (name, form, content) for name, value in values.items() for content, form in forms(value).items()
    ]
    return [
        f"{name} is in {place} ({form})"
        for place, content in places.items()
        for name, form, needle in wanted
        if needle in content
    ]


def files(folder: Path, home: Home) -> dict[str, bytes]:
    """The content of every file under a folder, but for where a sandbox keeps secrets as Google and the cluster do."""
    store = {f"{home.cloud.name}{end}" for end in ("", "-wal", "-shm")}
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        # etcd is the API server's store, where the cluster's Secrets are; links lead to the toolchain's programs.
        if "etcd" in path.parts or path.name in store or path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        found[str(path)] = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return found


class Processes:
    """Collects command lines and environments of a sandbox's processes while a block runs, children included."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: set[tuple[str, bytes]] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Processes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def places(self) -> dict[str, bytes]:
        """What was seen, by kind and program."""
        return {f"{place} {number}": content for number, (place, content) in enumerate(sorted(self._seen))}

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            for pid in _with_children(set(running(self._home))):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        content = Path(f"/proc/{pid}/{name}").read_bytes()
                        self._seen.add((name, content))


def _with_children(pids: set[int]) -> set[int]:
    """Processes and all that they started: helm and kubectl carry nothing of the home in their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # The name before it may hold blanks and parentheses.
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    while more := {pid for pid, parent in parents.items() if parent in pids} - pids:
        pids |= more
    return pids
