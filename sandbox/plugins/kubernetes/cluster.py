"""A connection to the one cluster that a provider's kubeconfig names; loopback only.

The official client reads the kubeconfig and runs its exec plugin; the requests are the sandbox's own
client's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

# Imported here rather than where they are used: two threads that import a module at the same time see it half made.
import yaml
from kubernetes.client import Configuration
from kubernetes.config import kube_config

from sandbox.cluster.client import ApiError, Client
from sandbox.cluster.loopback import require_loopback
from sandbox.errors import SandboxError
from sandbox.paths import Home

Object = dict[str, Any]


class NoMatch(SandboxError):
    """The API server serves no such apiVersion and kind (yet)."""


@dataclass(frozen=True)
class Resource:
    """How the API server serves a kind."""

    path: str
    namespaced: bool


def active_cluster(kubeconfig: str) -> tuple[Object, Object]:
    """The kubeconfig as a mapping, and its active context with the `cluster` that it names in full.

    Raises SandboxError for a kubeconfig that is not one, and for a server that is not loopback.
    """
    try:
        config = yaml.safe_load(kubeconfig)
        active = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == active["cluster"])
        require_loopback(cluster["server"])
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise SandboxError(
            f"kubeconfig: no cluster can be read from it ({type(error).__name__}: {error}). "
            "Give the kubeconfig's text (YAML or JSON) with its current-context, contexts and clusters."
        ) from error
    return config, {**active, "cluster": cluster}


class Cluster:
    """The cluster of a kubeconfig's active context, connected on the first request; safe for threads."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        self._config, context = active_cluster(kubeconfig)
        self.namespace: str = context.get("namespace") or "default"
        self._server: str = context["cluster"]["server"]
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is served; raises NoMatch where it is not."""
        found = self._resources.get((api_version, kind))
        if found:
            return found
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        for entry in (self._found(base) or {"resources": []})["resources"]:
            if "/" not in entry["name"]:
                resource = Resource(f"{base}/%s{entry['name']}", entry["namespaced"])
                self._resources[api_version, entry["kind"]] = resource
        if (api_version, kind) not in self._resources:
            raise NoMatch(f'no matches for kind "{kind}" in version "{api_version}"')
        return self._resources[api_version, kind]

    def path(self, api_version: str, kind: str, namespace: str | None, name: str = "") -> str:
        """The API path of an object, or of a kind's objects in a namespace or, without one, the cluster."""
        resource = self.resource(api_version, kind)
        namespace = namespace or (self.namespace if name else None)
        scope = f"namespaces/{quote(namespace)}/" if resource.namespaced and namespace else ""
        return resource.path % scope + (f"/{quote(name)}" if name else "")

    def plural(self, body: Object) -> str:
        """How the API server calls an object's kind in its messages, such as deployments.apps."""
        plural = self.resource(body["apiVersion"], body["kind"]).path.rpartition("%s")[2]
        group = body["apiVersion"].rpartition("/")[0]
        return f"{plural}.{group}" if group else plural

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """The live object, or None."""
        return self._found(self.path(api_version, kind, namespace, name))

    def list(self, api_version: str, kind: str, namespace: str | None, **selectors: str) -> list[Object]:
        """Live objects; `selectors` are labelSelector and fieldSelector."""
        path = self.path(api_version, kind, namespace)
        items = self._connected().get(f"{path}?{urlencode(selectors)}")["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def create(self, body: Object, manager: str) -> Object:
        """POST with strict field validation; raises ApiError (AlreadyExists) where the object is there."""
        path = self.path(body["apiVersion"], body["kind"], body["metadata"].get("namespace"))
        query = urlencode({"fieldManager": manager, "fieldValidation": "Strict"})
        return self._connected().send("POST", f"{path}?{query}", body)

    def set_managers(self, live: Object, managers: list[Object]) -> None:
        """Write the managedFields of an object that has not changed since it was read."""
        metadata = live["metadata"]
        path = self.path(live["apiVersion"], live["kind"], metadata.get("namespace"), metadata["name"])
        patch = {"metadata": {"managedFields": managers, "resourceVersion": metadata["resourceVersion"]}}
        self._connected().send("PATCH", path, patch, "application/merge-patch+json")

    def apply(self, body: Object, manager: str, *, force: bool, dry_run: bool) -> Object:
        """Server-side apply with strict field validation; the object as the server has (or would have) it."""
        metadata = body["metadata"]
        path = self.path(body["apiVersion"], body["kind"], metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        return self._connected().apply(path, body, query | ({"dryRun": "All"} if dry_run else {}))

    def delete(self, path: str, propagation: str) -> None:
        """Starts the deletion of an object."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        self._connected().send("DELETE", path, options)

    def _found(self, path: str) -> Any:
        try:
            return self._connected().get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                found = Configuration()
                kube_config.load_kube_config_from_dict(
                    self._config,
                    client_configuration=found,
                    persist_config=False,
                    temp_file_path=str(private_directory()),
                )
                if not (found.cert_file or found.api_key):
                    raise SandboxError(
                        "kubeconfig: its user has no usable credentials (no client certificate, no token, and no exec "
                        "plugin that hands them out; the plugin's own error is in the log above)."
                    )
                settings = cast(dict[str, Any], found.auth_settings())
                headers = {setting["key"]: setting["value"] for setting in settings.values()}
                self._client = Client(
                    self._server, found.ssl_ca_cert, found.cert_file, found.key_file, headers
                )
            return self._client


def private_directory() -> Path:
    """The sandbox's folder for short-lived files that only this user may read."""
    folder = Home.from_env().root / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
