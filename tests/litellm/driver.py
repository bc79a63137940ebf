"""Starts and stops what runs in LiteLLM's own environment, and talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.litellm.environment import python
from tests.litellm.postgres import shared
from tests.litellm.upstream import Upstream, serving

# A connection per request: a server that closes an idle one as the next request goes out resets it.
ONCE = httpx.Limits(max_keepalive_connections=0)
DOUBLE = Path(__file__).with_name("double.py")


def _client(url: str, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, limits=ONCE)


@dataclass(frozen=True)
class Double:
    """A running double.py; `client` carries its master key."""

    url: str
    master_key: str
    client: httpx.Client
    process: subprocess.Popen[str]
    database: str

    def calls(self) -> dict[str, int]:
        """Calls a path since the start or `forget_calls`, e.g. {"POST /key/generate": 3}."""
        return self.client.get("/_calls").json()

    def forget_calls(self) -> None:
        self.client.delete("/_calls").raise_for_status()

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of `keys` and `teams`."""
        return self.client.get("/_state").json()

    def fault(self, **fault: Any) -> None:
        """Switch a fault on; double.py says which there are."""
        self.client.post("/_faults", json=fault).raise_for_status()

    def take_database(self, away: bool) -> None:
        """Take the database away, or give it back."""
        shared().take(self.database, away)


@contextlib.contextmanager
def double(
    *,
    config: Path | None = None,
    database: str | None = None,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Generator[Double]:
    """A double.py that answers, stopped when the block ends; AssertionError with its log where it does not start.

    `database` names one that is kept for a later double; by default it is dropped. `environment` is added to this process's.
    """
    options = ["--port", str(port)]
    options += ["--config", str(config)] if config else []
    postgres, name = shared(), database or f"double_{uuid.uuid4().hex}"
    postgres.database(name)
    environment = {**os.environ, "DATABASE_URL": postgres.url(name), **(environment or {})}
    path = ":".join(
        each["PYTHONPATH"] for each in (environment, postgres.environment) if "PYTHONPATH" in each
    )
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [python(), DOUBLE, *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**environment, **postgres.environment, "PYTHONPATH": path},
        )
        try:
            assert process.stdout
            started = next((line for line in process.stdout if line.startswith('{"url"')), None)
            log.seek(0)
            assert started, log.read()
            answer = json.loads(started)
            with _client(answer["url"], answer["masterKey"]) as client:
                yield Double(answer["url"], answer["masterKey"], client, process, name)
        finally:
            process.terminate()
            process.wait()
            if database is None:
                postgres.drop(name)


@dataclass(frozen=True)
class Proxy:
    """The real proxy, started as its image does; `client` carries the master key, `upstream` plays every model."""

    client: httpx.Client
    upstream: Upstream
    log: Path


@contextlib.contextmanager
def proxy(config: Path, environment: Mapping[str, str]) -> Generator[Proxy]:
    """A proxy that answers, stopped when the block ends; AssertionError with its log where it does not start.

    `environment` is all it gets, but for what sends its requests to the upstream, where it names no other proxy.
    """
    log = config.with_suffix(".log")
    with serving() as upstream, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = ["-c", "import litellm; litellm.run_server()", "--config", config, "--telemetry", "False"]
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), upstream.url)
        with log.open("w") as output:
            process = subprocess.Popen(
                [python(), *command, "--host", "127.0.0.1", "--port", str(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**proxies, **environment, "HOME": str(config.parent)},
            )

        try:
            with _client(f"http://127.0.0.1:{port}", environment["PROXY_MASTER_KEY"]) as client:
                deadline = time.monotonic() + 120
                while not _answers(client):
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
                yield Proxy(client, upstream, log)
        finally:
            process.terminate()
            process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/liveliness").is_success
    except httpx.TransportError:
        return False
