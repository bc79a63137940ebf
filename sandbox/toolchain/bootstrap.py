"""Makes this clone ready to run: a virtual environment with the locked packages, and beside it the toolchain and what
containers run.

`python -m sandbox.toolchain.bootstrap [--packages-only]`, run by make. What is ready already is left as it is. The
seconds that each phase took go to .sandbox/bootstrap.json. Standard library only, and readable by Pythons too
old for the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox.phases import Phases, say
from sandbox.toolchain.cache import locked

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv"
PYTHON = VENV / "bin" / "python"
# Written last: an environment without it was left half-made.
STAMP = VENV / "complete"
REQUIREMENTS = REPOSITORY / "requirements-dev.txt"
REPORT = REPOSITORY / ".sandbox" / "bootstrap.json"

SUPPORTED = ("3.11", "3.12", "3.13")
NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python")
PROBE = "import platform; print(platform.python_version()); import ensurepip, venv"


class BootstrapError(Exception):
    """This clone cannot be made ready; the message says why and what to do."""


def choose_python() -> tuple[str, str]:
    """A supported interpreter that can make virtual environments, and its version, e.g. "3.12".

    The one that runs this comes first, then those on PATH. Raises BootstrapError, naming what was found.
    """
    found = []
    on_path = [path for path in map(shutil.which, NAMES) if path]
    for path in dict.fromkeys([sys.executable, *on_path]):
        probe = subprocess.run([path, "-c", PROBE], capture_output=True, text=True)
        version = probe.stdout.strip()
        minor = version.rpartition(".")[0]
        if minor in SUPPORTED and probe.returncode == 0:
            return path, minor
        lack = (
            " without ensurepip (on Debian and Ubuntu: apt install python3-venv)"
            if minor in SUPPORTED
            else ""
        )
        found.append(f"  {path} is {version or 'not working'}{lack}")
    raise BootstrapError(
        "\n".join(
            [
                f"Python {', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]} is needed. Found:",
                *found,
                "Install one, or name one that is not on PATH: make up PYTHON=/path/to/python3.12",
            ]
        )
    )


def stamp(version: str) -> str:
    """What a complete environment's stamp says. Its scripts hold its path, so a moved one is outdated."""
    return hashlib.sha256("\0".join([REQUIREMENTS.read_text(), version, str(VENV)]).encode()).hexdigest()


def make_environment(python: str, phases: Phases) -> None:
    """Make an empty environment in the place of a half-made or outdated one."""
    with phases.phase("Virtual environment"):
        if subprocess.run([python, "-m", "venv", "--clear", str(VENV)]).returncode:
            raise BootstrapError(f"{python} could not make a virtual environment in {VENV}; see above.")


def install_packages(version: str, phases: Phases) -> None:
    """Install exactly what the lock file lists, with the user's own pip settings."""
    with phases.phase("Python packages"):
        # The lock is complete: nothing to resolve. Most modules are never imported: not worth compiling.
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--require-hashes"]
        command = [str(PYTHON), "-m", "pip", "install", *options, "--requirement", str(REQUIREMENTS)]
        if subprocess.run(command).returncode:
            raise BootstrapError(
                f"pip could not install {REQUIREMENTS.name}; see above. Check the network and pip's settings "
                "(`pip config list`); then run the same command again."
            )
        STAMP.write_text(stamp(version))


def make_ready(packages_only: bool, phases: Phases) -> None:
    """Bring the environment and the toolchain up to date, side by side. Raises BootstrapError."""
    python, version = choose_python()
    stale = not (PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp(version))
    if stale:
        make_environment(python, phases)
    with tempfile.TemporaryDirectory() as directory:
        reports = Path(directory)
        running: list[subprocess.Popen[bytes]] = []

        def start(module: str) -> subprocess.Popen[bytes]:
            # A session of its own, so that Ctrl-C reaches it once, from here.
            command = [str(PYTHON), "-m", f"sandbox.toolchain.{module}", str(reports / f"{module}.json")]
            running.append(subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True))
            return running[-1]

        try:
            toolchain = None if packages_only else start("build")
            if stale:
                install_packages(version, phases)
            containers = None if packages_only else start("containers")
            if toolchain and toolchain.wait():
                raise BootstrapError("The toolchain is not ready; see above.")
            if containers and containers.wait():
                say("Without what containers run, `make up OPTIONS=--played` plays all pods.")
        finally:
            for process in running:
                process.terminate()
                process.wait()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # pip or npm, which it was running
        for report in reports.iterdir():
            phases.seconds.update(json.loads(report.read_text()))


def write_report(phases: Phases) -> None:
    """Note what this run took, and on how many cores."""
    facts = {"cores": os.cpu_count(), "machine": platform.platform(), "seconds": phases.seconds}
    REPORT.write_text(json.dumps(facts, indent=2) + "\n")


def main() -> int:
    """Make ready and report; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    phases, start = Phases(), time.monotonic()
    try:
        with locked(REPORT.parent):
            make_ready("--packages-only" in sys.argv[1:], phases)
    except BootstrapError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted: run the same command again to go on from there.")
        return 130
    if phases.seconds:
        phases.seconds["Together"] = round(time.monotonic() - start, 1)
        write_report(phases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
