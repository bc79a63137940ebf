"""`python -m tools.validate --stack STACK`: checks a real installation; exits 0 only if every check passed."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import rich

from tools.validate import table
from tools.validate.admin import Admin
from tools.validate.checks import CHECKS, Limits, Result, Run, run_all
from tools.validate.errors import ValidateError
from tools.validate.installation import installation, master_key
from tools.validate.reach import Reach, Url, through_cluster

SANDBOX = "LLM_GATEWAY_SANDBOX"
"""Environment variable that the sandbox sets for every process in it."""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.validate", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--url", default="", help="of the proxy; without it: kubectl port-forward")
    parser.add_argument("--context", help="of your kubeconfig; without it: gcloud makes one for this run")
    parser.add_argument("--model", help="alias to spend on; without it: the stack's first")
    parser.add_argument("--master-key-file", type=Path, help="else LITELLM_MASTER_KEY, else Secret Manager")
    parser.add_argument(
        "--without", action="append", default=[], choices=list(CHECKS), help="leave a check out"
    )
    parser.add_argument("--requests", type=int, default=Limits.requests, help="at most, to spend LOW")
    parser.add_argument(
        "--patience", type=float, default=Limits.patience, help="seconds that spend may be late"
    )
    parser.add_argument("--json", type=Path, help="write the results there, too")
    return parser.parse_args(arguments)


def validate(chosen: argparse.Namespace, reach: Reach | None = None) -> bool:
    """Check, print, and say whether everything passed; `reach` instead of what the options say. Raises ValidateError."""
    if SANDBOX in os.environ:
        raise ValidateError("this is a sandbox, where no container runs: there is no proxy to validate")
    found = installation(chosen.stack)
    model = chosen.model or next(iter(found.models), "")
    if model not in found.models:
        raise ValidateError(f"the stack has no model {model!r}; it has {', '.join(found.models) or 'none'}")
    key = master_key(found.master_key_secret, chosen.master_key_file)
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        if reach is None:
            reach = (
                Url(chosen.url) if chosen.url else stack.enter_context(through_cluster(found, chosen.context))
            )
        _ = reach.url  # no tunnel, no checks
        run = Run(
            Admin(reach, key, secrets.token_hex(4)),
            found.models,
            model,
            Limits(chosen.requests, chosen.patience),
        )
        try:
            run_all(run, chosen.without, results)
        finally:
            rich.print(table.table(results))
            if chosen.json:
                chosen.json.write_text(table.document(chosen.stack, results) + "\n")
    return table.passed(results)


def _end(number: int, _: object) -> NoReturn:
    # Once: a second signal must not end the deleting that this one starts.
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Exit 0 if every check passed, 1 if one did not, 2 if there was nothing to check, 128 + n after signal n."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _end)
    try:
        sys.exit(0 if validate(options(sys.argv[1:])) else 1)
    except ValidateError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
