"""The ways to a proxy: a URL that is given, or a tunnel through the cluster."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from components.litellm import PORT
from tools.validate.commands import output
from tools.validate.errors import ValidateError
from tools.validate.installation import Installation

PODS = "app.kubernetes.io/name=litellm,app.kubernetes.io/instance=litellm"
ROLLOUT = 600
"""Seconds that a proxy may take to be replaced."""


class Cluster(Protocol):
    """What can be done from inside only."""

    def recorded_spend(self, token: str) -> float:
        """USD in the database's row of the key with that hash; ValidateError where there is none."""
        ...

    def replicas(self) -> int:
        """Proxies that are ready."""
        ...

    def restart(self) -> None:
        """Replace one proxy; returns once as many as before are ready. ValidateError where that takes too long."""
        ...


class Reach(Protocol):
    """Where the proxy answers now (`url` may be another one after a restart), and the cluster if there is a way to it."""

    @property
    def url(self) -> str:
        """Base URL; ValidateError where there is no way."""
        ...

    @property
    def cluster(self) -> Cluster | None:
        """None: only the URL is known."""
        ...


@dataclass(frozen=True)
class Url:
    """A proxy at a URL: nothing is known of its pods or its database."""

    url: str
    cluster: None = None


@dataclass
class Kubectl:
    """A proxy's pod through `kubectl port-forward`; `arguments` choose the context, `environment` is kubectl's."""

    installation: Installation
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _tunnel: subprocess.Popen[str] | None = None
    _to: str = ""
    _url: str = ""

    @property
    def cluster(self) -> Cluster:
        """Itself."""
        return self

    @property
    def url(self) -> str:
        """Of the tunnel, opened anew where it ended."""
        if self._tunnel is None or self._tunnel.poll() is not None:
            self._open()
        return self._url

    def close(self) -> None:
        """End the tunnel."""
        if self._tunnel:
            self._tunnel.terminate()
            self._tunnel.wait()
            self._tunnel = None

    def recorded_spend(self, token: str) -> float:
        """By psql in the database's primary."""
        primary = f"cnpg.io/cluster={self.installation.database},cnpg.io/instanceRole=primary"
        pod = self._run("get", "pods", "-l", primary, "-o", "name").strip()
        if not pod:
            raise ValidateError(f"the database {self.installation.database} has no primary")
        query = f"SELECT spend FROM \"LiteLLM_VerificationToken\" WHERE token = '{token}'"  # noqa: S608 - a hash
        row = self._run("exec", pod, "-c", "postgres", "--", "psql", "-d", "litellm", "-tAc", query).strip()
        if not row:
            raise ValidateError("the database has no row of the key")
        return float(row)

    def replicas(self) -> int:
        """Ready and not on their way out."""
        return len(self._ready())

    def restart(self) -> None:
        """Delete a pod that the tunnel does not lead to; the only pod is replaced by one that is ready before it goes."""
        ready = self._ready()
        if len(ready) > 1:
            other = next(pod for pod in ready if pod != self._to)
            self._run("delete", f"pod/{other}", "--wait=true", timeout=ROLLOUT)
        else:
            deployment = self._run("get", "deployments", "-l", PODS, "-o", "name").strip()
            self._run("rollout", "restart", deployment)
            self._run("rollout", "status", deployment, f"--timeout={ROLLOUT}s", timeout=ROLLOUT + 10)
        deadline = time.monotonic() + ROLLOUT
        while len(now := self._ready()) < len(ready):
            if time.monotonic() > deadline:
                raise ValidateError(
                    f"the proxy was not replaced within {ROLLOUT} s: {len(now)} of {len(ready)} are ready"
                )
            time.sleep(2)
        if self._to not in now:
            self.close()

    def _ready(self) -> list[str]:
        pods = json.loads(self._run("get", "pods", "-l", PODS, "-o", "json"))["items"]
        return [
            pod["metadata"]["name"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and {"type": "Ready", "status": "True"}
            in [
                {key: each[key] for key in ("type", "status")} for each in pod["status"].get("conditions", [])
            ]
        ]

    def _open(self) -> None:
        ready = self._ready()
        if not ready:
            raise ValidateError(
                f"no proxy is ready in namespace {self.installation.namespace}; kubectl describe pods says why"
            )
        self._to = ready[0]
        # A session of its own: Ctrl-C must leave the tunnel to the deleting at the end.
        self._tunnel = subprocess.Popen(
            [*self._command(), "port-forward", f"pod/{self._to}", f":{PORT}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **self.environment},
        )
        assert self._tunnel.stdout  # noqa: S101 - a pipe, for the type checker
        said = self._tunnel.stdout.readline()
        port = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
        if not port:
            self.close()
            raise ValidateError(f"kubectl port-forward opened no tunnel to {self._to}: {said.strip()}")
        threading.Thread(target=_drain, args=[self._tunnel.stdout], daemon=True).start()
        self._url = f"http://127.0.0.1:{port[1]}"

    def _command(self) -> list[str]:
        return ["kubectl", *self.arguments, "--namespace", self.installation.namespace]

    def _run(self, *arguments: str, timeout: float = 60) -> str:
        return output(*self._command(), *arguments, environment=self.environment, timeout=timeout)


def _drain(pipe: IO[str]) -> None:
    """Read on, so that kubectl never waits for a reader."""
    for _ in pipe:
        pass


@contextlib.contextmanager
def through_cluster(installation: Installation, context: str | None) -> Generator[Kubectl]:
    """By `context` of the caller's kubeconfig, else by a kubeconfig that gcloud writes into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        if context:
            reach = Kubectl(installation, ["--context", context])
        else:
            environment = {"KUBECONFIG": f"{folder}/kubeconfig"}
            where = ["--location", installation.location, "--project", installation.project]
            command = ["gcloud", "container", "clusters", "get-credentials", installation.cluster, *where]
            output(*command, environment=environment)
            reach = Kubectl(installation, environment=environment)
        try:
            yield reach
        finally:
            reach.close()
