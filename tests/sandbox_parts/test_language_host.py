"""How the stand-in language host ends a program: as the real one does, by a SIGINT, whatever Python makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from sandbox.paths import HOME_VARIABLE, REPOSITORY
from tests.support.waiting import wait_for

WAITS = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"
OWN_LINES = next(
    part for part in (REPOSITORY / "__main__.py").read_text().split("\n\n") if part.startswith("if __name__")
)


class Engine(grpc.GenericRpcHandler):
    """As much of an engine as a program needs that registers nothing: every answer is empty."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


@pytest.fixture
def engine() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), [Engine()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize(
    ("program", "traceback"),
    [(WAITS, True), (f"import signal\n{OWN_LINES}\n{WAITS}", False)],
    ids=["that lets Python handle it", "with this program's own lines"],
)
def test_a_cancelled_program(engine: str, tmp_path: Path, program: str, traceback: bool) -> None:
    tmp_path.joinpath("__main__.py").write_text(program)
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.plugins.language_host"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), HOME_VARIABLE: str(tmp_path / "home")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdout
        with grpc.insecure_channel(f"127.0.0.1:{host.stdout.readline().strip()}") as channel:
            language = language_pb2_grpc.LanguageRuntimeStub(channel)
            language.Handshake(language_pb2.LanguageHandshakeRequest(engine_address=engine))
            info = language_pb2.ProgramInfo(
                root_directory=str(tmp_path), program_directory=str(tmp_path), entry_point="."
            )
            asked = language_pb2.RunRequest(project="p", stack="s", monitor_address=engine, info=info)
            run = language.Run.future(asked)
            wait_for(lambda: (tmp_path / "begun").exists() or run.done(), 120)
            assert not run.done()
            language.Cancel(Empty())
            assert run.result(30).error.startswith("program exited with non-zero exit code: ")
        _, said = host.communicate()
    assert ("KeyboardInterrupt" in said) is traceback, said
