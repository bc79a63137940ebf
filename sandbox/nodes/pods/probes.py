"""Probes of containers: one try, and what a row of tries says.

Source: k8s.io/kubernetes v1.36, pkg/probe and pkg/kubelet/prober. What it does not do: gRPC probes (they fail, saying so),
https certificates' names (the kubelet does not check them either).
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sandbox.cluster.client import Json

Run = Callable[[list[str], float], tuple[int, str]]
"""Runs a command in the container; its exit code and output. Raises TimeoutError."""
_LONGEST = 10 * 1024


@dataclass(frozen=True)
class Try:
    """What one try of a probe found."""

    succeeded: bool
    output: str = ""


class Verdict(Enum):
    """What the tries so far say."""

    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILURE = "failure"


class Tally:
    """Counts the tries of one probe against its thresholds."""

    def __init__(self, probe: Json) -> None:
        self._needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
        self._last: bool | None = None
        self._count = 0
        self.verdict = Verdict.UNKNOWN

    def add(self, succeeded: bool) -> Verdict:
        """Take one more try into account; the verdict then."""
        self._count = self._count + 1 if succeeded == self._last else 1
        self._last = succeeded
        if self._count >= self._needed[succeeded]:
            self.verdict = Verdict.SUCCESS if succeeded else Verdict.FAILURE
        return self.verdict


def attempt(probe: Json, container: Json, address: str, shown: str, run: Run) -> Try:
    """Try a probe once. `address` is the pod's here, `shown` its address in the API, which messages name."""
    timeout = float(probe.get("timeoutSeconds", 1))
    try:
        if "exec" in probe:
            return _exec(probe["exec"]["command"], timeout, run)
        if "httpGet" in probe:
            return _http(probe["httpGet"], container, address, shown, timeout)
        if "tcpSocket" in probe:
            return _tcp(port_of(probe["tcpSocket"]["port"], container), address, shown, timeout)
    except ValueError as error:
        return Try(False, str(error))
    return Try(
        False, f"probes of type {', '.join(sorted(probe.keys() & {'grpc'}))} are not emulated by the sandbox"
    )


def port_of(port: int | str, container: Json) -> int:
    """A container's port by number or name. Raises ValueError."""
    if isinstance(port, int):
        return port
    for named in container.get("ports", []):
        if named.get("name") == port:
            return named["containerPort"]
    if port.isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port}")


def _exec(command: list[str], timeout: float, run: Run) -> Try:
    try:
        code, output = run(command, timeout)
    except TimeoutError:
        return Try(False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
    return Try(code == 0, output[:_LONGEST])


def _http(action: Json, container: Json, address: str, shown: str, timeout: float) -> Try:
    port = port_of(action["port"], container)
    path = action.get("path") or "/"
    scheme = action.get("scheme", "HTTP").lower()
    url = f"{scheme}://{shown}:{port}{path if path.startswith('/') else f'/{path}'}"
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
    headers |= {entry["name"]: entry["value"] for entry in action.get("httpHeaders", [])}
    context = _unverified() if scheme == "https" else None
    connection = (
        http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
        if context
        else http.client.HTTPConnection(address, port, timeout=timeout)
    )
    try:
        connection.request("GET", url.partition(f":{port}")[2], headers=headers)
        answer = connection.getresponse()
        body = answer.read(_LONGEST).decode(errors="replace")
    except TimeoutError:
        return Try(
            False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        )
    except ConnectionRefusedError:
        return Try(False, f'Get "{url}": dial tcp {shown}:{port}: connect: connection refused')
    except (OSError, http.client.HTTPException) as error:
        return Try(False, f'Get "{url}": {error or type(error).__name__}')
    finally:
        connection.close()
    if 200 <= answer.status < 400:
        return Try(True, body)
    return Try(False, f"HTTP probe failed with statuscode: {answer.status}")


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _tcp(port: int, address: str, shown: str, timeout: float) -> Try:
    try:
        socket.create_connection((address, port), timeout).close()
    except TimeoutError:
        return Try(False, f"dial tcp {shown}:{port}: i/o timeout")
    except OSError as error:
        return Try(False, f"dial tcp {shown}:{port}: connect: {(error.strerror or str(error)).lower()}")
    return Try(True)
