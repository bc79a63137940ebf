"""The virtual environment with the real LiteLLM proxy, apart from ours: their pins do not agree."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.phases import say
from sandbox.toolchain.cache import cache, fingerprint, locked

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def python() -> Path:
    """The environment's interpreter; the first caller on a machine makes it (600 MB, shared by clones).

    Raises subprocess.CalledProcessError where a package cannot be had; pip has said which.
    """
    directory = cache() / "litellm" / fingerprint(REQUIREMENTS.read_text(), platform.python_version())
    interpreter, complete = directory / "bin" / "python", directory / "complete"
    # The lock's folder is not the environment's: making that clears it.
    with locked(directory.parent):
        if not complete.exists():
            say("Installing the real LiteLLM, once a machine ...")
            subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
            install = [interpreter, "-m", "pip", "install", *options, "--require-hashes"]
            subprocess.run([*install, "--requirement", REQUIREMENTS], check=True)
            complete.touch()
    return interpreter


def printed_by(*command: str | Path, stdin: str = "") -> Any:
    """The JSON that a program of the environment prints. Raises subprocess.CalledProcessError where it fails."""
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    line = [python(), *command]
    done = subprocess.run(line, input=stdin, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.stdout.write(f"{python()}\n")
