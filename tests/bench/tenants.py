"""How long an `up` and the tenants' Job take for more and more virtual keys, and what of that the engine's checkpoints are.

At each step the engine writes the stack's whole state, so that the writes of many keys take the square of their number.
With PULUMI_SKIP_CHECKPOINTS it writes the state at the end alone.
"""

from __future__ import annotations

import re
import time

from tests.support.driver import Sandbox
from tests.support.serving import kubectl

KEYS_PER_TEAM = 4
WITH_CHECKPOINTS, WITHOUT = (50, 200), (50, 200, 1000)


def measure(sandbox: Sandbox) -> None:
    """Bring up the dev stack without keys, then with more and more; print what each further key took."""
    print(f"\n{'keys':>6}{'up, s':>9}{'per further key':>17}{'its Job, s':>13}{'per further key':>17}")
    for title, numbers, variables in (
        ("the engine writes the state at each step", WITH_CHECKPOINTS, ""),
        ("the engine writes the state at the end", WITHOUT, "PULUMI_SKIP_CHECKPOINTS=true"),
    ):
        print(title)
        up(sandbox, 0, "PULUMI_SKIP_CHECKPOINTS=true")
        for had, keys in zip((0, *numbers), numbers, strict=False):
            took, further = up(sandbox, keys, variables), keys - had
            job = job_seconds(kubectl(sandbox, "logs", "--tail=1", "-l", LABEL).succeeded().text)
            print(f"{keys:6}{took:9.1f}{took / further:17.3f}{job:13.1f}{job / further:17.3f}", flush=True)


LABEL = "app.kubernetes.io/name=litellm-tenants"


def up(sandbox: Sandbox, keys: int, *variables: str) -> float:
    """The seconds of an `up` with so many keys, four per team, and with variables of the engine's environment."""
    teams = [{"name": f"team-{number}", "budget": 500} for number in range(-(-keys // KEYS_PER_TEAM))]
    virtual_keys = [
        {"name": f"key-{number}", "team": f"team-{number // KEYS_PER_TEAM}", "budget": 20, "rpm": 60}
        for number in range(keys)
    ]
    declared = {"llm-gateway:teams": teams, "llm-gateway:virtualKeys": virtual_keys}
    sandbox.run("start", config=declared).succeeded()
    start = time.monotonic()
    pulumi = ("pulumi", "up", "--yes", "--skip-preview", "--suppress-outputs")
    sandbox.run("exec", "--", "env", *filter(None, variables), *pulumi).succeeded()
    return time.monotonic() - start


def job_seconds(log: str) -> float:
    """The seconds in the last line of the Job's log. Raises ValueError where something failed."""
    found = re.search(r"^teams: .*; keys: .*; \d+ calls in ([\d.]+) s$", log, re.MULTILINE)
    if not found or "failed" in log:
        raise ValueError(log)
    return float(found[1])
