"""`python -m tools.validate --stack STACK`: checks a real installation; exits 0 only if all checks passed."""

from __future__ import annotations

import argparse
import contextlib
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

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.validate", description=__doc__)
    parser.add_argument("--stack", required=True)
    add = parser.add_argument
    add("--url", default="", help="of the proxy; default: kubectl port-forward")
    add("--context", help="of your kubeconfig; default: one that gcloud makes for this run")
    add("--model", help="alias to spend on; default: the stack's first")
    add("--master-key-file", type=Path, help="default: LITELLM_MASTER_KEY, else Secret Manager")
    add("--without", action="append", default=[], choices=list(CHECKS), help="leave a check out")
    add("--requests", type=int, default=Limits.requests, help="most requests to spend the low budget with")
    add("--timeout", type=float, default=Limits.timeout, help="seconds to wait until spend is recorded")
    add("--json", type=Path, help="also write the results to this file")
    return parser.parse_args(arguments)


def validate(chosen: argparse.Namespace, reach: Reach | None = None) -> bool:
    """Run and print the checks; returns whether all passed. `reach` overrides options. Raises ValidateError."""
    found = installation(chosen.stack)
    model = chosen.model or next(iter(found.models), "")
    if model not in found.models:
        raise ValidateError(f"the stack has no model {model!r}; it has {', '.join(found.models) or 'none'}")
    key = master_key(found.master_key_secret, chosen.master_key_file)
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        if reach is None and chosen.url:
            reach = Url(chosen.url)
        elif reach is None:
            reach = stack.enter_context(through_cluster(found, chosen.context))
        _ = reach.url  # opens the tunnel: without one there is nothing to check
        admin = Admin(reach, key, secrets.token_hex(4))
        run = Run(admin, found.models, model, Limits(chosen.requests, chosen.timeout))
        try:
            run_all(run, chosen.without, results)
        finally:
            rich.print(table.table(results))
            if chosen.json:
                chosen.json.write_text(table.document(chosen.stack, results) + "\n")
    return table.passed(results)


def _end(number: int, _: object) -> NoReturn:
    # A second signal must not stop the cleanup that this one starts.
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Exit 0 if every check passed, 1 if one did not, 2 if none could run, 128 + n after signal n."""
    for number in SIGNALS:
        signal.signal(number, _end)
    try:
        sys.exit(0 if validate(options(sys.argv[1:])) else 1)
    except ValidateError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
