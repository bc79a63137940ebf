"""`python -m tools.explain --events LOG`: why the `up` with that event log failed, and what to do. It changes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.explain.causes import causes
from tools.explain.cluster import ExplainError, connected
from tools.explain.failures import Failure, failures, kubeconfig
from tools.review import events

NOTHING = (
    "nothing that can be read in the cluster says why. What to do: correct what the engine says of it; if that is no cause "
    "either, it was slow: run `up` again, or give it more time in `timeouts` (docs/settings.md)."
)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.explain", description=__doc__)
    add = parser.add_argument
    add("--events", required=True, type=Path, metavar="LOG", help="what `pulumi up --event-log LOG` wrote")
    add("--context", help="of your kubeconfig; default: the cluster of the stack, as the log names it")
    return parser.parse_args(arguments)


def explain(log: Path, context: str | None) -> list[str]:
    """Lines that say why the operation failed. Raises ExplainError."""
    try:
        operation = events.read(log)
    except (OSError, json.JSONDecodeError) as error:
        raise ExplainError(
            f"{log} is no event log that can be read: {error}. `make up` makes one, or --event-log."
        ) from error
    if operation.succeeded:
        return ["Nothing failed in that `up`."]
    failed = failures(operation)
    if not failed:
        return ["No resource failed: the engine's own errors say what is wrong."]
    lines = ["Why it failed, as the cluster says it now:"]
    with connected(kubeconfig(operation), context) as cluster:
        for failure in failed:
            lines += _about(failure, [str(cause) for cause in causes(cluster, failure)])
        lines += [f"  (your account may not read {path})" for path in sorted(cluster.unreadable)]
    return lines


def _about(failure: Failure, found: Sequence[str]) -> list[str]:
    unexplained = [NOTHING] if failure.type.startswith("kubernetes:") else []
    return [f"  {failure.name}", *(f"    {text}" for text in found or unexplained)]


def main(arguments: Sequence[str]) -> int:
    """Exit 0 if the log was explained, 2 if it could not be."""
    options = _options(arguments)
    try:
        print("\n".join(explain(options.events, options.context)))
    except ExplainError as error:
        print(f"why: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
