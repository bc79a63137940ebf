"""The sandbox's one Kubernetes client: JSON over HTTP, to an API server on this machine and to no other.

No library does all of this: kr8s has no server-side apply, lightkube takes tokens from an exec plugin but no
certificates, neither asks for strict field validation, and importing `kubernetes` takes 0.2 s of CPU.
What it does not do: discovery, retries. `watched.Watched` adds the emulators' caches,
`sandbox.plugins.kubernetes.cluster.Cluster` what the provider needs: a kubeconfig, discovery, its own apply.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from sandbox.cluster.loopback import require_loopback
from sandbox.errors import SandboxError

FIELD_MANAGER = "llm-gateway-sandbox"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

Json = dict[str, Any]


class Unreachable(SandboxError):
    """The API server does not answer."""


class ApiError(SandboxError):
    """A refusal by the API server: HTTP `status`, Kubernetes `reason`, message, and the plural kind meant."""

    def __init__(self, status: int, reason: str, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind


class Client:
    """The API server at `server` (https://HOST:PORT); paths are those of its API. Safe for several threads.

    `authority`, `certificate` and `key` are PEM files; `headers` carry a token, where that is the credential.
    Every method raises Unreachable where there is no answer and ApiError for a refusal; the constructor
    raises SandboxError for a server that is not loopback.
    """

    def __init__(
        self,
        server: str,
        authority: Path | str | None,
        certificate: Path | str | None,
        key: Path | str | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.server = require_loopback(server)
        self._pool = urllib3.PoolManager(
            cert_file=certificate and str(certificate),
            key_file=key and str(key),
            ca_certs=authority and str(authority),
            headers=headers,
            maxsize=64,
            retries=False,
        )

    def get(self, path: str, accept: str = JSON) -> Any:
        """The decoded answer to a GET."""
        return json.loads(self._send("GET", path, accept=accept).data)

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds."""
        try:
            self._send("GET", path)
        except SandboxError:
            return False
        return True

    def create(self, path: str, body: Json) -> None:
        """POST an object; one that is there already is left as it is."""
        try:
            self.send("POST", path, body)
        except ApiError as error:
            if error.status != 409:
                raise

    def apply(self, path: str, manifest: bytes | Json, query: Mapping[str, str] | None = None) -> Any:
        """Server-side apply an object, by default with conflicting fields taken over; the object then."""
        query = query or {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self.send("PATCH", f"{path}?{urlencode(query)}", manifest, APPLY)

    def send(self, method: str, path: str, body: bytes | Json, content: str = JSON) -> Any:
        """The decoded answer to a request with a body of the type `content`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return json.loads(self._send(method, path, data, content).data)

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """The watch events of a collection after a resource version, until the server ends the watch."""
        query = urlencode({"watch": "true", "resourceVersion": version})
        with self._send("GET", f"{path}?{query}", stream=True) as answer:
            for line in answer:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    status = change["object"]
                    raise ApiError(status["code"], status.get("reason", "Unknown"), status["message"])
                yield change

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content: str = JSON,
        accept: str = JSON,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(
                method,
                self.server + path,
                headers={**self._pool.headers, "Accept": accept, "Content-Type": content},
                body=body,
                timeout=urllib3.Timeout(connect=5, read=None if stream else 60),
                preload_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"the Kubernetes API server {self.server} does not answer: {error}") from error
        if answer.status >= 400:
            raise _refusal(answer.status, answer.data)
        return answer


def _refusal(status: int, data: bytes) -> ApiError:
    try:
        body = json.loads(data)
        kind = (body.get("details") or {}).get("kind", "")
        return ApiError(status, body.get("reason", "Unknown"), body["message"], kind)
    except (ValueError, KeyError, TypeError):
        text = data.decode(errors="replace").strip()
        return ApiError(status, "Unknown", f"HTTP {status} from the Kubernetes API server: {text[:500]}")
