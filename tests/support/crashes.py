"""Crashes and what they cost: `python -m tests.support.crashes --seed 1 --count 25 [--first 0]`.

Each brings a fork of a sandbox up (a first time, with rotated secrets, or with changed settings), kills one process at a
moment that the seed chooses, and then runs what a user would until an `up` succeeds. Prints a row per crash: what became
of the salt, the database's password, the master key and the database, and how many `up`s it took.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.operators.cloudnativepg import database
from sandbox.paths import REPOSITORY
from sandbox.processes import running
from tests.support.driver import Result, Sandbox
from tests.support.sandboxes import Sandboxes

PHASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "first up": ("empty", {}, 75),
    "rotation": (
        "dev",
        {"llm-gateway:secrets": {"masterKeyGeneration": 2, "databasePasswordGeneration": 2}},
        8,
    ),
    "upgrade": (
        "dev",
        {"llm-gateway:litellm": {"cpu": "750m"}, "llm-gateway:postgres": {"memory": "2Gi"}},
        3,
    ),
}
"""Origin, settings, and how many steps that change something an `up` has, by phase."""
VICTIMS = ("engine", "kubernetes", "gcp", "random", "etcd", "kube-apiserver")
SECRETS = ("litellm-salt-key", "litellm-db-password", "litellm-master-key")
MOST_UPS = 5
_WAIT = 180.0  # seconds
_PATIENCE = 60.0
"""Seconds for which an `up` may go on after the crash: Helm waits long for an API server that is gone."""


def processes(sandbox: Sandbox, victim: str) -> list[int]:
    """Pids of the engine, of a provider's plugin, or of a part of the control plane."""
    if victim in ("etcd", "kube-apiserver"):
        return [pid for pid, name in running(sandbox.home).items() if name == victim]
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        line = " ".join(command)
        if str(sandbox.home.root) not in line:
            continue
        if victim == "engine":
            if command[0].endswith("/pulumi") and "up" in command[1:2]:
                found.append(int(entry.name))
        elif f"sandbox.plugins.{victim}" in line:
            found.append(int(entry.name))
    return found


def wait_for(when: Callable[[], Any], going: Callable[[], bool]) -> bool:
    """Whether `when` came true while `going` was, _WAIT seconds at most."""
    deadline = time.monotonic() + _WAIT
    while going() and time.monotonic() < deadline:
        if when():
            return True
        time.sleep(0.02)
    return False


@dataclass(frozen=True)
class Crash:
    """One crash: what is killed, after how many steps and how many seconds more."""

    phase: str
    victim: str
    steps: int
    pause: float


def crash(seed: int, number: int) -> Crash:
    """The crash of a number; phases and victims come in turn."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - a moment, no secret
    phase = list(PHASES)[number % len(PHASES)]
    victim = VICTIMS[number // len(PHASES) % len(VICTIMS)]
    return Crash(phase, victim, dice.randint(1, PHASES[phase][2]), dice.uniform(0, 1.5))


def suffer(sandboxes: Sandboxes, case: Crash) -> list[str]:
    """Let a crash happen, have an `up` succeed again, and tell it: a table's row."""
    origin, config, _ = PHASES[case.phase]
    with sandboxes.forked(origin) as sandbox:
        sandbox.run("start").succeeded()
        if origin == "dev":
            database.write(sandbox.cloud, "llm-gateway", "litellm-pg", "a row")
        before = kept(sandbox)
        log = sandbox.home.event_log(sandbox.stack, "up")
        log.unlink(missing_ok=True)

        def reached() -> bool:
            text = log.read_text() if log.exists() else ""
            starts = [
                line
                for line in text.splitlines()
                if '"resourcePreEvent"' in line and '"op":"same"' not in line
            ]
            return len(starts) >= case.steps

        results: list[Result] = []
        up = threading.Thread(target=lambda: results.append(sandbox.up(config=config)))
        up.start()
        hit = wait_for(reached, up.is_alive)
        time.sleep(case.pause)
        at_crash = kept(sandbox)
        killed = processes(sandbox, case.victim)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGKILL):  # as a user who waits no longer
            up.join(_PATIENCE)
            for pid in processes(sandbox, "engine") if up.is_alive() else ():
                os.kill(pid, number)
        up.join()
        ups, mended, result = 0, "", results[0]
        while ups < MOST_UPS and (ups == 0 or result.code):
            if "already exists" in result.text and "pending operations" in result.text and not mended:
                line = (sys.executable, "-m", "tools.mend", "--stack", sandbox.stack)
                sandbox.run("exec", "--", "env", f"PYTHONPATH={REPOSITORY}", *line)
                mended = " + mend"
            result = sandbox.up(config=config)
            ups += 1
        after = kept(sandbox)
        secrets = [_fate(before[name], at_crash[name], after[name]) for name in (*SECRETS, "database")]
        hits = (
            f"{case.victim}, step {case.steps} + {case.pause:.1f} s{'' if hit and killed else ' (too late)'}"
        )
        end = (
            f"{ups}{mended}" if result.code == 0 else f"NOT HEALED after {ups}: {result.text.strip()[-300:]}"
        )
        return [case.phase, hits, *secrets, end]


def kept(sandbox: Sandbox) -> dict[str, list[str]]:
    """Every value that a secret has had, oldest first, and the database's rows."""
    found: dict[str, list[str]] = {}
    for name in SECRETS:
        prefix = f"projects/{sandbox.project}/secrets/{name}/versions/"
        rows = sandbox.cloud.list("secretVersion", prefix)
        found[name] = [row["payload"] for row in rows if row.get("payload")]
    try:
        found["database"] = list(database.read(sandbox.cloud, "llm-gateway", "litellm-pg"))
    except Exception:
        found["database"] = []
    return found


def _fate(before: Sequence[str], at_crash: Sequence[str], after: Sequence[str]) -> str:
    if not set(before) | set(at_crash) <= set(after):
        return "LOST"
    values = len(dict.fromkeys(after))
    return "kept" if values <= max(len(set(before)), 1) else f"kept, {values} values"


class _Factory:
    """What Sandboxes asks of pytest's factory of folders."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def getbasetemp(self) -> Path:
        return self._base

    def mktemp(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._base))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.crashes", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--first", type=int, default=0, help="number of the first crash")
    options = parser.parse_args()
    print(
        "| # | during | killed | salt | password | master key | database | ups |\n|---|---|---|---|---|---|---|---|"
    )
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        sandboxes = Sandboxes(cast(pytest.TempPathFactory, _Factory(Path(folder))))
        try:
            for number in range(options.first, options.first + options.count):
                row = suffer(sandboxes, crash(options.seed, number))
                bad += any(word in cell for cell in row for word in ("LOST", "NOT HEALED"))
                print(f"| {number} | {' | '.join(row)} |", flush=True)
        finally:
            sandboxes.close()
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}")
