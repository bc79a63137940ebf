"""Sandboxes for tests: some come up once per run of the tests, and each test that needs their state forks them.

A fork is a copy of a stopped sandbox's home; it starts in seconds. Processes of pytest-xdist share the origins.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sandbox.cluster import base_objects, control_plane
from sandbox.environment import environment, make_directories
from sandbox.paths import Home
from sandbox.plugins import fork_server
from sandbox.processes import fork_command, stop
from sandbox.toolchain.cache import locked
from tests.support.driver import Sandbox
from tests.support.waiting import wait_for
from tests.support.watcher import Watcher

STACKS = {"empty": "dev", "dev": "dev", "prod": "prod"}
"""The stack of each origin: nothing deployed, dev's settings up, prod's settings up."""


class Folders(Protocol):
    """What makes temporary folders: pytest's TempPathFactory, or TemporaryFolders."""

    def getbasetemp(self) -> Path: ...

    def mktemp(self, basename: str) -> Path: ...


class TemporaryFolders:
    """Folders of a command under one folder, which the command removes or keeps."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def getbasetemp(self) -> Path:
        return self._base

    def mktemp(self, basename: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{basename}-", dir=self._base))


class Sandboxes:
    """Makes sandboxes, all of whose Python programs are forks of one process."""

    def __init__(self, factory: Folders) -> None:
        self._factory = factory
        base = factory.getbasetemp()
        self._origins = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "origins"
        self._server = Home(factory.mktemp("fork-server"))
        make_directories(self._server)
        fork_server.start(self._server, environment(self._server, "none"))
        # A busy machine may import the SDKs for longer than a user is made to wait.
        wait_for(lambda: fork_server.answers(self._server), 300)
        Sandbox.program = fork_command(self._server, "sandbox")

    def close(self) -> None:
        """Stop the process that is forked."""
        stop(self._server)

    def new(self, folder: Path | None = None, fork: Sandbox | None = None, **options: Any) -> Sandbox:
        """A sandbox in which nothing runs yet, or a copy of a stopped one. Who makes it stops it."""
        sandbox = Sandbox(folder or self._factory.mktemp("sandbox"), **options).make(fork)
        socket = sandbox.home.fork_socket
        if not socket.is_symlink():
            sandbox.home.root.mkdir(exist_ok=True)
            socket.symlink_to(self._server.fork_socket)
        return sandbox

    @contextmanager
    def forked(self, origin: str) -> Generator[Sandbox]:
        """A sandbox that starts in the state of an origin and is stopped when the block ends."""
        sandbox = self.new(fork=self.origin(origin), stack=STACKS[origin])
        try:
            yield sandbox
        finally:
            sandbox.run("down").succeeded()

    @contextmanager
    def served(self, stack: str = "dev") -> Generator[Sandbox]:
        """A sandbox in which nothing is deployed, whose pods will run, and that is stopped when the block ends."""
        fork = self.origin("empty") if stack == STACKS["empty"] else None
        sandbox = self.new(fork=fork, stack=stack, played=False)
        sandbox.home.pods_mode.unlink(missing_ok=True)  # the origin's are played
        try:
            yield sandbox
        finally:
            sandbox.run("down").succeeded()

    def origin(self, name: str) -> Sandbox:
        """A stopped sandbox, with the logs of its first `up`; made when it is first asked for."""
        folder = self._origins / name
        if name != "empty":
            self.origin("empty")
        with locked(self._origins):
            if not folder.exists():
                unfinished = self._origins / f"{name}-unfinished"
                getattr(self, f"_make_{name}")(unfinished)
                unfinished.rename(folder)
        return Sandbox(folder, STACKS[name])

    def _make_empty(self, folder: Path) -> None:
        sandbox = self.new(folder)
        sandbox.run("start").succeeded()
        sandbox.run("down").succeeded()

    def _make_dev(self, folder: Path) -> None:
        """What the first `up` printed, and what was seen in the cluster meanwhile, lie beside the home."""
        sandbox, watcher = self.new(folder, fork=Sandbox(self._origins / "empty")), Watcher()
        with watcher.watching(sandbox.home):
            up = sandbox.run("up").succeeded()
        folder.joinpath("up.txt").write_text(up.text)
        folder.joinpath("watched.json").write_text(json.dumps(watcher.seen))
        sandbox.run("down").succeeded()

    def _make_prod(self, folder: Path) -> None:
        sandbox = self.new(folder, stack="prod")
        sandbox.run("start").succeeded()
        # With one node per zone, instances kept off each other's nodes would be in three zones by themselves.
        for number in (1, 2):
            node = base_objects.nodes("example-llm-prod", "platform-prod", "europe-west4")[0]
            name = f"{node['metadata']['name']}-{number}"
            node["metadata"]["name"] = node["metadata"]["labels"]["kubernetes.io/hostname"] = name
            control_plane.api(sandbox.home).create("/api/v1/nodes", node)
        sandbox.run("up").succeeded()
        sandbox.run("down").succeeded()
