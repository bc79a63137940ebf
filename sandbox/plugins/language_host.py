"""Stand-in for `pulumi-language-python`, for a Pulumi CLI that was built without its language hosts.

What it does not do: virtual environments and installing dependencies (program and policy pack run in the sandbox's own
environment), telling a policy pack the stack's settings, finding required plugins, other plugins in Python, debuggers,
code generation. Each is refused by name or reported empty.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, cast

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.automation._server import LanguageServer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS  # pyright: ignore[reportPrivateUsage]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.paths import Home
from sandbox.plugins.program import SHOWN
from sandbox.processes import fork_command

_END_SECONDS = 5.0  # seconds that a program has to end after a SIGINT


class LanguageHost(LanguageServer):
    """Serves one engine: runs the program it asks for, in a process that it ends as the real host does."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self._engine = ""
        self._program: subprocess.Popen[bytes] | None = None

    def Handshake(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        self._engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo()

    def InstallDependencies(
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        return iter(())

    def RuntimeOptionsPrompts(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        return language_pb2.RuntimeOptionsResponse()

    def GetProgramDependencies(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        return language_pb2.GetProgramDependenciesResponse()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Empty:
        self._interrupt()
        return Empty()

    def Run(self, request: Any, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        command = [*fork_command(Home.from_env(), "sandbox.plugins.program"), self._engine]
        self._program = subprocess.Popen(command, stdin=subprocess.PIPE)
        context.add_callback(self._interrupt)  # of an engine that was killed
        with contextlib.suppress(BrokenPipeError):
            self._program.communicate(request.SerializeToString())
        code = self._program.wait()
        if code in (0, SHOWN):
            return language_pb2.RunResponse(bail=code == SHOWN)
        return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {code}")

    def _interrupt(self) -> None:
        if self._program is None or self._program.poll() is not None:
            return
        self._program.send_signal(signal.SIGINT)
        try:
            self._program.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._program.kill()

    def RunPlugin(
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        if request.kind != "analyzer":
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the sandbox runs policy packs only, not a plugin: {request.kind}",
            )
        folder = request.info.program_directory
        process = subprocess.Popen(
            [*fork_command(Home.from_env(), "pulumi.policy"), *request.args, folder],
            cwd=folder,
            # Where no fork server runs it: the SDK does not flush what it prints its port to.
            env=dict(entry.split("=", 1) for entry in request.env) | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # The engine ends a plugin by ending this call.
        context.add_callback(process.terminate)
        with process, selectors.DefaultSelector() as streams:
            for stream in (process.stdout, process.stderr):
                streams.register(cast("IO[bytes]", stream), selectors.EVENT_READ)
            while streams.get_map():
                for key, _ in streams.select():
                    written = os.read(key.fd, 65536)
                    if not written:
                        streams.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        yield language_pb2.RunPluginResponse(stdout=written)
                    else:
                        yield language_pb2.RunPluginResponse(stderr=written)
        yield language_pb2.RunPluginResponse(exitcode=process.returncode)


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    # The engine holds the other end, and is gone when it closes.
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    done.wait()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
