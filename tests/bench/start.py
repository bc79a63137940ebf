"""How long it takes from `make up` to the first completion, and what the processes of the sandbox hold in memory then."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from sandbox.processes import running
from tests.support.driver import Sandbox
from tests.support.serving import ask, calling

_GENERATED = re.compile(r"(-[a-z0-9]{6,10})?-[a-z0-9]{5}(?=/)")
"""What controllers add to the names of pods."""


def measure(sandbox: Sandbox) -> None:
    """Bring dev up as it is, have it complete a chat, and print."""
    start = time.monotonic()
    sandbox.run("up").succeeded()
    up = time.monotonic() - start
    with calling(sandbox, sandbox.secret("litellm-key-search-app")) as client:
        ask(client).raise_for_status()
    print(
        f"\nfrom `make up` to the first completion: {time.monotonic() - start:.1f} s, of which the up {up:.1f} s"
    )
    print("\nmemory, MB (of pages that processes share, each one's part)")
    held: Counter[str] = Counter()
    for pid, name in running(sandbox.home).items():
        with suppress(OSError):
            held[program(pid, name)] += proportional(Path(f"/proc/{pid}/smaps_rollup").read_text())
    for name, kilobytes in held.most_common():
        print(f"{name:50}{kilobytes / 1000:6.0f}")
    print(f"{'together':50}{held.total() / 1000:6.0f}")


def program(pid: int, name: str) -> str:
    """What a process is called in the table: a container's with pod, container and program."""
    if "/" not in name:
        return name
    return f"{_GENERATED.sub('', name)}: {Path(f'/proc/{pid}/comm').read_text().strip()}"


def proportional(rollup: str) -> int:
    """The kilobytes that a process holds, from its smaps_rollup: of what it shares with others, its part."""
    (found,) = re.findall(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
    return int(found)
