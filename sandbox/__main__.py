"""The sandbox's commands: `python -m sandbox up|preview|refresh|destroy|down|shell|exec|status|report|stockout`.

An operation reads the stack's settings anew, with what --charts and --config-overlay make of them; `shell` and `exec`
work with those of the last operation.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import yaml

from sandbox import emulators_daemon, latency, other_stack, stack_file
from sandbox.cluster import base_objects, control_plane
from sandbox.cluster.crds import crds_served, fetch_crds, install_crds
from sandbox.environment import environment, make_directories
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.paths import HOME_VARIABLE, REPOSITORY, Home, write_atomically
from sandbox.phases import say
from sandbox.plugins.shims import write_shims
from sandbox.processes import running, stop
from sandbox.toolchain.build import ensure
from tools.review import guard

CHARTS = REPOSITORY / "sandbox" / "charts"
POLICY_PACK = REPOSITORY / "policy"
CHECKED = ("up", "preview")
OPERATIONS = ("up", "preview", "refresh", "destroy")
GPU_STOCKOUT = "gpu_stockout"


@dataclass(frozen=True)
class Sandbox:
    """One sandbox and the stack that runs in it."""

    home: Home
    stack: str
    root: Path
    env: dict[str, str] = field(repr=False)


@contextmanager
def timed(what: str) -> Generator[None]:
    """Say what was done and how long it took, once it is done."""
    start = time.monotonic()
    yield
    say(f"{what} ({time.monotonic() - start:.1f} s)")


def bring_up(box: Sandbox, settings: stack_file.Settings) -> None:
    """Have the control plane, the emulators, the emulated projects and the stack; what is there is left as it is."""
    toolchain = ensure()
    with control_plane.exclusive(box.home), ThreadPoolExecutor() as pool:
        make_directories(box.home)
        write_shims(box.home, toolchain)
        is_up = control_plane.is_up(box.home)
        if not is_up:
            stop(box.home)
        _drop_stale_locks(box.home)
        stack = pool.submit(_init_stack, box)
        if not is_up:
            crds = pool.submit(fetch_crds, box.home)
            with timed(
                "control plane: etcd, kube-apiserver, controller-manager, scheduler and kwok are ready"
            ):
                control_plane.start(box.home, toolchain, box.env)
            crds.result()
        cluster = _existing_cluster(box, settings)
        contents = pool.submit(_fill_cluster, box, cluster)
        _seed_cloud(box, settings, cluster)
        if not emulators_daemon.is_up(box.home):
            with timed("emulators: External Secrets, CloudNativePG, node pools and kubelet are watching"):
                emulators_daemon.start(box.home, box.env)
        contents.result()
        stack.result()
    copy = settings | {"encryptionsalt": stack_file.state_salt(box.home, box.stack)}
    write_atomically(box.home.stack_file(box.stack), yaml.safe_dump(copy, sort_keys=False))


def _drop_stale_locks(home: Home) -> None:
    """Forget the state locks of engines that were killed; only this sandbox's engines use this state."""
    if "pulumi" not in running(home).values():
        shutil.rmtree(home.state / ".pulumi" / "locks", ignore_errors=True)


def _existing_cluster(box: Sandbox, settings: stack_file.Settings) -> stack_file.Cluster | None:
    """The cluster that the gateway is to find; None where a stack in this sandbox makes it."""
    if not stack_file.is_gateway(settings):
        return None
    cluster = stack_file.cluster(settings)
    if cluster.stack and not other_stack.is_ours(box.home, cluster.stack):
        return None
    if any("spec" in row for row in Cloud(box.home.cloud).list("cluster")):
        return None
    return cluster


def _fill_cluster(box: Sandbox, cluster: stack_file.Cluster | None) -> None:
    """What a GKE cluster has from the start, and the operators' CRDs."""
    api = control_plane.api(box.home)
    if cluster:
        for node in base_objects.nodes(cluster.project, cluster.name, cluster.location):
            api.create("/api/v1/nodes", node)
    for storage_class in base_objects.storage_classes():
        api.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    if not crds_served(api, box.home):
        with timed("CRDs of the operators are served"):
            install_crds(api, box.home)


def _seed_cloud(box: Sandbox, settings: stack_file.Settings, cluster: stack_file.Cluster | None) -> None:
    """The projects and the cluster that the stack finds in the emulated cloud, and the stack that names the cluster."""
    server = json.loads(box.home.kubeconfig.read_text())["clusters"][0]["cluster"]
    endpoint, authority = server["server"].removeprefix("https://"), server["certificate-authority-data"]
    cloud = Cloud(box.home.cloud)
    cloud.set_control_plane(endpoint, authority)
    for project in stack_file.google_projects(settings):
        cloud.ensure_project(project, bare=cluster is None)
    if not cluster:
        return
    cloud.ensure_cluster(cluster.project, cluster.location, cluster.name, endpoint, authority)
    if cluster.stack:
        named = {
            "clusterName": cluster.name,
            "clusterLocation": cluster.location,
            "clusterProject": cluster.project,
        }
        other_stack.write_outputs(box.home, cluster.stack, named)


def _init_stack(box: Sandbox) -> None:
    """Create the stack in the home's own backend, from a folder of the home.

    `pulumi stack init` writes the passphrase's salt into the stack file beside Pulumi.yaml, whatever --config-file says.
    """
    other_stack.forget(box.home, f"organization/{box.home.project}/{box.stack}")
    if stack_file.state_salt(box.home, box.stack):
        return
    folder = box.home.stack_file(box.stack).parent
    shutil.copy(box.root / "Pulumi.yaml", folder)
    box.home.stack_file(box.stack).unlink(missing_ok=True)
    env = {name: value for name, value in box.env.items() if name != "PULUMI_OPTION_CONFIG_FILE"}
    command = [str(box.home.bin / "pulumi"), "stack", "init", box.stack, "--non-interactive"]
    with timed(f"stack {box.stack} is in {box.home.state}"):
        answer = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    if answer.returncode:
        raise SandboxError(f"pulumi could not create the stack:\n{answer.stderr}")


def read_settings(root: Path, stack: str, charts: str, overlay: Path | None) -> stack_file.Settings:
    """The stack's settings as they are to run here."""
    content = stack_file.read_stack_file(root, stack)
    return stack_file.prepare(
        content,
        charts=CHARTS if charts == "contract" and stack_file.is_gateway(content) else None,
        overlay=yaml.safe_load(overlay.read_text()) or {} if overlay else {},
    )


def operate(box: Sandbox, operation: str, allow: Sequence[str]) -> int:
    """Run one engine operation, its output as always, then the summary. Returns pulumi's exit code.

    An `up` comes after a preview, which is shown only where it fails, so that policies and guard stop it before
    anything is touched. `allow` names what the guard lets go.
    """
    if operation != "up":
        return _run_engine(box, operation, allow)
    text = box.home.logs / "preview.txt"
    start = time.monotonic()
    with text.open("w") as output:
        code = _run_engine(box, "preview", allow, output)
    if code:
        print(text.read_text(), end="")
        return code
    say(f"previewed: no policy and no guard stops this up ({time.monotonic() - start:.1f} s)")
    return _run_engine(box, "up", allow)


def _run_engine(box: Sandbox, operation: str, allow: Sequence[str], output: IO[str] | None = None) -> int:
    """Run one engine operation; `output` is where everything it prints goes."""
    from tools.report import event_times
    from tools.review import events, terminal
    from tools.review.model import review

    log = box.home.event_log(box.stack, operation)
    log.unlink(missing_ok=True)
    command = ["pulumi", operation, "--event-log", str(log), "--suppress-outputs"]
    command += [] if operation == "preview" else ["--yes"]
    command += ["--policy-pack", str(POLICY_PACK)] if operation in CHECKED else []
    # Destroy keeps its preview: that is where the engine refuses, before it has deleted half of the stack.
    command += ["--skip-preview"] if operation in ("up", "refresh") else []
    start = time.monotonic()
    with event_times.noted(log):
        code = run(command, box.env, box.root, output)
    with redirect_stdout(output or sys.stdout), redirect_stderr(output or sys.stderr):
        if log.exists():
            done = events.read(log)
            found = guard.findings(done, allow) if operation == "preview" else []
            terminal.show(done, review(done, found))
            for each in found:
                say(f"guard: {each.message}")
            code = code or int(bool(found))
        if operation == "preview" and log.exists():
            _write_diff(box, log)
        if operation == "up":
            write_report(box)
        say(f"pulumi {operation}: exit code {code} ({time.monotonic() - start:.1f} s)")
    return code


def write_report(box: Sandbox) -> int:
    """Write the page about the last `up` and say where it is. Returns 1, having said why, where that cannot be done."""
    from tools import report

    log = box.home.event_log(box.stack, "up")
    if not log.exists():
        say(
            f"no report: there was no `up` of stack {box.stack} here; `make up` runs one and writes its report."
        )
        return 1
    try:
        report.write(box.home.checkpoint(box.stack), log, box.home.report)
    except Exception as error:  # whatever it is, it must not hide how the `up` ended
        say(f"no report: {type(error).__name__}: {error}")
        return 1
    say(f"report of the last up: {box.home.report}")
    return 0


def _write_diff(box: Sandbox, log: Path) -> None:
    """Leave what `pulumi preview --diff` would have printed beside a preview's event log."""
    replay = ["pulumi", "replay-events", "update", str(log), "--preview", "--diff", "--color", "never"]
    with log.with_suffix(".diff").open("w") as diff:
        subprocess.run(replay, env=box.env, cwd=box.root, stdout=diff, check=False)


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path, output: IO[str] | None = None) -> int:
    """Run a command in the foreground; it decides what an interrupt means, we wait for it."""
    program = shutil.which(command[0], path=env["PATH"])
    if not program:
        raise SandboxError(f"{command[0]} is not on the sandbox's PATH, {env['PATH']}")
    errors = output and subprocess.STDOUT
    with subprocess.Popen([program, *command[1:]], env=env, cwd=cwd, stdout=output, stderr=errors) as process:
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            return process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def shell(box: Sandbox) -> int:
    """An interactive shell in the sandbox's environment."""
    program = os.environ.get("SHELL") or "/bin/sh"
    (box.home.user / ".bashrc").write_text(f"PS1='(sandbox {box.stack}) \\$ '\n")
    (box.home.user / ".zshrc").write_text(f"PROMPT='(sandbox {box.stack}) %# '\n")
    say(
        f"A shell in the sandbox {box.home.root}, stack {box.stack}; `exit` leaves it.\n"
        f"  on PATH: {', '.join(sorted(each.name for each in box.home.bin.iterdir()))}\n"
        "  plain `pulumi up`, `pulumi stack output` and so on act on this stack; KUBECONFIG is the sandbox's\n"
        f"  settings are the copy {box.home.stack_file(box.stack)}: the next `make up` writes it anew"
    )
    return run([program, "-i"], box.env, box.root)


def status(box: Sandbox) -> int:
    """Say what runs. Exit code 0 when the sandbox is up, 3 when it is not."""
    up = control_plane.is_up(box.home)
    say(f"sandbox {box.home.root}")
    say(f"  control plane: {control_plane.api(box.home).server if up else 'down'}")
    say(f"  emulators: {'up' if emulators_daemon.is_up(box.home) else 'down'}")
    say(f"  processes: {', '.join(sorted(running(box.home).values())) or 'none'}")
    return 0 if up else 3


def down(home: Home) -> int:
    """Stop everything; state, settings and the cluster's objects stay for the next `up`."""
    if not home.root.exists():
        say(f"no sandbox at {home.root}: nothing to stop")
        return 0
    with control_plane.exclusive(home), timed(f"sandbox {home.root}: nothing is running"):
        for name in stop(home):
            say(f"  stopped {name}")
        home.daemon_ready.unlink(missing_ok=True)
        home.daemon_pid.unlink(missing_ok=True)
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
        "--charts", choices=("contract", "upstream"), default="contract", help="where charts are from"
    )
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for operation in OPERATIONS:
        command = commands.add_parser(
            operation, parents=[common, settings], help=f"pulumi {operation} in the sandbox"
        )
        if operation in CHECKED:
            command.add_argument(
                "--allow",
                action="append",
                default=[],
                metavar="NAME",
                help="a resource, by name or URN, that the guard lets go",
            )
    commands.add_parser("down", parents=[common], help="stop the sandbox, or all of this clone")
    commands.add_parser("shell", parents=[common], help="a shell in it")
    commands.add_parser("status", parents=[common], help="say what runs")
    commands.add_parser("report", parents=[common], help="write the page about the last up anew")
    execute = commands.add_parser("exec", parents=[common], help="run one command in it: exec -- COMMAND")
    execute.add_argument("arguments", nargs="+", metavar="COMMAND")
    stockout = commands.add_parser(
        "stockout", parents=[common], help="take the GPU capacity away, or give it back"
    )
    stockout.add_argument("switch", choices=("on", "off"))
    return parser.parse_args(arguments)


def _scale(text: str) -> float:
    scale = float(text)
    if not (math.isfinite(scale) and scale >= 0):
        raise argparse.ArgumentTypeError(
            f"{text} is not a factor: give 0 (no latency), 1 (as on GKE) or one between"
        )
    return scale


def dispatch(options: argparse.Namespace) -> int:
    root = options.root.resolve()
    if os.environ.get(HOME_VARIABLE):
        raise SandboxError("this is a sandbox's shell: use plain pulumi here, or `exit` first.")
    if options.command == "down" and not (options.home or options.stack):
        return max((down(Home(each)) for each in sorted((root / ".sandbox").glob("*/"))), default=0)
    stack = options.stack or "dev"
    home = Home((options.home or root / ".sandbox" / stack).resolve(), stack_file.project_of(root))
    if any(character.isspace() for character in str(home.root)):
        raise SandboxError(
            f"kwokctl cannot work in a folder with a space in its path, {str(home.root)!r}: move the clone, or choose "
            "another folder with `python -m sandbox ... --home`."
        )
    if options.command == "down":
        return down(home)
    box = Sandbox(home, stack, root, environment(home, stack))
    if options.command == "status":
        return status(box)
    if options.command == "report":
        return write_report(box)
    if options.command == "stockout":
        if not home.cloud.exists():
            raise SandboxError(f"there is no sandbox at {home.root} yet: `make up` makes it.")
        Cloud(home.cloud).set_switch(GPU_STOCKOUT, "true" if options.switch == "on" else "false")
        say(f"GPU capacity: {'none' if options.switch == 'on' else 'as asked for'}")
        return 0
    copy = home.stack_file(stack)
    if options.command in OPERATIONS or not copy.exists():
        charts, overlay = getattr(options, "charts", "contract"), getattr(options, "config_overlay", None)
        bring_up(box, read_settings(root, stack, charts, overlay))
    else:
        bring_up(box, yaml.safe_load(copy.read_text()))
    if options.latency is not None:
        latency.set_scale(home, options.latency)
    if options.command == "shell":
        return shell(box)
    if options.command == "exec":
        return run(options.arguments, box.env, root)
    return operate(box, options.command, getattr(options, "allow", ()))


def main() -> int:
    try:
        return dispatch(parse(sys.argv[1:]))
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `make down` stops what was started", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
