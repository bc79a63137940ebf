"""Reads a cluster, and changes nothing: objects, events and the ends of logs."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import yaml
from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException, new_client_from_config, new_client_from_config_dict
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

PATHS = {
    "ClusterSecretStore": "/apis/external-secrets.io/v1/clustersecretstores",
    "Cluster": "/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Event": "/api/v1/namespaces/{}/events",
    "ExternalSecret": "/apis/external-secrets.io/v1/namespaces/{}/externalsecrets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Node": "/api/v1/nodes",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{}/pods",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
}
"""Where each kind is read that an explanation follows; Secrets are never read."""
_PLUGIN = "gke-gcloud-auth-plugin"
_SECONDS = 10  # for each request: an explanation must not wait for what made the `up` wait
_LINES = 20


class ExplainError(Exception):
    """Nothing can be explained; the message says why and what to do."""


class Cluster:
    """What the API server answers to a client that only reads."""

    def __init__(self, api: ApiClient) -> None:
        self._api: Any = api
        self.unreadable: set[str] = set()
        """What the user's rights do not reach, e.g. "pods in vllm"."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object; None where it is gone or may not be read. Raises ExplainError."""
        text = self._read(f"{PATHS[kind].format(namespace)}/{name}")
        return {"kind": kind, **json.loads(text)} if text else None

    def items(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """The objects with these labels, of all namespaces if `namespace` is empty. Raises ExplainError."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        path = PATHS[kind].replace("namespaces/{}/", f"namespaces/{namespace}/" if namespace else "")
        text = self._read(path, {"labelSelector": selector} if selector else {})
        found: list[Object] = json.loads(text)["items"] if text else []
        return [{**item, "kind": kind} for item in found]

    def events(self, subject: Object) -> list[Object]:
        """The events about an object, the newest last. Raises ExplainError."""
        metadata = subject["metadata"]
        where = PATHS["Event"].format(metadata.get("namespace", "default"))
        text = self._read(where, {"fieldSelector": f"involvedObject.uid={metadata['uid']}"})
        found: list[Object] = json.loads(text)["items"] if text else []
        return sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")

    def log(self, pod: Object, container: str, *, previous: bool) -> str:
        """The end of a container's log, empty where there is none. Raises ExplainError."""
        metadata = pod["metadata"]
        path = f"{PATHS['Pod'].format(metadata['namespace'])}/{metadata['name']}/log"
        query = {"container": container, "previous": str(previous).lower(), "tailLines": str(_LINES)}
        return self._read(path, query)

    def _read(self, path: str, query: Mapping[str, str] | None = None) -> str:
        try:
            asked = self._api.param_serialize(
                "GET", path, query_params=list((query or {}).items()), auth_settings=["BearerToken"]
            )
            answer = self._api.call_api(*asked, _request_timeout=_SECONDS)
            body: bytes = answer.read()
        except HTTPError as error:
            raise ExplainError(
                f"the cluster does not answer, so nothing can be read from it: {error}"
            ) from error
        except ApiException as error:
            answer = error
            body = b""
        status = cast(int, answer.status)
        if status == 429 or (status >= 500 and not path.endswith("/log")):
            raise ExplainError(f"the cluster answers {status} to {path}: run it again when it is well")
        if status in (401, 403):
            self.unreadable.add(path.removeprefix("/apis/").removeprefix("/api/v1/"))
        return body.decode(errors="replace") if 200 <= status < 300 else ""


@contextmanager
def connected(kubeconfig: str, context: str | None) -> Generator[Cluster]:
    """A cluster by a context of the user's kubeconfig, else by the kubeconfig of the stack's provider.

    Raises ExplainError if there is neither, or its login fails.
    """
    try:
        api: ApiClient = (
            new_client_from_config(context=context)
            if context
            else new_client_from_config_dict(_harmless(kubeconfig))
        )
    except ConfigException as error:
        raise ExplainError(
            f"no cluster can be reached with this kubeconfig: {error}. Name a context of yours: --context NAME"
        ) from error
    with api:
        yield Cluster(api)


def _harmless(kubeconfig: str) -> Object:
    """The kubeconfig, if it starts no program but GKE's: it comes from a file, and what it names is run."""
    config: Any = yaml.safe_load(kubeconfig or "null")
    if not isinstance(config, dict):
        raise ExplainError(
            "the event log names no cluster: name a context of your kubeconfig: --context NAME"
        )
    for user in cast(Object, config).get("users") or []:
        command = (user.get("user", {}).get("exec") or {"command": _PLUGIN}).get("command")
        if command != _PLUGIN:
            raise ExplainError(
                f"the event log's kubeconfig would start {command!r}, which is not run from a file: name a context of "
                "your kubeconfig: --context NAME"
            )
    return config
