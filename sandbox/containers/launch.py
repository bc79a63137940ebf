"""What an image is asked to run, and the program of this machine that it makes of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sandbox.cluster.client import Json
from sandbox.nodes.pods.process import Program
from sandbox.nodes.pods.volumes import Mount, translated
from sandbox.paths import REPOSITORY, Home
from sandbox.processes import python_command
from sandbox.toolchain.containers import MANIFESTS, Containers


class NotFoundError(Exception):
    """A container's command is no program of its image; the message is the container runtime's."""

    def __init__(self, word: str) -> None:
        super().__init__(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
            f'unable to start container process: error during container init: exec: "{word}": executable file not found '
            "in $PATH"
        )


class Image(NamedTuple):
    """What an image starts where the spec says nothing else, and where its programs are on this machine.

    `programs` turns a program's name, as the container knows it, into the start of a command line. `variables` are the
    image's own, for paths below the container's root folder too.
    """

    entrypoint: list[str]
    command: list[str]
    programs: dict[str, list[str]]
    variables: dict[str, str]
    directory: str = ""


@dataclass(frozen=True)
class Launch:
    """A container to be started; `words` and `arguments` are its spec's, with variables put in.

    `folder` stands for its root folder, `address` is the pod's on this machine.
    """

    home: Path
    folder: Path
    pod_file: Path
    address: str
    pod: Json
    container: Json
    words: Sequence[str]
    arguments: Sequence[str]
    variables: dict[str, str]
    mounts: Sequence[Mount]
    programs: Containers

    @property
    def hooks(self) -> Path:
        """What stands between a program and the network."""
        return MANIFESTS / "hooks"

    def python(self, module: str) -> list[str]:
        """The start of a command line that runs a module of the sandbox as a container's program."""
        return python_command(Home(self.home), module)

    def program(self, image: Image) -> Program:
        """The program to run. Raises NotFoundError."""
        words = list(self.words) or image.entrypoint
        arguments = list(self.arguments) or ([] if self.words else image.command)
        if not words:
            words, arguments = arguments[:1], arguments[1:]
        start = inside(image, [words[0], *(translated(word, self.mounts) for word in words[1:])])
        seen = {name: translated(value, self.mounts) for name, value in self.variables.items()}
        if "PYTHONPATH" in seen and "PYTHONPATH" in image.variables:  # the image has these among its packages
            seen["PYTHONPATH"] += f":{image.variables['PYTHONPATH']}"
        directory = self.folder / (self.container.get("workingDir", image.directory).lstrip("/"))
        directory.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o1777)
        commands = self.folder / "usr" / "local" / "bin"
        commands.mkdir(parents=True, exist_ok=True)
        for name, command in image.programs.items():
            if "/" not in name:  # as a shell in the container finds it
                (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
                (commands / name).chmod(0o755)
        own = {
            "HOME": str(self.folder),
            "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            **image.variables,
            **seen,
            "SANDBOX_POD": str(self.pod_file),
            "SANDBOX_CONTAINERS": str(MANIFESTS),
        }
        return Program([*start, *(translated(word, self.mounts) for word in arguments)], own, directory)


def inside(image: Image, words: Sequence[str]) -> list[str]:
    """A command of an image as one of this machine. Raises NotFoundError."""
    if words[0] not in image.programs:
        raise NotFoundError(words[0])
    return [*image.programs[words[0]], *words[1:]]


def inside_of(launch: Launch, image: Image, words: Sequence[str]) -> list[str]:
    """A command in a running container as one of this machine. Raises NotFoundError."""
    return [*inside(image, words[:1]), *(translated(word, launch.mounts) for word in words[1:])]


SHELL = {"sh": ["/bin/sh"], "/bin/sh": ["/bin/sh"]}
SANDBOX = {"PYTHONPATH": str(REPOSITORY)}
