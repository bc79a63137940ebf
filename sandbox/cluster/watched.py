"""The cluster as the emulators see it: a watch keeps a cache of each kind, writes go to the API server.

It knows the kinds listed below and no discovery. Objects are the API's own JSON, as dicts; treat what `list`
and `get` return as read-only.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal, NamedTuple
from urllib.parse import urlencode

from sandbox.cluster.client import FIELD_MANAGER, JSON, MERGE, ApiError, Client, Json
from sandbox.cluster.status import condition, serves, timestamp, with_condition

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class Resource(NamedTuple):
    version: str
    plural: str


KINDS = {
    "ConfigMap": Resource("v1", "configmaps"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "Event": Resource("v1", "events"),
    "Namespace": Resource("v1", "namespaces"),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
    "Node": Resource("v1", "nodes"),
    "PersistentVolume": Resource("v1", "persistentvolumes"),
    "PersistentVolumeClaim": Resource("v1", "persistentvolumeclaims"),
    "Pod": Resource("v1", "pods"),
    "Secret": Resource("v1", "secrets"),
    "Service": Resource("v1", "services"),
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "Deployment": Resource("apps/v1", "deployments"),
    "Job": Resource("batch/v1", "jobs"),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets"),
    "StorageClass": Resource("storage.k8s.io/v1", "storageclasses"),
    "VolumeAttachment": Resource("storage.k8s.io/v1", "volumeattachments"),
    "MutatingWebhookConfiguration": Resource(
        "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations"
    ),
    "ValidatingWebhookConfiguration": Resource(
        "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"
    ),
    "ExternalSecret": Resource("external-secrets.io/v1", "externalsecrets"),
    "SecretStore": Resource("external-secrets.io/v1", "secretstores"),
    "ClusterSecretStore": Resource("external-secrets.io/v1", "clustersecretstores"),
    "Cluster": Resource("postgresql.cnpg.io/v1", "clusters"),
    "Backup": Resource("postgresql.cnpg.io/v1", "backups"),
    "ScheduledBackup": Resource("postgresql.cnpg.io/v1", "scheduledbackups"),
    "ObjectStore": Resource("barmancloud.cnpg.io/v1", "objectstores"),
    "Certificate": Resource("cert-manager.io/v1", "certificates"),
    "Issuer": Resource("cert-manager.io/v1", "issuers"),
}


class Watched:
    """A cluster's objects; reads are from caches of the kinds given to `watch`, own writes among them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._cache: dict[str, dict[tuple[str, str], Json]] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()

    def watch(self, kinds: set[str]) -> None:
        """Keep a cache of each kind, from when this returns. One of a kind that is not served is empty."""
        filled = {kind: threading.Event() for kind in sorted(kinds)}
        for kind, event in filled.items():
            self._cache[kind] = {}
            threading.Thread(
                target=self._follow, args=(kind, event), name=f"watch-{kind}", daemon=True
            ).start()
        for event in filled.values():
            event.wait()

    def wait(self, seconds: float) -> None:
        """Wait for a change of any watched object, at most `seconds`."""
        if self._changed.wait(seconds):
            self._changed.clear()

    def list(self, kind: str, namespace: str | None = None) -> list[Json]:
        """Every object of a watched kind, or those of one namespace, ordered by namespace and name."""
        with self._lock:
            return [
                item
                for key, item in sorted(self._cache[kind].items())
                if namespace is None or key[0] == namespace
            ]

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """One object of a watched kind; `namespace` is "" for a kind without namespaces."""
        with self._lock:
            return self._cache[kind].get((namespace, name))

    def create(self, kind: str, item: Json, manager: str = FIELD_MANAGER) -> Json | None:
        """Create an object; None when one of its name is there already. Raises ApiError."""
        return self._write("POST", kind, item, manager, named=False, excused=(409,))

    def update(self, kind: str, item: Json, manager: str = FIELD_MANAGER) -> Json | None:
        """Replace an object; None when it changed meanwhile or is gone (look again). Raises ApiError."""
        return self._write("PUT", kind, item, manager)

    def patch(
        self, kind: str, item: Json, changes: Json, subresource: Literal["", "/status"] = ""
    ) -> Json | None:
        """Merge-patch an object as it was read; None when it changed meanwhile or is gone (look again).

        Raises ApiError.
        """
        metadata = item["metadata"]
        seen = {key: metadata[key] for key in ("name", "namespace", "resourceVersion") if key in metadata}
        body = {**changes, "metadata": {**changes.get("metadata", {}), **seen}}
        return self._write("PATCH", kind, body, FIELD_MANAGER, subresource=subresource)

    def delete(self, kind: str, item: Json, grace_seconds: int | None = None) -> None:
        """Delete an object and, in the background, what it owns; fine when it is gone. Raises ApiError.

        `grace_seconds` takes the place of a pod's own grace period.
        """
        options = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": item["metadata"]["uid"]},
            "gracePeriodSeconds": grace_seconds,
        }
        try:
            self._client.send("DELETE", _path(kind, item), options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def token(self, namespace: str, account: str, spec: Json) -> str:
        """A token of a ServiceAccount, as a TokenRequest's `spec` asks for it. Raises ApiError."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self._client.send("POST", path, body)["status"]["token"]

    def event(
        self,
        kind: str,
        item: Json,
        level: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        source: str,
    ) -> None:
        """Record an Event about an object, as `source` would."""
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "default")
        now = timestamp()
        self.create(
            "Event",
            {
                "metadata": {"generateName": f"{metadata['name']}.", "namespace": namespace},
                "involvedObject": {
                    "apiVersion": KINDS[kind].version,
                    "kind": kind,
                    "namespace": metadata.get("namespace", ""),
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "type": level,
                "reason": reason,
                "message": message[:1024],
                "source": {"component": source},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )

    def _write(
        self,
        method: str,
        kind: str,
        item: Json,
        manager: str,
        *,
        named: bool = True,
        subresource: str = "",
        excused: tuple[int, ...] = (404, 409),
    ) -> Json | None:
        path = f"{_path(kind, item, named)}{subresource}?{urlencode({'fieldManager': manager})}"
        body = {"apiVersion": KINDS[kind].version, "kind": kind, **item}
        try:
            written = self._client.send(method, path, body, MERGE if method == "PATCH" else JSON)
        except ApiError as error:
            if error.status in excused:
                return None
            raise
        self._remember(kind, written)
        return written

    def _remember(self, kind: str, item: Json) -> None:
        if kind not in self._cache:
            return
        key = _key(item)
        with self._lock:
            known = self._cache[kind].get(key)
            if known is None or _age(known) < _age(item):
                self._cache[kind][key] = item

    def _follow(self, kind: str, filled: threading.Event) -> None:
        path = _path(kind, {"metadata": {}}, named=False)
        failure = ""
        while True:
            try:
                version = self._fill(kind, path)
                failure = ""
                filled.set()
                self._changed.set()
                for change in self._client.changes(path, version):
                    self._apply(kind, change)
                    self._changed.set()
            except Exception as error:  # whatever ended the watch, it is started again
                status = error.status if isinstance(error, ApiError) else None
                if status == 404:
                    with self._lock:
                        self._cache[kind] = {}
                    filled.set()
                elif status != 410 and failure != repr(error):
                    failure = repr(error)
                    _LOG.warning("watching %s: %s", KINDS[kind].plural, error)
            time.sleep(_RETRY_SECONDS)

    def _fill(self, kind: str, path: str) -> str:
        found = self._client.get(path)
        with self._lock:
            self._cache[kind] = {_key(item): item for item in found["items"]}
        return found["metadata"]["resourceVersion"]

    def _apply(self, kind: str, change: Json) -> None:
        item = change["object"]
        if change["type"] != "DELETED":
            self._remember(kind, item)
            return
        with self._lock:
            known = self._cache[kind].get(_key(item))
            if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
                del self._cache[kind][_key(item)]


def set_condition(
    api: Watched, kind: str, item: Json, type_: str, status: bool, reason: str, message: str
) -> None:
    """Write a status condition of an object, unless it says the same already."""
    known = condition(item, type_)
    if known is None or (known["status"] == "True", known["message"]) != (status, message):
        conditions = with_condition(item, type_, status, reason, message)
        api.patch(kind, item, {"status": {"conditions": conditions}}, "/status")


def available(api: Watched, app: str) -> Json | None:
    """The Deployment labelled app.kubernetes.io/name=`app`; None while none of its pods is available."""
    for deployment in api.list("Deployment"):
        labels = deployment["metadata"].get("labels", {})
        if labels.get("app.kubernetes.io/name") == app and serves(deployment):
            return deployment
    return None


def owner(kind: str, item: Json) -> Json:
    """The ownerReference that makes an object the controller of another."""
    return {
        "apiVersion": KINDS[kind].version,
        "kind": kind,
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controlled_by(item: Json, uid: str) -> bool:
    """Is the object with this uid the controller of `item`?"""
    return any(
        reference["uid"] == uid and reference.get("controller")
        for reference in item["metadata"].get("ownerReferences", [])
    )


def _path(kind: str, item: Json, named: bool = True) -> str:
    (version, plural), metadata = KINDS[kind], item["metadata"]
    namespace = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
    name = f"/{metadata['name']}" if named else ""
    return f"/{'apis' if '/' in version else 'api'}/{version}{namespace}/{plural}{name}"


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _age(item: Json) -> int:
    return int(item["metadata"]["resourceVersion"])
