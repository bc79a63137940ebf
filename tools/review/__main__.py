"""`python -m tools.review table|comment|guard|stacks`: reviews an operation by the engine's event log."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.review import events, stacks
from tools.review.comment import KINDS, comment
from tools.review.model import review

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    if options.command == "stacks":
        try:
            known = stacks.environments(ROOT)
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if options.changed_files:
            source = Path("/dev/stdin" if options.changed_files == "-" else options.changed_files)
            known = stacks.touched(source.read_text().splitlines(), known, ROOT)
        print(json.dumps(known))
        return 0
    from tools.review import guard  # `stacks` runs before anything is installed

    if options.command == "guard":
        return guard.report(options.log, options.allow)
    try:
        operation = events.read(options.log)
    except (OSError, ValueError) as error:
        print(
            f"error: {options.log} is no event log that can be read: {error}. `make preview` makes one, or --event-log.",
            file=sys.stderr,
        )
        return 1
    found = guard.findings(operation, options.allow) if operation.preview else []
    seen = review(operation, found)
    if options.command == "comment":
        try:
            diff = options.diff.read_text(errors="replace") if options.diff else ""
            print(comment(seen, options.stack, options.kind, diff), end="")
        except (OSError, ValueError) as error:
            print(f"error: no comment: {error}", file=sys.stderr)
            return 1
    else:
        from tools.review import terminal

        terminal.show(operation, seen)
        return guard.say(found)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.review", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    log = argparse.ArgumentParser(add_help=False)
    log.add_argument("log", type=Path, metavar="LOG", help="what `pulumi ... --event-log LOG` wrote")
    log.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a resource, by name or URN, that the preview may delete or replace",
    )
    commands.add_parser(
        "table", parents=[log], help="as a table for the terminal; exit 1 if a preview would lose data"
    )
    commands.add_parser("guard", parents=[log], help="exit 1 if a preview would lose data")
    markdown = commands.add_parser("comment", parents=[log], help="as Markdown for GitHub")
    markdown.add_argument("--stack", required=True, help="the stack's name")
    markdown.add_argument("--diff", type=Path, metavar="FILE", help="what `pulumi preview --diff` printed")
    markdown.add_argument("--kind", choices=KINDS, default="preview", help="what the comment is about")
    changed = commands.add_parser("stacks", help="the environments, as a JSON list")
    affected = "only those that these changed files affect: one path per line; - is stdin"
    changed.add_argument("--changed-files", metavar="FILE", help=affected)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
