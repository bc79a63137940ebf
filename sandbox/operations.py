"""Runs one engine operation in a sandbox, and what people see of it: the tables, the guard's findings, the report.

What an operation did is read from its event log by the project's tools, as processes of their own: the sandbox knows
them by their commands alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sandbox import gateway
from sandbox.paths import REPOSITORY
from sandbox.phases import say
from sandbox.processes import fork_command, run
from sandbox.start import Sandbox

POLICY_PACK = REPOSITORY / "policy"
OPERATIONS = ("up", "preview", "refresh", "destroy")


def operate(box: Sandbox, operation: str, allow: Sequence[str], preview_first: bool) -> int:
    """Run one engine operation, its output as always, then the summary. Returns pulumi's exit code.

    With `preview_first`, an `up` comes after a preview, which is shown only where it fails, so that policies and guard
    stop it before anything is touched. `allow` names what the guard lets be deleted or replaced.
    """
    if operation != "up" or not preview_first:
        code = _run_engine(box, operation, allow, checked=operation == "preview")
        if operation == "preview":
            _write_diff(box)
        return code
    text = box.home.logs / "preview.txt"
    start = time.monotonic()
    with text.open("w") as output:
        code = _run_engine(box, "preview", allow, True, output)
    if code:
        print(text.read_text(), end="")
        return code
    say(f"previewed: no policy and no guard stops this up ({time.monotonic() - start:.1f} s)")
    return _run_engine(box, "up", allow, True)


def _run_engine(
    box: Sandbox, operation: str, allow: Sequence[str], checked: bool, output: IO[str] | None = None
) -> int:
    """Run one engine operation, with the policies where it is `checked`; `output` takes everything it prints."""
    log = box.home.event_log(box.stack, operation)
    log.unlink(missing_ok=True)
    if operation == "up":
        box.home.answer.unlink(missing_ok=True)
    command = ["pulumi", operation, "--event-log", str(log), "--suppress-outputs"]
    command += [] if operation == "preview" else ["--yes"]
    command += ["--policy-pack", str(POLICY_PACK)] if checked else []
    # Destroy keeps its preview: that is where the engine refuses, before it has deleted half of the stack.
    command += ["--skip-preview"] if operation in ("up", "refresh") else []
    start = time.monotonic()
    with _event_times(box, log):
        code = run(command, box.env, box.root, output)
    if log.exists():
        allowed = [part for name in allow for part in ("--allow", name)]
        code = _tool(box, "tools.review", "table", str(log), *allowed, output=output) or code
        if operation == "up" and code:
            # Its own exit code says only whether it could read the cluster.
            _tool(box, "tools.explain", "--events", str(log), output=output)
    took = time.monotonic() - start
    print(f"pulumi {operation}: exit code {code} ({took:.1f} s)", file=output or sys.stderr, flush=True)
    if operation == "up":
        answers = code == 0 and gateway.ask(box)
        write_report(box)
        if answers:
            gateway.show(box)
    return code


@contextmanager
def _event_times(box: Sandbox, log: Path) -> Generator[None]:
    """Have the arrival of the log's events noted while the block runs."""
    command = [*fork_command(box.home, "tools.report.event_times"), str(log)]
    with subprocess.Popen(command, env=_tool_environment(box), stdin=subprocess.PIPE) as noting:
        yield
        noting.communicate()


def _tool(box: Sandbox, module: str, *arguments: str, output: IO[str] | None = None) -> int:
    command = [*fork_command(box.home, module), *arguments]
    errors = output and subprocess.STDOUT
    return subprocess.run(command, env=_tool_environment(box), stdout=output, stderr=errors).returncode


def _tool_environment(box: Sandbox) -> Mapping[str, str]:
    return {**box.env, "PYTHONPATH": str(REPOSITORY)}


def write_report(box: Sandbox) -> int:
    """Write the page about the last `up` and say where it is. Returns 1, having said why, where that cannot be done."""
    log, page = box.home.event_log(box.stack, "up"), box.home.report
    if not log.exists():
        say(f"no report: no `up` of stack {box.stack} ran here; `make up` runs one and writes its report.")
        return 1
    files = {"--state": box.home.checkpoint(box.stack), "--events": log, "--out": page}
    files |= {"--answer": box.home.answer} if box.home.answer.exists() else {}
    code = _tool(box, "tools.report", *(str(part) for option in files.items() for part in option))
    if code == 0:
        say(f"report of the last up: {page}")
    return code


def _write_diff(box: Sandbox) -> None:
    """Leave what `pulumi preview --diff` would have printed beside the last preview's event log."""
    log = box.home.event_log(box.stack, "preview")
    if not log.exists():
        return
    replay = ["pulumi", "replay-events", "update", str(log), "--preview", "--diff", "--color", "never"]
    with log.with_suffix(".diff").open("w") as diff:
        run(replay, box.env, box.root, diff)
