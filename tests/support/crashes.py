"""Crashes and what they cost: `python -m tests.support.crashes --seed 1 --count 27 [--first 0]`.

Each brings a fork of a sandbox up (a first time, with rotated secrets, or with changed settings), has one thing go wrong at
a moment that the seed chooses, and then does what a user would until an `up` succeeds: run it again, and the commands that
its messages name. Prints a row per crash: what became of the salt, the database's password, the master key and the
database, and how many `up`s it took. A full disk needs Linux and root, for a small file system. It uses the plugins
that the sandbox does: the real ones where they are installed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sandbox.cluster.client import ApiError, Unreachable
from sandbox.google.cloud import CloudError
from sandbox.operators.cloudnativepg import database
from sandbox.processes import running
from tests.support.driver import Result, Sandbox
from tests.support.sandboxes import Sandboxes, TemporaryFolders

PHASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "first up": ("empty", {}, 70),
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
ENGINE, HELM, CTRL_C, FULL_DISK = "engine", "helm", "Ctrl-C", "full disk"
VICTIMS = (ENGINE, "kubernetes", "gcp", "random", "etcd", "kube-apiserver", HELM, CTRL_C, FULL_DISK)
SECRETS = {
    "litellm-salt-key": ("litellm-secrets", "LITELLM_SALT_KEY"),
    "litellm-db-password": ("litellm-pg-app", "password"),
    "litellm-master-key": ("litellm-secrets", "PROXY_MASTER_KEY"),
}
"""The Secret and key that pods read, by id in Secret Manager."""
ADOPTED = {
    "masterKey": "litellm-master-key",
    "databasePassword": "litellm-db-password",
    "vllmApiKey": "vllm-api-key",
}
"""Secret by its key under `adopt`; the salt needs none."""
FILLER = "filler"
NAMESPACE, DATABASE = "llm-gateway", "litellm-pg"
MOST_UPS = 5
_WAIT = 180.0  # seconds
_TIMEOUTS = {"etcd": 15.0, "kube-apiserver": 15.0}
"""Seconds for which an `up` may go on after the crash, by victim, others 60: Helm waits long for a cluster that is gone."""
ANNOTATE = re.compile(r"kubectl annotate .*? llm-gateway/recorded\S*-(?= )")
"""Commands that a message of the program asks for."""


def processes(sandbox: Sandbox, victim: str) -> list[int]:
    """Pids of the engine, of a provider's plugin, of Helm at work, or of a part of the control plane."""
    if victim in ("etcd", "kube-apiserver"):
        return [pid for pid, name in running(sandbox.home).items() if name == victim]
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program, *arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str(sandbox.home.root) not in " ".join([program, *arguments]):
            continue
        if victim == ENGINE:
            hit = program.endswith("/pulumi") and "up" in arguments[:1]
        elif victim == HELM:  # in the real provider's own process
            hit = (Path(program).name == "helm" and arguments[:1] in (["install"], ["upgrade"])) or (
                program.endswith("/pulumi-resource-kubernetes") and pending(sandbox)
            )
        else:
            hit = f"sandbox.plugins.{victim}" in " ".join(arguments) or program.endswith(
                f"/pulumi-resource-{victim}"
            )
        if hit:
            found.append(int(entry.name))
    return found


def pending(sandbox: Sandbox, release: str = "", status: str = "pending-install,pending-upgrade") -> bool:
    """Whether Helm is at work on a release, or on any, by its own record."""
    selector = f"owner=helm,status in ({status})" + (f",name={release}" if release else "")
    try:
        return bool(sandbox.get(f"/api/v1/secrets?labelSelector={quote(selector)}")["items"])
    except (ApiError, Unreachable):  # the API server is not there, or not yet
        return False


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
    """What goes wrong, after how many steps and how many seconds more."""

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


def strike(sandbox: Sandbox, case: Crash) -> tuple[Result, bool, dict[str, list[str]]]:
    """An `up` in which it goes wrong: how it ended, whether it was hit, and what was kept at that moment."""
    log = sandbox.home.event_log(sandbox.stack, "up")
    log.unlink(missing_ok=True)

    def reached() -> bool:
        lines = log.read_text().splitlines() if log.exists() else []
        starts = [line for line in lines if '"resourcePreEvent"' in line and '"op":"same"' not in line]
        return len(starts) >= case.steps and (case.victim != HELM or bool(processes(sandbox, HELM)))

    _, config, _ = PHASES[case.phase]
    up = sandbox.popen("up", "--skip-preview", config=config, alone=case.victim == CTRL_C)
    with ThreadPoolExecutor(1) as reader:
        text = reader.submit(up.communicate)
        hit = wait_for(reached, lambda: up.poll() is None)
        time.sleep(0 if case.victim == HELM else case.pause)
        at_crash = kept(sandbox)
        if case.victim == FULL_DISK:
            fill(sandbox)
        elif case.victim == CTRL_C:
            os.killpg(up.pid, signal.SIGINT)
        else:
            killed = processes(sandbox, case.victim)
            hit = hit and bool(killed)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGKILL):  # as a user who waits no longer
            try:
                up.wait(_TIMEOUTS.get(case.victim, 60))
            except subprocess.TimeoutExpired:
                for pid in processes(sandbox, ENGINE):
                    os.kill(pid, number)
        return Result(up.wait(), text.result()[0]), hit, at_crash


def suffer(sandboxes: Sandboxes, case: Crash, texts: list[str]) -> list[str]:
    """Let a crash happen, have an `up` succeed again, and tell it: a table's row. `texts` gets what was printed."""
    origin, config, _ = PHASES[case.phase]
    with sandboxes.forked(origin) as sandbox, small_disk(sandbox, case.victim == FULL_DISK):
        sandbox.run("start").succeeded()
        if origin == "dev":
            database.write(sandbox.cloud, NAMESPACE, DATABASE, "a row")
        before = kept(sandbox)
        result, hit, at_crash = strike(sandbox, case)
        texts.append(result.text)
        ups, also, recovering = 0, "", {}
        if case.victim == FULL_DISK:
            (sandbox.home.state / FILLER).unlink()
            if cut_off(sandbox):
                also, config = " + recover", without_state(sandbox, config)
                recovering = {"llm-gateway:recover": True}
        while ups < MOST_UPS and (ups == 0 or result.code):
            for command in ANNOTATE.findall(result.text.replace("\n", " ")) if ups else ():
                sandbox.run("exec", "--", *shlex.split(command)).succeeded()
                also += " + annotate"
            if copy := re.search(r"\(cp (\S+) (\S+)\)", result.text):
                shutil.copy(*copy.groups())
                also += " + cp"
            if ups and "tools.mend" in result.text:
                texts.append(sandbox.mend().text)
                also += " + mend"
            result = sandbox.up(config=config | recovering)
            texts.append(result.text)
            ups += 1
        settled = result.code == 0 and not (sandbox.up(config=config).code or sandbox.changed("up"))
        after = kept(sandbox)
        fates = [_fate(before[name], at_crash[name], after[name]) for name in before]
        end = f"{ups}{also}" if settled else f"NOT HEALED after {ups}{also}: {result.text.strip()[-600:]}"
        if len(set(after["litellm-salt-key"])) != 1:
            fates[0] = "SECOND SALT"
        if settled and (stale := not_read(sandbox)):
            end = f"NOT HEALED: pods read another {stale}"
        if any("Traceback (most recent call last)" in text for text in texts):
            end += ", TRACEBACK"
        moment = f"step {case.steps}{'' if case.victim == HELM else f' + {case.pause:.1f} s'}"
        return [case.phase, f"{case.victim}, {moment}{'' if hit else ' (not hit)'}", *fates, end]


def cut_off(sandbox: Sandbox) -> bool:
    """Whether the stack's state is not a whole document."""
    try:
        json.loads(sandbox.home.checkpoint(sandbox.stack).read_text())
    except ValueError:
        return True
    return False


def without_state(sandbox: Sandbox, config: dict[str, Any]) -> dict[str, Any]:
    """Begin a state anew, as docs/operations.md says under "The state is lost"; returns the settings for it."""
    for file in sandbox.home.checkpoint(sandbox.stack).parent.glob(f"{sandbox.stack}.json*"):
        file.unlink()
    newest = {key: len(values(sandbox, secret)) for key, secret in ADOPTED.items()}
    adopt = {key: version for key, version in newest.items() if version}
    config = config | {"llm-gateway:secrets": {"adopt": adopt}}
    if values(sandbox, "litellm-key-search-app"):
        settings = yaml.safe_load((sandbox.root / "Pulumi.dev.yaml").read_text())["config"]
        config["llm-gateway:virtualKeys"] = [
            key | {"adopt": 1} for key in settings["llm-gateway:virtualKeys"]
        ]
    return config


def is_bad(row: Sequence[str]) -> bool:
    """Whether a row tells of a loss, of an `up` that never succeeded, or of a traceback."""
    return any(word in cell for cell in row for word in ("LOST", "SECOND SALT", "NOT HEALED", "TRACEBACK"))


def kept(sandbox: Sandbox) -> dict[str, list[str]]:
    """Every value that a secret has had, oldest first, and the database's rows."""
    found = {name: values(sandbox, name) for name in SECRETS}
    try:
        found["database"] = database.read(sandbox.cloud, NAMESPACE, DATABASE)
    except CloudError:  # none yet
        found["database"] = []
    return found


def values(sandbox: Sandbox, secret: str) -> list[str]:
    """Every value that a secret has had, oldest first, as Secret Manager's API writes it."""
    rows = sandbox.cloud.list("secretVersion", f"projects/{sandbox.project}/secrets/{secret}/versions/")
    return [row["payload"] for row in rows if row.get("payload")]


def not_read(sandbox: Sandbox) -> str:
    """The first secret whose newest value pods do not read; empty where there is none."""
    for name, (secret, key) in SECRETS.items():
        data = sandbox.namespaced("secrets", NAMESPACE, secret)["data"]
        if base64.b64decode(data[key]).decode() != sandbox.secret(name):
            return name
    return ""


def _fate(before: Sequence[str], at_crash: Sequence[str], after: Sequence[str]) -> str:
    if not set(before) | set(at_crash) <= set(after):
        return "LOST"
    values = len(set(after))
    return "kept" if values <= max(len(set(before)), 1) else f"kept, {values} values"


@contextlib.contextmanager
def small_disk(sandbox: Sandbox, wanted: bool) -> Generator[None]:
    """Have the state on a file system of its own while the block runs."""
    if not wanted:
        yield
        return
    state, copy = sandbox.home.state, sandbox.home.root / "state-before"
    state.mkdir(exist_ok=True)
    shutil.copytree(state, copy)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", state], check=True)
    try:
        shutil.copytree(copy, state, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)


def fill(sandbox: Sandbox) -> None:
    """Leave no room where the state is."""
    with contextlib.suppress(OSError), (sandbox.home.state / FILLER).open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.crashes", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=len(PHASES) * len(VICTIMS))
    parser.add_argument("--first", type=int, default=0, help="number of the first crash")
    parser.add_argument("--texts", type=Path, help="folder for what each crash printed")
    parser.add_argument("--folder", type=Path, help="folder that keeps the origins for the next run")
    options = parser.parse_args()
    print("| # | during | what went wrong | salt | password | master key | database | `up`s |")
    print("|---|---|---|---|---|---|---|---|")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        base = options.folder or Path(folder)
        sandboxes = Sandboxes(TemporaryFolders(base))
        try:
            for number in range(options.first, options.first + options.count):
                case, texts = crash(options.seed, number), list[str]()
                if case.victim == FULL_DISK and os.geteuid() != 0:
                    continue
                try:
                    row = suffer(sandboxes, case, texts)
                except AssertionError as error:  # a sandbox did not start
                    print(f"{number} was not run: {error}", file=sys.stderr)
                    bad += 1
                    continue
                bad += is_bad(row)
                print(f"| {number} | {' | '.join(row)} |", flush=True)
                if options.texts:
                    (options.texts / f"{number}.txt").write_text(f"\n{'=' * 60}\n".join(texts))
        finally:
            sandboxes.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
