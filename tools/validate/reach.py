"""The ways to reach a proxy: a given URL, or a tunnel through the cluster."""

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
from tools.validate.errors import NotRunError, ValidateError
from tools.validate.installation import Installation

PODS = "app.kubernetes.io/name=litellm,app.kubernetes.io/instance=litellm"
ROLLOUT = 600
"""Seconds that replacing a proxy may take."""
TUNNEL = 60
"""Seconds that opening a tunnel may take."""


class Cluster(Protocol):
    """What needs access to the cluster."""

    def recorded_spend(self, token: str) -> float:
        """USD in the database's row of the key with that hash.

        Raises ValidateError if there is no row, NotRunError where the database is not in the cluster.
        """
        ...

    def replicas(self) -> int:
        """The number of ready proxies."""
        ...

    def restart(self) -> None:
        """Replace one proxy and wait until as many are ready as before. Raises ValidateError on timeout."""
        ...


class Reach(Protocol):
    """Where the proxy answers."""

    @property
    def url(self) -> str:
        """Base URL, which a restart may change. Raises ValidateError if the proxy cannot be reached."""
        ...

    @property
    def cluster(self) -> Cluster | None:
        """None where only the URL is known."""
        ...


@dataclass(frozen=True)
class Url:
    """A proxy at a URL, without access to its pods or its database."""

    url: str
    cluster: None = None


@dataclass
class Kubectl:
    """A proxy's pod through `kubectl port-forward`; kubectl gets `arguments` and `environment`."""

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
        """Base URL of the tunnel, which is opened if there is none."""
        if self._tunnel is None or self._tunnel.poll() is not None:
            self._open()
        return self._url

    def close(self) -> None:
        """Close the tunnel."""
        if self._tunnel:
            self._tunnel.terminate()
            self._tunnel.wait()
            self._tunnel = None

    def recorded_spend(self, token: str) -> float:
        """Read by psql in the database's primary."""
        if self.installation.database is None:
            raise NotRunError("the database is not of this cluster (postgres.existing)")
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
        """Pods that are ready and not being deleted."""
        return len(self._ready())

    def restart(self) -> None:
        """Delete a pod other than the tunnel's; an only pod is replaced by a rollout."""
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
            and ("Ready", "True")
            in [(one["type"], one["status"]) for one in pod["status"].get("conditions", [])]
        ]

    def _open(self) -> None:
        ready = self._ready()
        if not ready:
            raise ValidateError(
                f"no proxy is ready in namespace {self.installation.namespace}; kubectl describe pods says why"
            )
        self._to = ready[0]
        # In a session of its own, Ctrl-C does not close the tunnel, which the cleanup needs.
        self._tunnel = subprocess.Popen(
            [*self._command(), "port-forward", f"pod/{self._to}", f":{PORT}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **self.environment},
        )
        assert self._tunnel.stdout  # noqa: S101 - a pipe, for the type checker
        late = threading.Timer(TUNNEL, self._tunnel.terminate)
        late.daemon = True
        late.start()
        said: list[str] = []
        port = None
        for line in self._tunnel.stdout:
            # Warnings of kubectl or of its login program may come first.
            if port := re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                break
            said.append(line.strip())
        late.cancel()
        if not port:
            self.close()
            raise ValidateError(f"kubectl port-forward opened no tunnel to {self._to}: {' '.join(said)}")
        threading.Thread(target=_drain, args=[self._tunnel.stdout], daemon=True).start()
        self._url = f"http://127.0.0.1:{port[1]}"

    def _command(self) -> list[str]:
        return ["kubectl", *self.arguments, "--namespace", self.installation.namespace]

    def _run(self, *arguments: str, timeout: float = 60) -> str:
        return output(*self._command(), *arguments, environment=self.environment, timeout=timeout)


def _drain(pipe: IO[str]) -> None:
    """Keep reading, so that kubectl never blocks on a full pipe."""
    for _ in pipe:
        pass


@contextlib.contextmanager
def through_cluster(installation: Installation, context: str | None) -> Generator[Kubectl]:
    """The proxy by a context of the user's kubeconfig, else by a temporary kubeconfig that gcloud writes."""
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
