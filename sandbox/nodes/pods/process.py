"""One container of a pod: its process, log, state and probes' results.

Its process group ends with it. Where the sandbox has root and the spec names a user, the process runs as that user, or as
nobody where this machine does not know it, with the right to read what root can (its folders lie below root's). What it
does not do: hold a container to its limits of CPU and memory (nothing is throttled, and nothing is killed for memory: a
cgroup would need root), capabilities, seccomp, a root file system of its own, read-only or not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from sandbox.cluster.client import Json
from sandbox.cluster.status import timestamp
from sandbox.processes import CONTAINER, began_at

_FIRST_BACK_OFF, _LONGEST_BACK_OFF, _FORGOTTEN_AFTER = 10.0, 300.0, 600.0
_MESSAGE_BYTES = 2048
_KEPT_LOGS = 2
Stream = int | IO[bytes]
"""A file, a descriptor, or one of subprocess's constants."""


class Program(NamedTuple):
    """What to run: argv of this machine, all variables, and the folder to run in."""

    words: list[str]
    variables: Mapping[str, str]
    directory: Path


class StartError(Exception):
    """A program cannot be started; the message is the container runtime's."""


@dataclass
class Container:
    """One container; `folder` holds its logs and what it sees as its root folder."""

    spec: Json
    folder: Path
    mark: str
    restarts: int = 0
    played: bool = False
    init: bool = False
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Json = field(default_factory=dict)
    started: bool = False
    ready: bool = False
    not_before: float = 0.0
    program: Program | None = None
    _process: subprocess.Popen[bytes] | None = None
    _beside: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _as_user: list[str] = field(default_factory=list)
    _back_off: float = 0.0
    _ran_since: float = 0.0

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def sidecar(self) -> bool:
        """Whether it is an init container that goes on beside the others."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """The last run's exit code; None before the first run has ended."""
        over = self.state.get("terminated") or self.last_state.get("terminated")
        return over["exitCode"] if over else None

    @property
    def root(self) -> Path:
        """What stands for the container's own file system: a folder to run in and to write to."""
        return self.folder / "root"

    def log(self, back: int = 0) -> Path:
        """The log of this run, or of the run that was `back` runs before."""
        return self.folder / f"{self.restarts - back}.log"

    def start(self, program: Program, user: int | None, groups: list[int]) -> None:
        """Start the process. Raises StartError."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.folder.joinpath(f"{self.restarts - _KEPT_LOGS}.log").unlink(missing_ok=True)
        self.program = program
        self._as_user = [] if user is None else as_user(user, groups, program.directory)
        self._ran_since = time.monotonic()
        try:
            with self.log().open("ab") as log:
                self._process = self._spawn(
                    program, program.words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
        except OSError as error:
            raise StartError(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
                f'failed: unable to start container process: exec: "{program.words[0]}": {error.strerror}'
            ) from error
        pid = self._process.pid
        with contextlib.suppress(OSError):  # it may be over already
            note = f"{pid} {began_at(pid)} {self.mark.rpartition(':')[2]}"
            (self.folder / "process").write_text(note)
        self.state = {"running": {"startedAt": timestamp()}}

    def play(self) -> None:
        """Be running, or done where it is an init container, without a process."""
        now = timestamp()
        done = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        self.state = (
            {"terminated": done} if self.init and not self.sidecar else {"running": {"startedAt": now}}
        )

    def ended(self) -> bool:
        """Whether the process has ended since the last look; its state tells how."""
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return False
        self.kill()
        self._process = None
        self.over(128 - code if code < 0 else code)
        return True

    def over(self, code: int, reason: str | None = None, message: str | None = None) -> None:
        """Note the end of a run: its exit code, and reason and message where they are not the kubelet's usual ones."""
        running = self.state.get("running", {})
        terminated = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": running.get("startedAt", timestamp()),
            "finishedAt": timestamp(),
        }
        if code and message is None and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = self.tail()
        if message:
            terminated["message"] = message
        self.started = self.ready = False
        self.state = {"terminated": terminated}
        if self._ran_since and time.monotonic() - self._ran_since > _FORGOTTEN_AFTER:
            self._back_off = 0.0

    def schedule_restart(self) -> None:
        """Choose when the next run starts: at once after the first, then after 10 s, 20 s, ... as the kubelet."""
        self.not_before = time.monotonic() + self._back_off
        self._back_off = min(max(self._back_off * 2, _FIRST_BACK_OFF), _LONGEST_BACK_OFF)

    def wait_for_restart(self, pod: Json) -> None:
        """Be in CrashLoopBackOff."""
        delay = max(self._back_off / 2, _FIRST_BACK_OFF)
        metadata = pod["metadata"]
        where = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        message = f"back-off {_go(delay)} restarting failed container={self.name} pod={where}"
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}

    def again(self) -> None:
        """Make ready for another run."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.restarts += 1

    def signal(self, number: signal.Signals) -> None:
        """Signal the container's first process."""
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End the whole group at once, and the commands beside it."""
        beside = [process for process in self._beside if process.poll() is None]
        for process in [self._process, *beside] if self._process else beside:
            _signal_group(process.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the first process; whether it ended."""
        if self._process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(seconds, 0))
            return True
        return False

    def spawn(
        self, words: Sequence[str], *, stdin: Stream, stdout: Stream, stderr: Stream
    ) -> subprocess.Popen[bytes]:
        """Start a command beside the process, as its user, in its environment and folder; it ends with the container.

        Raises OSError, also where the container has not started.
        """
        if self.program is None:
            raise OSError(errno.ESRCH, "the container has not started")
        process = self._spawn(self.program, words, stdin=stdin, stdout=stdout, stderr=stderr)
        self._beside = [*(running for running in self._beside if running.poll() is None), process]
        return process

    def execute(self, words: list[str], timeout: float) -> tuple[int, str]:
        """Run a command beside the process; exit code and output. Raises TimeoutError after `timeout` seconds."""
        try:
            process = self.spawn(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            return 127, f'exec: "{words[0]}": {error.strerror}'
        with process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                _signal_group(process.pid, signal.SIGKILL)
                raise TimeoutError from error
        return process.returncode, output.decode(errors="replace")

    def _spawn(
        self, program: Program, words: Sequence[str], *, stdin: Stream, stdout: Stream, stderr: Stream
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._as_user, *words],
            env={**program.variables, CONTAINER: self.mark},
            cwd=program.directory,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def tail(self) -> str:
        """The end of the log, as much as a status takes."""
        with contextlib.suppress(FileNotFoundError):
            lines = self.log().read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace").splitlines()[-80:]
            return "\n".join(lines)
        return ""


def as_user(user: int, groups: Sequence[int], directory: Path) -> list[str]:
    """The start of a command that runs as a user, to whom a folder is given; nothing where this process is not root's."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or user == 0 or not setpriv:
        return []
    group = groups[0] if groups else user
    with contextlib.suppress(KeyError):
        user = user if _is_known(user) else pwd.getpwnam("nobody").pw_uid
    os.chown(directory, user, group)
    others = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    rights = [
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ]
    return [setpriv, f"--reuid={user}", f"--regid={group}", others, *rights, "--"]


def _is_known(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _go(seconds: float) -> str:
    """A duration as Go writes it."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
