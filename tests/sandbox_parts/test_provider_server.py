"""What a stand-in does when its engine is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox.paths import REPOSITORY
from tests.support.waiting import wait_for

SLOW = """
import asyncio, pathlib, time
from pulumi.provider.experimental import provider
from sandbox.plugins.server import serve

class Slow(provider.Provider):
    async def create(self, request):
        await asyncio.to_thread(self.make)

    def make(self):
        pathlib.Path("begun").touch()
        time.sleep(1)
        pathlib.Path("made").touch()

serve(Slow(), "1.0.0")
"""


def test_what_is_under_way_outlives_the_engine(tmp_path: Path) -> None:
    """A real plugin finishes the create of an engine that was killed, while the next one may be at work already."""
    plugin = subprocess.Popen(
        [sys.executable, "-c", SLOW, "127.0.0.1:1"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert plugin.stdin
    assert plugin.stdout
    port = int(plugin.stdout.readline())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = provider_pb2.CreateRequest(urn="urn:pulumi:s::p::a:b:C::x")
        creating = provider_pb2_grpc.ResourceProviderStub(channel).Create.future(request)
        wait_for((tmp_path / "begun").exists)
        assert not creating.done()
    plugin.stdin.close()
    assert plugin.wait(30) == 0
    assert (tmp_path / "made").exists()
    plugin.stdout.close()
