"""A connection to the one cluster that a provider's kubeconfig names; loopback only.

The official client reads the kubeconfig and runs its exec plugin; requests are plain JSON over its connection pool.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

# Here, not where they are used: threads that import them at the same time find each other's half-made modules.
import urllib3
import yaml
from kubernetes import client
from kubernetes.config import kube_config

from sandbox.cluster.loopback import require_loopback
from sandbox.errors import SandboxError
from sandbox.paths import Home

Object = dict[str, Any]


class Unreachable(SandboxError):
    """The API server does not answer."""


class ApiError(SandboxError):
    """The API server's refusal: HTTP `status`, Kubernetes `reason` and its message."""

    def __init__(self, status: int, reason: str, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind

    @property
    def namespace_missing(self) -> bool:
        return self.status == 404 and self.kind == "namespaces"


class NoMatch(SandboxError):
    """The API server serves no such apiVersion and kind (yet)."""


@dataclass(frozen=True)
class Resource:
    """How the API server serves a kind."""

    path: str
    namespaced: bool


def active_cluster(kubeconfig: str, context: str | None) -> tuple[Object, Object]:
    """The kubeconfig as a mapping and the entry of the cluster that its active context names.

    Raises SandboxError for a kubeconfig that is not one, and for a server that is not loopback.
    """
    try:
        config = yaml.safe_load(kubeconfig)
        current = context or config["current-context"]
        name = next(c["context"]["cluster"] for c in config["contexts"] if c["name"] == current)
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == name)
        require_loopback(cluster["server"])
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise SandboxError(
            f"kubeconfig: no cluster can be read from it ({type(error).__name__}: {error}). "
            "Give the kubeconfig's text (YAML or JSON) with its current-context, contexts and clusters."
        ) from error
    return config, cluster


class Cluster:
    """The cluster of a kubeconfig's active context. Connects on the first request; safe for several threads."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.context = context
        config, self.entry = active_cluster(kubeconfig, context)
        current = context or config["current-context"]
        chosen = next(c["context"] for c in config["contexts"] if c["name"] == current)
        self.namespace: str = chosen.get("namespace") or "default"
        self._config = config
        self._lock = threading.Lock()
        self._client: Any = None
        self._resources: dict[tuple[str, str], Resource] = {}

    def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is served; raises NoMatch where it is not."""
        found = self._resources.get((api_version, kind))
        if found:
            return found
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            served = self.request("GET", base)["resources"]
        except ApiError as error:
            if error.status != 404:
                raise
            served = []
        for entry in served:
            if "/" not in entry["name"]:
                self._resources[api_version, entry["kind"]] = Resource(
                    f"{base}/%s{entry['name']}", entry["namespaced"]
                )
        if (api_version, kind) not in self._resources:
            raise NoMatch(f'no matches for kind "{kind}" in version "{api_version}"')
        return self._resources[api_version, kind]

    def path(self, api_version: str, kind: str, namespace: str | None, name: str = "") -> str:
        """The API path of an object, or of a namespace's (or, without one, the cluster's) objects of a kind."""
        resource = self.resource(api_version, kind)
        namespace = namespace or (self.namespace if name else None)
        scope = f"namespaces/{quote(namespace)}/" if resource.namespaced and namespace else ""
        return resource.path % scope + (f"/{quote(name)}" if name else "")

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """The live object, or None."""
        try:
            return self.request("GET", self.path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str | None, **selectors: str) -> list[Object]:
        """Live objects; `selectors` are labelSelector and fieldSelector."""
        items = self.request("GET", self.path(api_version, kind, namespace), selectors)["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def apply(self, body: Object, manager: str, *, force: bool, dry_run: bool) -> Object:
        """Server-side apply with strict field validation; the object as the server has (or would have) it."""
        metadata = body["metadata"]
        path = self.path(body["apiVersion"], body["kind"], metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", path, query, body)

    def delete(self, path: str, propagation: str) -> None:
        """Starts the deletion of an object."""
        self.request(
            "DELETE",
            path,
            body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation},
        )

    def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Object | None = None
    ) -> Any:
        """A decoded answer; raises ApiError for a refusal and Unreachable where there is no answer."""
        connected = self._connected()
        headers = {"Accept": "application/json"}
        for setting in connected.configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = (
                "application/apply-patch+yaml" if method == "PATCH" else "application/json"
            )
        try:
            answer = connected.rest_client.pool_manager.request(
                method,
                connected.configuration.host + path + (f"?{urlencode(query)}" if query else ""),
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=urllib3.Timeout(connect=5, read=60),
                retries=urllib3.Retry(0, read=False),
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"the Kubernetes API server {connected.configuration.host} does not answer: {error}"
            ) from error
        if answer.status >= 400:
            raise _refusal(answer.status, answer.data)
        return json.loads(answer.data)

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                configuration = client.Configuration()
                configuration.connection_pool_maxsize = 64
                configuration.proxy = None
                kube_config.load_kube_config_from_dict(
                    self._config,
                    context=self.context,
                    client_configuration=configuration,
                    persist_config=False,
                    temp_file_path=str(private_directory()),
                )
                if not (configuration.cert_file or configuration.api_key):
                    raise SandboxError(
                        "kubeconfig: its user has no usable credentials (no client certificate, no token, and no exec "
                        "plugin that hands them out; the plugin's own error is in the log above)."
                    )
                self._client = client.ApiClient(configuration)
            return self._client


def private_directory() -> Any:
    """The sandbox's folder for short-lived files that only this user may read."""
    folder = Home.from_env().root / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _refusal(status: int, data: bytes) -> ApiError:
    try:
        body = json.loads(data)
        kind = (body.get("details") or {}).get("kind", "")
        return ApiError(status, body.get("reason", "Unknown"), body["message"], kind)
    except (ValueError, KeyError, TypeError):
        text = data.decode(errors="replace").strip()
        return ApiError(status, "Unknown", f"HTTP {status} from the Kubernetes API server: {text[:500]}")
