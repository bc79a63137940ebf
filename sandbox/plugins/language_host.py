"""Stand-in for `pulumi-language-python`, for a Pulumi CLI that was built without its language hosts.

What it does not do: virtual environments and installing dependencies (the program runs in this process, a policy pack
in one of its own, both in the sandbox's own environment), telling a policy pack the stack's settings, finding required
plugins, other plugins in Python, debuggers, code generation. Each is refused by name or reported empty. Errors surface
as the real host's do: a RunError as its message, any other exception with the program's traceback, a `sys.exit` as its
code.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import runpy
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

import grpc
import pulumi
from google.protobuf.empty_pb2 import Empty
from pulumi.automation._server import LanguageServer
from pulumi.runtime import reset_options, run_in_stack, set_all_config
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS  # pyright: ignore[reportPrivateUsage]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.paths import REPOSITORY, Home
from sandbox.processes import fork_command


class LanguageHost(LanguageServer):
    """Serves one engine: runs the program it asks for, in this process."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self._engine = ""

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
        return Empty()

    def Run(self, request: Any, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        return contextvars.copy_context().run(_run, request, self._engine)

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


def _run(request: language_pb2.RunRequest, engine: str) -> language_pb2.RunResponse:
    # A failed resource leaves futures that nobody awaits; the real host does not report them either.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    reset_options(
        project=request.project,
        stack=request.stack,
        root_directory=request.info.root_directory,
        parallel=request.parallel,
        engine_address=engine,
        monitor_address=request.monitor_address,
        preview=request.dryRun,
        organization=request.organization,
    )
    set_all_config(dict(request.config), list(request.configSecretKeys))
    program = Path(request.info.program_directory, request.info.entry_point)
    os.chdir(request.info.program_directory)
    # The program must find its own modules, not this repository's of the same names.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY]
    sys.path.insert(0, request.info.program_directory)
    sys.argv = [str(program), *request.args]

    def run_program() -> None:
        runpy.run_path(str(program), run_name="__main__")

    loop = asyncio.new_event_loop()
    executor = ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4)
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(run_in_stack(run_program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return language_pb2.RunResponse(error="program exited with non-zero exit code: 1")
    except SystemExit as error:
        return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {error.code}")
    except Exception as error:  # whatever a program can raise
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_program_traceback(error, program)}")
        return language_pb2.RunResponse(bail=True)
    finally:
        executor.shutdown(wait=True)
        sys.stdout.flush()
        sys.stderr.flush()
    return language_pb2.RunResponse()


def _program_traceback(error: Exception, program: Path) -> str:
    """The traceback from the program's first frame on."""
    entry = {str(program), str(program / "__main__.py")}
    frames = traceback.extract_tb(error.__traceback__)
    first = next((index for index, frame in enumerate(frames) if frame.filename in entry), 0)
    return "".join(traceback.format_exception(error, limit=first - len(frames)))


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
