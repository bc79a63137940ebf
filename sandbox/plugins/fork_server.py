"""Forks the sandbox's Python programs off one process that has imported their libraries.

An engine starts its language host, each provider and the policy pack anew for every operation; each would spend most of
its time on the same imports. A fork starts with them and shares nothing else: not the modules of this repository or of
the program, no connection, no environment. Where the server is not there, programs import for themselves.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from pathlib import Path

from sandbox.paths import Home
from sandbox.processes import python_command, start_daemon

MODULE = "sandbox.plugins.fork_server"
LIBRARIES = (
    "grpc.aio",
    "jinja2",
    "difflib",
    "http.server",
    "kubernetes.client.api.custom_objects_api",
    "kubernetes.config",
    "pulumi.automation",
    "pulumi.provider.experimental.server",
    "pulumi_gcp.container",
    "pulumi_gcp.organizations",
    "pulumi_gcp.secretmanager",
    "pulumi_gcp.storage",
    "pulumi_kubernetes.apiextensions",
    "pulumi_kubernetes.apps.v1",
    "pulumi_kubernetes.batch.v1",
    "pulumi_kubernetes.batch.v1beta1",
    "pulumi_kubernetes.batch.v2alpha1",
    "pulumi_kubernetes.core.v1",
    "pulumi_kubernetes.discovery.v1",
    "pulumi_kubernetes.discovery.v1beta1",
    "pulumi_kubernetes.helm.v3",
    "pulumi_kubernetes.helm.v4",
    "pulumi_kubernetes.meta.v1",
    "pulumi_kubernetes.networking.v1",
    "pulumi_kubernetes.networking.v1alpha1",
    "pulumi_kubernetes.networking.v1beta1",
    "pulumi_policy",
    "pulumi_random",
    "pydantic.alias_generators",
    "pydantic.validate_call_decorator",
    "pygraphviz",
    "rich.table",
    "sqlite3",
    "trustme",
    "yaml",
)
"""What the programs spend their start on. None may start a thread: a fork would inherit its locks."""
_ENVIRONMENT = Path(sys.prefix, "complete")
"""Written anew when packages are installed: then what was imported is outdated."""


def answers(home: Home) -> bool:
    """Whether a server takes programs for this home."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(home.fork_socket))
            return bool(connection.recv(1))
        except OSError:
            return False


def start(home: Home, environment: dict[str, str]) -> None:
    """Start the home's server; returns once it takes programs, or without one where it takes too long."""
    log = home.logs / "fork-server.log"
    start_daemon(home, python_command(home, MODULE), environment, log, partial(answers, home))


def serve(path: Path) -> None:
    """Fork a program per connection, until what was imported is outdated or this process is stopped."""
    for library in LIBRARIES:
        # Pulumi's SDKs load a module when it is first asked for something that is not its name, path or __dict__.
        hasattr(importlib.import_module(library), "__all__")
    gc.collect()
    gc.freeze()  # the collector would copy the pages that the forks share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    path.unlink(missing_ok=True)
    imported = _installed()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(
            0o600
        )  # who can connect runs programs as this user; it may lie in the common temporary folder
        listener.listen(128)
        while True:
            connection, _ = listener.accept()
            if _installed() != imported:
                break  # unanswered, the client becomes the program itself
            if os.fork() == 0:
                listener.close()
                _become(connection)
            connection.close()
    path.unlink(missing_ok=True)


def _installed() -> float | None:
    return _ENVIRONMENT.stat().st_mtime if _ENVIRONMENT.exists() else None


def _become(connection: socket.socket) -> None:
    """Run what the client asks for, as if this process had been started for it; does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        connection.send(b"+")
        head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
        if len(head) < 4:
            os._exit(0)  # only asked whether this server answers
        request = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        module, arguments, directory, environment = json.loads(request)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        # Unbuffered: the policy SDK never flushes the port that it prints.
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True) for number in (1, 2)
        )
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [module, *arguments]
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]  # as they are on disk now
        threading.Thread(target=_obey, args=(connection,), daemon=True).start()
        code = _run(module)
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - what ends an interpreter
        connection.send(bytes([code]))
    finally:
        os._exit(code)


def _run(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 255
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # whoever pressed Ctrl-C wants no traceback
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _obey(connection: socket.socket) -> None:
    """Take the signals that the client gets, and end with it."""
    while number := connection.recv(1):
        os.kill(os.getpid(), number[0])
    os._exit(1)


if __name__ == "__main__":
    serve(Home.from_env().fork_socket)
