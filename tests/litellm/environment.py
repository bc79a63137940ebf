"""Programs of the virtual environment with the real LiteLLM proxy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.toolchain.containers import litellm


def python() -> Path:
    """The environment's interpreter; the first caller on a machine makes it. Raises SandboxError."""
    return litellm() / "bin" / "python"


def printed_by(*command: str | Path, stdin: str = "") -> Any:
    """The JSON that a program of the environment prints. Raises subprocess.CalledProcessError where it fails."""
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    line = [python(), *command]
    done = subprocess.run(line, input=stdin, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.stdout.write(f"{python()}\n")
