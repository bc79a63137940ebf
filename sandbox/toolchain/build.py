"""The programs that a sandbox runs, built once from the Go manifest in sandbox/toolchain/go into a shared cache.

`ensure()` returns their paths. Pulumi is taken from PATH where a usable one is. Standard library only: this
runs while the Python packages are being installed. As a command, `python -m sandbox.toolchain.build [REPORT]`
builds what is missing and writes the seconds that each phase took to the JSON file REPORT.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import HOME_VARIABLE
from sandbox.phases import Phases, say
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace
from sandbox.toolchain.commands import Result, run
from sandbox.toolchain.golang import MANIFEST, go_command, version

# Unoptimised code builds in 5 minutes instead of 7 on two cores, and starts a control plane one second later. The
# standard library is optimised: each engine operation derives a key from the passphrase, a million rounds of SHA-256.
COMPILER_FLAGS = ("-gcflags", "all=-N -l -dwarf=false", "-gcflags", "std=-dwarf=false")
# Packages whose program is called neither after the last element of their path nor as Go would call it.
PROGRAM_NAMES = {"go.etcd.io/etcd/server/v3": "etcd"}
LANGUAGE_HOST = "pulumi-language-python"

ADVICE = {
    r"no space left on device": "The disk is full: the build needs about 7 GB in Go's caches "
    "(`go env GOMODCACHE GOCACHE`) and in {cache}.",
    r"checksum mismatch|SECURITY ERROR": "A module is not the one that sandbox/toolchain/go/go.sum locks. Empty Go's "
    "module cache (`go clean -modcache`); if that does not help, do not trust the proxy it comes from "
    "(`go env GOPROXY`).",
    r"dial |lookup |timeout|connection re|TLS|x509|unexpected EOF|proxy|: 50\d": "Go's module proxy did not "
    "answer as it should. Check the network, HTTPS_PROXY and GOPROXY (`go env GOPROXY`).",
    r"signal: killed|cannot allocate memory": "The compiler ran out of memory; it needs about 4 GB.",
}


@dataclass(frozen=True)
class Toolchain:
    """Paths of the programs that a sandbox runs."""

    pulumi: Path
    helm: Path
    kubectl: Path
    kwok: Path
    kwokctl: Path
    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    language_host: Path | None
    """The Python language host beside a Pulumi from PATH; None for a Pulumi built here, which has none."""


@dataclass(frozen=True)
class Manifest:
    """What sandbox/toolchain/go pins."""

    mod: str
    sum: str

    @classmethod
    def read(cls) -> Manifest:
        """The manifest of this clone."""
        return cls((MANIFEST / "go.mod").read_text(), (MANIFEST / "go.sum").read_text())

    @cached_property
    def packages(self) -> dict[str, str]:
        """Import path by program name."""
        block = re.findall(r"^tool \((.*?)^\)", self.mod, re.MULTILINE | re.DOTALL)[0]
        paths: list[str] = block.split()
        return {PROGRAM_NAMES.get(path, path.rpartition("/")[2]): path for path in paths}

    def version(self, program: str) -> str:
        """The version of the module that a program is built from, e.g. "v3.259.0"."""
        pins: list[tuple[str, str]] = re.findall(r"^\t(\S+) (v\S+)", self.mod, re.MULTILINE)
        return max(pin for pin in pins if f"{self.packages[program]}/".startswith(f"{pin[0]}/"))[1]

    @cached_property
    def flags(self) -> list[str]:
        """Flags of `go build`. Unstamped, Pulumi has no version and Kubernetes calls itself v0.0.0-master."""
        kubernetes = self.version("kube-apiserver")
        major, minor, _ = version(kubernetes)
        package = "k8s.io/component-base/version"
        stamps = {
            "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": self.version("pulumi"),
            f"{package}.gitVersion": kubernetes,
            f"{package}.gitMajor": str(major),
            f"{package}.gitMinor": str(minor),
        }
        linker = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])
        return [*COMPILER_FLAGS, "-ldflags", linker]

    @property
    def directory(self) -> Path:
        """Where the programs of exactly this manifest are kept."""
        return cache() / "toolchain" / fingerprint(self.mod, self.sum, *self.flags)


def ensure(phases: Phases | None = None) -> Toolchain:
    """Every program's path; those that are missing are built first, with progress shown: minutes, once.

    Call it from the main thread. Raises SandboxError.
    """
    manifest = Manifest.read()
    pulumi = pulumi_on_path(manifest.version("pulumi"))
    paths = {
        name: manifest.directory / name for name in manifest.packages if not (name == "pulumi" and pulumi)
    }
    if not all(path.exists() for path in paths.values()):
        with locked(manifest.directory.parent), workspace(manifest.directory.parent) as work:
            if missing := [name for name, path in paths.items() if not path.exists()]:
                _build(manifest, missing, Path(work), phases or Phases())
    host: Path | None = None
    if pulumi:
        paths["pulumi"] = pulumi
        beside = pulumi.resolve().with_name(LANGUAGE_HOST)
        host = beside if beside.exists() else None
    return Toolchain(**{name.replace("-", "_"): path for name, path in paths.items()}, language_host=host)


def pulumi_on_path(pinned: str) -> Path | None:
    """The first Pulumi on PATH that is at least the pinned version, and of the same major one.

    The programs of a sandbox, which `make shell` puts on PATH, do not count.
    """
    least = version(pinned)
    own = os.environ.get(HOME_VARIABLE)
    for directory in dict.fromkeys(os.get_exec_path()):
        found = shutil.which("pulumi", path=directory)
        if not found or (own and Path(directory).is_relative_to(own)):
            continue
        answer = _ask_version(found) or "it does not run"
        if least <= version(answer) < (least[0] + 1, 0, 0):
            return Path(found)
        say(f"Not using {found} ({answer}): Pulumi {pinned} or a later {least[0]}.x is needed.")
    return None


def _ask_version(pulumi: str) -> str:
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [pulumi, "version"], env=environment, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _build(manifest: Manifest, programs: list[str], work: Path, phases: Phases) -> None:
    """Build programs in `work`, then rename each, complete as it is, into the manifest's directory."""
    say(f"Building {', '.join(f'{name} {manifest.version(name)}' for name in programs)}.")
    say(f"They are kept in {manifest.directory}, for every clone on this machine.")
    go, environment = go_command(phases)
    temporary, finished = work / "tmp", work / "bin"
    temporary.mkdir()
    finished.mkdir()
    environment |= {"CGO_ENABLED": "0", "GOGC": "400", "GOTMPDIR": str(temporary)}
    packages = [manifest.packages[name] for name in programs]
    downloaded = stale = compiled = 0

    def listed(line: str) -> bool:
        nonlocal downloaded, stale
        downloaded += line.startswith("go: downloading ")
        stale += line == "stale"
        return line == "stale" or line.startswith("go: downloading ")

    def built(line: str) -> bool:
        nonlocal compiled
        is_package = " " not in line
        compiled += is_package
        return is_package

    with phases.phase("Go modules"):
        command = [*go, "list", "-deps", *manifest.flags, "-f", "{{if .Stale}}stale{{end}}", *packages]
        check_build(
            "Fetching",
            run(command, environment, MANIFEST, listed, lambda: f"{downloaded} modules downloaded"),
        )
    with phases.phase("Go build"):
        command = [*go, "build", "-v", *manifest.flags, "-o", f"{finished}/", *packages]

        def status() -> str:
            linked = len(list(finished.iterdir()))
            return f"{compiled} of {stale} packages compiled, {linked} of {len(programs)} programs linked"

        check_build("Building", run(command, environment, MANIFEST, built, status))
    manifest.directory.mkdir(exist_ok=True)
    for name, package in zip(programs, packages, strict=True):
        # Go leaves a major version at the end of an import path out of the program's name.
        go_name = re.sub(r"/v\d+$", "", package).rpartition("/")[2]
        (finished / go_name).rename(manifest.directory / name)


def check_build(what: str, result: Result) -> None:
    """Raise SandboxError for a failed build step: what failed, the compiler's last words, and what to do."""
    if result.code == 0:
        return
    output = "\n".join(result.lines)
    advice = [text.format(cache=cache()) for pattern, text in ADVICE.items() if re.search(pattern, output)]
    again = "What was downloaded and compiled is kept: run the same command again to go on from there."
    message = [f"{what} the toolchain failed (go ended with {result.code}):", result.tail, *advice[:1], again]
    raise SandboxError("\n".join(message))


def main() -> int:
    """Build what is missing and tell the versions of what there is then; returns the exit code."""
    phases = Phases()
    try:
        toolchain = ensure(phases)
    except SandboxError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted: run the same command again to go on from there.")
        return 130
    if not phases.seconds:
        return 0
    manifest = Manifest.read()
    versions = {name: manifest.version(name) for name in manifest.packages}
    versions["pulumi"] = _ask_version(str(toolchain.pulumi))
    say(f"Toolchain: {', '.join(f'{name} {pin}' for name, pin in versions.items())}.")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(phases.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
