"""A program forked off the fork server is to its starter what one of its own interpreter is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.environment import make_directories
from sandbox.paths import REPOSITORY, Home
from sandbox.plugins import fork_server
from sandbox.processes import fork_command, running, stop
from tests.support.waiting import wait_for

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    make_directories(home)
    fork_server.start(home, {**ENVIRONMENT, "LLM_GATEWAY_SANDBOX": str(home.root)})
    wait_for(lambda: fork_server.answers(home), 120)  # on a busy machine, too
    yield home
    stop(home)


@pytest.fixture(params=["forked", "of its own"])
def line(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> list[str]:
    """The command that runs a statement, with the server and without one."""
    place = home if request.param == "forked" else Home(tmp_path)
    return [*fork_command(place, "timeit"), "-n", "1", "-r", "1"]


def run(line: list[str], *statements: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*line, *statements], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_streams_folder_environment_and_arguments(line: list[str], tmp_path: Path) -> None:
    statement = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['X'], 'HOME' in os.environ)"
    done = run(line, statement, input="in", cwd=tmp_path, env={**ENVIRONMENT, "X": "a b"})
    assert done.stdout.startswith(f"in {tmp_path} a b False\n")
    assert run(line, "import sys; sys.stderr.write('err')", env=ENVIRONMENT).stderr == "err"


def test_a_fork_starts_with_every_library_loaded(home: Home) -> None:
    """Pulumi's SDKs put a placeholder, of a class of its own, where a module is not loaded yet."""
    statement = f"import sys; print({{type(sys.modules[name]).__name__ for name in {fork_server.LIBRARIES}}})"
    done = run([*fork_command(home, "timeit"), "-n", "1", "-r", "1"], statement, env=ENVIRONMENT)
    assert done.stdout.startswith("{'module'}\n")


def test_only_its_user_may_have_programs_run(home: Home) -> None:
    assert home.fork_socket.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("argument", "code"), [("pass", 0), ("1 / 0", 1), ("--no-such-option", 2)])
def test_exit_codes(line: list[str], argument: str, code: int) -> None:
    assert run(line, argument, env=ENVIRONMENT).returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_end_it(line: list[str], number: signal.Signals, tmp_path: Path) -> None:
    statement = (
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    process = subprocess.Popen([*line, statement], env=ENVIRONMENT)
    pid = wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.send_signal(number)
    assert process.wait(10) == -number
    wait_for(lambda: not Path("/proc", str(pid)).exists())  # the fork does not outlive its client


def test_a_server_whose_packages_changed_takes_nothing_more(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "complete"
    stamp.touch()
    monkeypatch.setattr(fork_server, "_ENVIRONMENT", stamp)
    monkeypatch.setattr(fork_server, "LIBRARIES", ())
    path = tmp_path / "s.sock"
    server = os.fork()
    if server == 0:
        fork_server.serve(path)
        os._exit(0)
    wait_for(path.exists)
    os.utime(stamp, (1, 1))
    command = [*fork_command(home, "timeit")[:5], str(path), "timeit", "-n", "1", "-r", "1", "print('ran')"]
    assert run(command, env=ENVIRONMENT).stdout.startswith("ran\n")
    assert os.waitpid(server, 0)[1] == 0
    assert not path.exists()
    assert "sandbox.plugins.fork_server" in running(home).values()
