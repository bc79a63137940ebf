"""`python -m tools.report`: writes the report of an `up`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.report import page


def main() -> int:
    """Write the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.report", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="what `pulumi stack export` wrote after it")
    parser.add_argument("--events", type=Path, required=True, help="what `pulumi up --event-log` wrote")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    parser.add_argument("--answer", type=Path, help="what the sandbox wrote of its request to the gateway")
    parser.add_argument("--title", help="default: project and stack")
    options = parser.parse_args()
    try:
        page.write(options.state, options.events, options.out, options.title, options.answer)
    except (OSError, ValueError) as error:
        print(f"error: no report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
