"""Drives a throw-away sandbox as a person would, through its commands, and reads what came out."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from sandbox import stack_file
from sandbox.cluster import control_plane
from sandbox.google.cloud import Cloud
from sandbox.google.project import enable
from sandbox.paths import REPOSITORY, Home
from tests.support.edges import Edge

PROGRAM = (
    "Pulumi.yaml",
    "Pulumi.dev.yaml",
    "Pulumi.prod.yaml",
    "__main__.py",
    "settings",
    "versions.py",
    "outputs.py",
    "components",
)
NOT_IN_GIT = shutil.ignore_patterns(".git", ".venv", ".sandbox", ".*_cache", "__pycache__", ".hypothesis")
"""What a copy of the repository leaves out."""
NOT_COPIED = shutil.ignore_patterns("*.sock", "options.yaml")  # the ports would be those of the origin
PROJECT = "example-llm-dev"
UNCHANGED = {"same", "read", "refresh"}


@dataclass(frozen=True)
class Result:
    """How a command ended: exit code and everything it printed."""

    code: int
    text: str

    def succeeded(self) -> Result:
        assert self.code == 0, self.text
        return self

    def failed(self) -> Result:
        assert self.code != 0, self.text
        return self


@dataclass(frozen=True)
class Step:
    """One resource operation of an engine run, from the event log."""

    op: str
    type: str
    name: str
    urn: str


class Sandbox:
    """A copy of the program, or of an example, and a sandbox for it, both under one folder.

    Programs that are given the same folder share its sandbox.
    """

    program: ClassVar = [sys.executable, "-m", "sandbox"]

    def __init__(self, folder: Path, stack: str = "dev", *, example: str = "", played: bool = True) -> None:
        self._origin = REPOSITORY / "examples" / example if example else REPOSITORY
        self.root = folder / (example or "program")
        self.home = Home(folder / "home", stack_file.project_of(self._origin))
        self.stack = stack
        self._played = played

    def make(self, fork: Sandbox | None = None) -> Sandbox:
        """Copy the program and, of a stopped sandbox to fork, the home: cluster, cloud and state."""
        if fork:
            shutil.copytree(fork.home.root, self.home.root, symlinks=True, ignore=NOT_COPIED)
        self.root.mkdir(parents=True)
        example = self._origin != REPOSITORY
        for name in [path.name for path in self._origin.iterdir()] if example else PROGRAM:
            source = self._origin / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.root / name)
        (self.root / ".venv").symlink_to(sys.prefix)
        return self

    def configure(self, config: dict[str, Any]) -> None:
        """Merge settings into the stack's file, for every command from here on."""
        file = self.root / f"Pulumi.{self.stack}.yaml"
        file.write_text(
            yaml.safe_dump(stack_file.merged(yaml.safe_load(file.read_text()), {"config": config}))
        )

    def up(self, *arguments: str, config: dict[str, Any] | None = None) -> Result:
        """An `up` without the preview in front of it: neither policies nor guard stop it before anything is touched."""
        return self.run("up", "--skip-preview", *arguments, config=config)

    def run(self, command: str, *arguments: str, config: dict[str, Any] | None = None) -> Result:
        """Run one sandbox command; `config` is merged over the stack's settings for that run."""
        process = self.popen(command, *arguments, config=config)
        text, _ = process.communicate()
        return Result(process.returncode, text)

    def popen(
        self,
        command: str,
        *arguments: str,
        config: dict[str, Any] | None = None,
        alone: bool = False,
    ) -> subprocess.Popen[str]:
        """Start what `run` runs; `alone`, as a terminal does: no fork, and a process group that Ctrl-C goes to."""
        program = [sys.executable, "-m", "sandbox"] if alone else self.program
        line = [*program, command, "--stack", self.stack]
        line += ["--home", str(self.home.root), "--root", str(self.root)]
        if self._played and command in ("up", "preview", "refresh", "destroy", "start"):
            line += ["--played"]
        if config is not None:
            overlay = self.root / "overlay.yaml"
            overlay.write_text(yaml.safe_dump(config))
            line += ["--config-overlay", str(overlay)]
        return subprocess.Popen(
            [*line, *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=alone,
        )

    def mend(self) -> Result:
        """Run `tools.mend` as `make mend` does."""
        line = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "tools.mend", "--stack", self.stack)
        return self.run("exec", "--", *line).succeeded()

    def patch(self, file: str, old: str, new: str) -> None:
        """Change the program's code; `old` must be there exactly once."""
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def events(self, operation: str) -> Iterator[dict[str, Any]]:
        """The engine's events of the last run of an operation, in order."""
        with self.home.event_log(self.stack, operation).open() as lines:
            for line in lines:
                yield json.loads(line)

    def kept(self, edge: Edge, operation: str = "up") -> bool:
        """Whether the last run of an operation completed what an edge needs before it started what needs it."""
        started: dict[tuple[str, str], int] = {}
        completed: dict[tuple[str, str], int] = {}
        for position, event in enumerate(self.events(operation)):
            for kind, times in (("resourcePreEvent", started), ("resOutputsEvent", completed)):
                if kind in event:
                    urn = event[kind]["metadata"]["urn"].split("::")
                    times[(urn[2].split(":")[-1], urn[3])] = position
        return completed[(edge.needs_kind, edge.needs)] < started[(edge.kind, edge.name)]

    def steps(self, operation: str) -> list[Step]:
        """The completed steps of the last run, in order of completion."""
        done = [event["resOutputsEvent"] for event in self.events(operation) if "resOutputsEvent" in event]
        metadata = [event["metadata"] for event in done]
        return [Step(m["op"], m["type"], m["urn"].split("::")[-1], m["urn"]) for m in metadata]

    def changed(self, operation: str) -> dict[tuple[str, str], str]:
        """What the last run of an operation did not leave alone: its op by (kind, name).

        Providers are left out: a fork's control plane answers at another address than that of its origin.
        """
        return {
            (step.type.rpartition(":")[2], step.name): step.op
            for step in self.steps(operation)
            if step.op not in UNCHANGED and not step.type.startswith("pulumi:")
        }

    def export(self) -> dict[str, Any]:
        """The stack's state, secrets still encrypted."""
        return json.loads(self.home.checkpoint(self.stack).read_text())

    def resources(self) -> list[dict[str, Any]]:
        """Every resource of the stack's state."""
        return self.export()["checkpoint"]["latest"].get("resources", [])

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs after its last `up`."""
        return self.resources()[0]["outputs"]

    @property
    def project(self) -> str:
        """The Google project in the stack's settings."""
        return f"example-llm-{self.stack}"

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.home.cloud)

    def secret(self, secret_id: str, version: str = "latest") -> str:
        """The payload that Secret Manager holds, read past IAM."""
        rows = self.cloud.list("secretVersion", f"projects/{self.project}/secrets/{secret_id}/versions/")
        row = rows[-1] if version == "latest" else next(r for r in rows if r["name"].endswith(f"/{version}"))
        return base64.b64decode(row["payload"]).decode()

    def make_secret(self, secret_id: str, value: str, project: str = "") -> None:
        """Make a Secret with a version in Secret Manager, as a person would, in the settings' project or another."""
        project = project or self.project
        row = {"project": project, "secretId": secret_id, "replication": {"auto": {}}}
        name = f"projects/{project}/secrets/{secret_id}"
        self.cloud.create("secret", name, row | {"createTime": "2030-01-31T12:00:00Z"})
        self.cloud.add_secret_version(name, value.encode())

    def enable_api(self, api: str, project: str = "") -> None:
        """Enable an API, as a person would, in the settings' project or another."""
        enable(self.cloud, project or self.project, api)

    def running(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """The running pods whose label app.kubernetes.io/name is so; LiteLLM's migration has LiteLLM's, but ends."""
        pods = self.namespaced("pods", namespace)["items"]
        named = [pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/name") == name]
        return [pod for pod in named if pod["status"]["phase"] == "Running"]

    def get(self, path: str) -> Any:
        """What the API server answers to a GET."""
        return control_plane.api(self.home).get(path)

    def namespaced(self, kind: str, namespace: str, name: str = "", group: str = "") -> Any:
        """One object (or, without a name, the list) of a plural kind in a namespace; group is `apps/v1` or such."""
        prefix = f"/apis/{group}" if group else "/api/v1"
        return self.get(f"{prefix}/namespaces/{namespace}/{kind}/{name}".rstrip("/"))
