"""The few calls the sandbox itself makes to its control plane, without the weight of a client library.

What it does not do: discovery, watches, retries, any cluster but a loopback one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3

from sandbox.cluster.loopback import require_loopback
from sandbox.errors import SandboxError

FIELD_MANAGER = "llm-gateway-sandbox"


class ClusterApi:
    """The API server at `server` (https://HOST:PORT), called with the certificates in kwokctl's `pki` folder.

    Safe for several threads. Raises SandboxError when the server is not loopback.
    """

    def __init__(self, server: str, pki: Path) -> None:
        self.server = require_loopback(server)
        self._pool = urllib3.PoolManager(
            cert_file=str(pki / "admin.crt"),
            key_file=str(pki / "admin.key"),
            ca_certs=str(pki / "ca.crt"),
            maxsize=16,
            retries=False,
            timeout=urllib3.Timeout(connect=2, read=30),
        )

    def get(self, path: str, accept: str = "application/json") -> Any:
        """A GET's decoded body. Raises SandboxError on an error status or when the server does not answer."""
        return json.loads(self._call("GET", path, headers={"Accept": accept}))

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds."""
        try:
            self._call("GET", path)
        except SandboxError:
            return False
        return True

    def create(self, path: str, body: dict[str, Any]) -> None:
        """POST an object; one that is there already is left as it is."""
        headers = {"Content-Type": "application/json"}
        self._call("POST", path, headers=headers, body=json.dumps(body).encode(), accepted=(409,))

    def apply(self, path: str, manifest: bytes) -> None:
        """Server-side apply one YAML or JSON manifest, taking over conflicting fields."""
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        self._call("PATCH", path + query, headers=headers, body=manifest)

    def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        accepted: tuple[int, ...] = (),
    ) -> bytes:
        try:
            answer = self._pool.request(method, self.server + path, headers=headers, body=body)
        except urllib3.exceptions.HTTPError as error:
            raise SandboxError(f"{method} {path}: {error}") from error
        if answer.status >= 400 and answer.status not in accepted:
            raise SandboxError(
                f"{method} {path}: HTTP {answer.status} {answer.data.decode(errors='replace')[:500]}"
            )
        return answer.data
