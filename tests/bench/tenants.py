"""How long an `up` and the tenants' Job take for more and more virtual keys: in line with their number, or not."""

from __future__ import annotations

import re
import time

from tests.support.driver import Sandbox
from tests.support.serving import kubectl

KEYS = (50, 200, 1000)
KEYS_PER_TEAM = 4


def measure(sandbox: Sandbox) -> None:
    """Bring up the dev stack without keys, then with more and more; print what each further key took."""
    sandbox.up(config=declared(0)).succeeded()
    print(f"\n{'keys':>6}{'up, s':>9}{'per further key':>17}{'its Job, s':>13}{'per further key':>17}")
    had = 0
    for keys in KEYS:
        start = time.monotonic()
        sandbox.up(config=declared(keys)).succeeded()
        up, job = time.monotonic() - start, job_seconds(log(sandbox))
        further = keys - had
        print(f"{keys:6}{up:9.1f}{up / further:17.3f}{job:13.1f}{job / further:17.3f}", flush=True)
        had = keys


def declared(keys: int) -> dict[str, object]:
    """Settings with so many keys, four per team."""
    teams = [{"name": f"team-{number}", "budget": 500} for number in range(-(-keys // KEYS_PER_TEAM))]
    return {
        "llm-gateway:teams": teams,
        "llm-gateway:virtualKeys": [
            {"name": f"key-{number}", "team": f"team-{number // KEYS_PER_TEAM}", "budget": 20, "rpm": 60}
            for number in range(keys)
        ],
    }


def log(sandbox: Sandbox) -> str:
    """What the tenants' Job said last."""
    return kubectl(sandbox, "logs", "--tail=1", "-l", "app.kubernetes.io/name=litellm-tenants").text


def job_seconds(line: str) -> float:
    """The seconds in the last line of the Job's log. Raises ValueError where something failed."""
    found = re.search(r"^teams: .*; keys: .*; \d+ calls in ([\d.]+) s$", line, re.MULTILINE)
    if not found or "failed" in line:
        raise ValueError(line)
    return float(found[1])
