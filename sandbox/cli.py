"""The sandbox's commands: `python -m sandbox COMMAND`; `--help` lists them.

An operation reads the stack's settings anew, with what --charts and --config-overlay make of them; `shell` and `exec`
work with those of the last operation.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from sandbox import emulators_daemon, gateway, latency, stack_file
from sandbox.charts import installed
from sandbox.cluster import control_plane
from sandbox.environment import environment
from sandbox.errors import SandboxError
from sandbox.google.cloud import GPU_STOCKOUT, Cloud
from sandbox.google.project import enable
from sandbox.nodes import pods_daemon
from sandbox.operations import OPERATIONS, operate, write_report
from sandbox.paths import HOME_VARIABLE, PROGRAM_VARIABLE, REPOSITORY, Home
from sandbox.phases import say, timed
from sandbox.processes import run, running, stop
from sandbox.start import Sandbox, bring_up


def read_settings(root: Path, stack: str, charts: Path | None, overlay: Path | None) -> stack_file.Settings:
    """The stack's settings as they are to run here, with the charts of a folder; None: with the upstream ones."""
    content = stack_file.read_stack_file(root, stack)
    folder = charts if stack_file.is_gateway(content) else None
    return stack_file.prepare(content, folder, stack_file.read_overlay(overlay) if overlay else {})


def shell(box: Sandbox) -> int:
    """An interactive shell in the sandbox's environment."""
    program = os.environ.get("SHELL") or "/bin/sh"
    (box.home.user / ".bashrc").write_text(f"PS1='(sandbox {box.stack}) \\$ '\n")
    (box.home.user / ".zshrc").write_text(f"PROMPT='(sandbox {box.stack}) %# '\n")
    say(
        f"A shell in the sandbox {box.home.root}, stack {box.stack}; `exit` leaves it.\n"
        f"  on PATH: {', '.join(sorted(program.name for program in box.home.bin.iterdir()))}\n"
        f"  in {box.root}, plain `pulumi up`, `pulumi stack output` and so on act on this stack; another program's\n"
        "  folder has its own stacks and settings; KUBECONFIG is the sandbox's\n"
        f"  settings are the copy {box.home.stack_file(box.stack)}: the next `make up` writes it anew"
    )
    return run([program, "-i"], box.env, box.root)


def status(box: Sandbox) -> int:
    """Say what runs. Exit code 0 when the sandbox is up, 3 when it is not."""
    up = control_plane.is_up(box.home)
    say(f"sandbox {box.home.root}")
    say(f"  control plane: {control_plane.api(box.home).server if up else 'down'}")
    say(f"  emulators: {'up' if emulators_daemon.is_up(box.home) else 'down'}")
    if pods_daemon.runs(box.home):
        say(f"  node runtime: {'up' if pods_daemon.is_up(box.home) else 'down'}")
    say(f"  processes: {', '.join(sorted(set(running(box.home).values()))) or 'none'}")
    return 0 if up else 3


def down(home: Home) -> int:
    """Stop everything; state, settings and the cluster's objects stay for the next `up`."""
    if not home.root.exists():
        say(f"no sandbox at {home.root}: nothing to stop")
        return 0
    with control_plane.exclusive(home), timed(f"sandbox {home.root}: nothing is running"):
        for name in stop(home):
            say(f"  stopped {name}")
        for path in (home.daemon_ready, home.pods_ready):
            path.unlink(missing_ok=True)
    return 0


def down_all(root: Path) -> int:
    """Stop every sandbox of a program's folder; one that cannot be stopped keeps no other one running."""
    left: list[str] = []
    for folder in sorted((root / ".sandbox").glob("*/")):
        try:
            down(Home(folder))
        except SandboxError as error:
            left.append(str(error))
    if left:
        raise SandboxError("\n".join(left))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--stack", help="which Pulumi.<stack>.yaml (default: dev; down: all)")
    common.add_argument("--home", type=Path, help="the sandbox's folder (default: .sandbox/<stack>)")
    common.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the program's folder (default: this one)"
    )
    common.add_argument(
        "--latency", type=_scale, metavar="SCALE", help="take time as GKE does, times SCALE; 0: none"
    )
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--config-overlay", type=Path, metavar="FILE", help="YAML merged over the settings' config"
    )
    settings.add_argument(
        "--charts",
        type=_charts,
        default=stack_file.CHARTS,
        metavar="contract|upstream|FOLDER",
        help="where charts are from; all but the contract charts bring their own CRDs",
    )
    settings.add_argument(
        "--played",
        action="store_true",
        default=None,
        help="play the pods instead of running those of known images; from a home's first start on",
    )
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for operation in OPERATIONS:
        command = commands.add_parser(
            operation, parents=[common, settings], help=f"pulumi {operation} in the sandbox"
        )
        if operation in ("up", "preview"):
            command.add_argument(
                "--allow",
                action="append",
                default=[],
                metavar="NAME",
                help="a resource, by name or URN, that the guard lets go",
            )
        if operation == "up":
            command.add_argument(
                "--skip-preview",
                action="store_true",
                help="no preview first: neither policies nor guard stop it",
            )
    commands.add_parser("start", parents=[common, settings], help="start it, without an operation")
    commands.add_parser("down", parents=[common], help="stop the sandbox, or all of this clone")
    commands.add_parser("shell", parents=[common], help="a shell in it")
    commands.add_parser("status", parents=[common], help="say what runs")
    commands.add_parser("url", parents=[common], help="print the gateway's URL on this machine")
    reading = commands.add_parser("key", parents=[common], help="print a declared virtual key's value")
    reading.add_argument("name", help="the key's name in the settings")
    validate = commands.add_parser("validate", parents=[common], help="check the gateway that runs in it")
    validate.add_argument(
        "arguments", nargs="*", metavar="OPTION", help="of `python -m tools.validate`, after --"
    )
    commands.add_parser("report", parents=[common], help="write the page about the last up anew")
    commands.add_parser(
        "charts", parents=[common], help="compare the last up's charts with the contract charts"
    )
    execute = commands.add_parser("exec", parents=[common], help="run one command in it: exec -- COMMAND")
    execute.add_argument("arguments", nargs="+", metavar="COMMAND")
    stockout = commands.add_parser(
        "stockout", parents=[common], help="take the GPU capacity away, or give it back"
    )
    stockout.add_argument("switch", choices=("on", "off"))
    api = commands.add_parser("enable-api", parents=[common], help="enable APIs, as gcloud does at Google")
    api.add_argument("apis", nargs="+", metavar="API", help="such as aiplatform.googleapis.com")
    api.add_argument("--project", required=True, help="the project to enable them in")
    return parser.parse_args(arguments)


def _charts(text: str) -> Path | None:
    if text == "upstream":
        return None
    folder = stack_file.CHARTS if text == "contract" else Path(text).absolute()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder of charts, nor `contract` or `upstream`")
    return folder


def _scale(text: str) -> float:
    with contextlib.suppress(ValueError):
        scale = float(text)
        if math.isfinite(scale) and scale >= 0:
            return scale
    raise argparse.ArgumentTypeError(f"{text} is not a factor: give 0 (no latency), 1 (as on GKE) or another")


def dispatch(options: argparse.Namespace) -> int:
    root = options.root.resolve()
    if os.environ.get(HOME_VARIABLE):
        raise SandboxError("this is a sandbox's shell: use plain pulumi here, or `exit` first.")
    if options.command == "down" and not (options.home or options.stack):
        return down_all(root)
    stack = options.stack or "dev"
    home = Home((options.home or root / ".sandbox" / stack).resolve(), stack_file.project_of(root))
    if any(character.isspace() for character in str(home.root)):
        raise SandboxError(
            f"kwokctl cannot work in a folder with a space in its path, {str(home.root)!r}: move the clone, or choose "
            "another folder with `python -m sandbox ... --home`."
        )
    if options.command == "down":
        return down(home)
    box = Sandbox(home, stack, root, environment(home, stack) | {PROGRAM_VARIABLE: str(root)})
    if options.command == "status":
        return status(box)
    if options.command == "url":
        print(gateway.url(home))
        return 0
    if options.command == "key":
        print(gateway.key(box, options.name))
        return 0
    if options.command == "report":
        return write_report(box)
    if options.command == "charts":
        return installed.compare_all(home)
    if options.command in ("stockout", "enable-api") and not home.cloud.exists():
        raise SandboxError(f"there is no sandbox at {home.root} yet: `make up` makes it.")
    if options.command == "enable-api":
        for api in options.apis:
            enable(Cloud(home.cloud), options.project, api)
        say(f"enabled in {options.project}: {', '.join(options.apis)}")
        return 0
    if options.command == "stockout":
        Cloud(home.cloud).set_switch(GPU_STOCKOUT, "true" if options.switch == "on" else "false")
        say(f"GPU capacity: {'none' if options.switch == 'on' else 'as asked for'}")
        return 0
    copy = home.stack_file(stack)
    if options.command in (*OPERATIONS, "start") or not copy.exists():
        charts, overlay = (
            getattr(options, "charts", stack_file.CHARTS),
            getattr(options, "config_overlay", None),
        )
        bring_up(box, read_settings(root, stack, charts, overlay), getattr(options, "played", None))
    else:
        bring_up(box, yaml.safe_load(copy.read_text()))
    if options.latency is not None:
        latency.set_scale(home, options.latency)
    match options.command:
        case "start":
            return status(box)
        case "shell":
            return shell(box)
        case "validate":
            return gateway.validate(box, options.arguments)
        case "exec":
            return run(options.arguments, box.env, root)
        case operation:
            skip_preview = getattr(options, "skip_preview", False)
            return operate(box, operation, getattr(options, "allow", ()), preview_first=not skip_preview)


def main() -> int:
    try:
        return dispatch(parse(sys.argv[1:]))
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: the disk is full: make room (`df -h`), and run it again ({error})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `make down` stops what was started", file=sys.stderr)
        return 130
