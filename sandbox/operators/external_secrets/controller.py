"""The External Secrets operator: stores on Secret Manager, and ExternalSecrets that become Secrets.

It acts while the operator's Deployment is Available, and words conditions and events as the operator does:
the condition names the step that failed, the Event `UpdateFailed` the cause. It reads the emulated Secret
Manager as the Kubernetes service account that a store names (`auth.workloadIdentity`), or, where a store
names none, as its own, whoever made the store: Workload Identity Federation, direct IAM.

Not as pinned: the program installs chart 2.6.0, but the CRDs served are v1.3.2's, the newest that the
Go module proxy has. They lack remoteRef.nullBytePolicy and what else came since, and the API server refuses
it by name.

What it does not do: any provider but gcpsm, other store authentication, accounts that stand for a Google one,
dataFrom, templateFrom, generators, PushSecrets, ClusterExternalSecrets, creation policies Merge and None, a
namespaceSelector in a store's conditions. It refuses each by name, in the conditions of the object that asks
for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from sandbox.cluster.client import ApiError
from sandbox.cluster.status import condition, holds, moment, timestamp, with_condition
from sandbox.cluster.watched import Json, Watched, available, controlled_by, owner, set_condition
from sandbox.google.cloud import Cloud, CloudError
from sandbox.google.workload_identity import principal
from sandbox.operators.external_secrets.template import TemplateError, render

FINALIZER = "externalsecrets.external-secrets.io/externalsecret-cleanup"
DATA_HASH = "reconcile.external-secrets.io/data-hash"
MANAGED = "reconcile.external-secrets.io/managed"
CREATED_BY = "reconcile.external-secrets.io/created-by"

_SOURCE = "external-secrets"
# BuildRateLimiter in the operator's pkg/controllers/common; each failure doubles it.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 420.0
_KNOWN: dict[str, frozenset[str]] = {
    "spec": frozenset({"secretStoreRef", "target", "refreshInterval", "refreshPolicy", "data"}),
    "spec.target": frozenset({"name", "creationPolicy", "deletionPolicy", "immutable", "template"}),
    "spec.target.template": frozenset({"engineVersion", "type", "metadata", "data", "mergePolicy"}),
    "spec.target.template.metadata": frozenset({"labels", "annotations"}),
}
_KNOWN_VALUES = {
    ("target", "creationPolicy"): ("Owner", "Orphan"),
    ("target", "deletionPolicy"): ("Retain", "Delete"),
}
_REMOTE_REF = frozenset({"key", "version", "property"})
_REMOTE_REF_DEFAULTS = {"conversionStrategy": "Default", "decodingStrategy": "None", "metadataPolicy": "None"}
_CODES = {
    "NOT_FOUND": "NotFound",
    "PERMISSION_DENIED": "PermissionDenied",
    "FAILED_PRECONDITION": "FailedPrecondition",
    "INVALID_ARGUMENT": "InvalidArgument",
}


class SyncError(Exception):
    """A sync that failed: the condition's message, and the cause that the event tells."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(cause)
        self.message = message


class ExternalSecrets:
    """Reconciles stores and ExternalSecrets."""

    kinds = frozenset(
        {"Deployment", "ExternalSecret", "SecretStore", "ClusterSecretStore", "Secret", "ServiceAccount"}
    )

    def __init__(self, api: Watched, cloud: Cloud) -> None:
        self._api = api
        self._cloud = cloud
        self._retries: dict[str, tuple[str, float, float]] = {}
        self._told: dict[str, str] = {}

    def reconcile(self) -> None:
        controller = available(self._api, "external-secrets")
        if controller is None:
            return
        for kind in ("ClusterSecretStore", "SecretStore"):
            for store in self._api.list(kind):
                self._reconcile_store(controller, kind, store)
        for item in self._api.list("ExternalSecret"):
            self._reconcile_secret(controller, item)

    def _reconcile_store(self, controller: Json, kind: str, store: Json) -> None:
        cause = why_invalid(store)
        try:
            if not cause and not (kind == "ClusterSecretStore" and is_referent(store)):
                self._member(controller, store, store["metadata"].get("namespace", ""))
        except LookupError as error:
            cause = error.args[0]
        ready = condition(store, "Ready")
        if cause:
            status = {
                "conditions": with_condition(
                    store, "Ready", False, "InvalidProviderConfig", "unable to create client"
                )
            }
            level, reason, message = "Warning", "InvalidProviderConfig", cause
        else:
            status = {
                "capabilities": "ReadWrite",
                "conditions": with_condition(store, "Ready", True, "Valid", "store validated"),
            }
            level, reason, message = "Normal", "Valid", "store validated"
        if (
            ready
            and ready["reason"] == reason
            and self._told.get(store["metadata"]["uid"], message) == message
        ):
            return
        if self._api.patch(kind, store, {"status": status}, "/status"):
            self._told[store["metadata"]["uid"]] = message
            self._api.event(kind, store, level, reason, message, _SOURCE)

    def _reconcile_secret(self, controller: Json, item: Json) -> None:
        metadata = item["metadata"]
        finalizers = metadata.get("finalizers", [])
        if "deletionTimestamp" in metadata:
            if FINALIZER in finalizers:
                kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
                self._api.patch("ExternalSecret", item, {"metadata": {"finalizers": kept}})
            self._retries.pop(metadata["uid"], None)
            return
        if FINALIZER not in finalizers:
            changed = self._api.patch(
                "ExternalSecret", item, {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
            )
            if changed is None:
                return
            item = changed
        target = item["spec"].get("target", {})
        name = target.get("name") or metadata["name"]
        existing = self._api.get("Secret", metadata["namespace"], name)
        if not refresh_due(item) and (target.get("creationPolicy") == "Orphan" or untouched(existing)):
            return
        version = resource_version(item)
        waited = self._retries.get(metadata["uid"])
        if waited and waited[0] == version and time.monotonic() < waited[1]:
            return
        self._sync(controller, item, name, existing, version, waited)

    def _sync(
        self,
        controller: Json,
        item: Json,
        name: str,
        existing: Json | None,
        version: str,
        waited: tuple[str, float, float] | None,
    ) -> None:
        uid = item["metadata"]["uid"]
        try:
            event = self._write_secret(item, name, existing, self._read(controller, item))
        except SyncError as error:
            delay = (
                min(waited[2] * 2, _LONGEST_RETRY_SECONDS)
                if waited and waited[0] == version
                else _FIRST_RETRY_SECONDS
            )
            self._retries[uid] = (version, time.monotonic() + delay, delay)
            set_condition(
                self._api, "ExternalSecret", item, "Ready", False, "SecretSyncedError", error.message
            )
            if self._told.get(uid) != str(error):
                self._told[uid] = str(error)
                self._api.event("ExternalSecret", item, "Warning", "UpdateFailed", str(error), _SOURCE)
            return
        self._retries.pop(uid, None)
        self._told.pop(uid, None)
        status = {
            "binding": {"name": name},
            "conditions": with_condition(item, "Ready", True, "SecretSynced", "secret synced"),
            "refreshTime": timestamp(),
            "syncedResourceVersion": version,
        }
        self._api.patch("ExternalSecret", item, {"status": status}, "/status")
        if event:
            reason, message = event
            self._api.event("ExternalSecret", item, "Normal", reason, message, _SOURCE)

    def _read(self, controller: Json, item: Json) -> dict[str, bytes]:
        failed = "could not get secret data from provider"
        refused = next(not_emulated(item), None)
        if refused:
            raise SyncError(failed, f"{refused} is not emulated by the sandbox")
        values: dict[str, bytes] = {}
        for index, entry in enumerate(item["spec"].get("data", [])):
            reference = entry["remoteRef"]
            try:
                store = self._store(item)
                member = self._member(controller, store, item["metadata"]["namespace"])
                project = store["spec"]["provider"]["gcpsm"]["projectID"]
                values[entry["secretKey"]] = self._read_one(project, member, reference)
            except LookupError as error:
                raise SyncError(
                    failed,
                    f"error processing spec.data[{index}] (key: {reference['key']}), err: {error.args[0]}",
                ) from error
        return values

    def _store(self, item: Json) -> Json:
        reference, namespace = item["spec"]["secretStoreRef"], item["metadata"]["namespace"]
        kind, name = reference.get("kind", "SecretStore"), reference["name"]
        store = self._api.get(kind, "" if kind == "ClusterSecretStore" else namespace, name)
        if store is None:
            plural = "clustersecretstores" if kind == "ClusterSecretStore" else "secretstores"
            raise LookupError(
                f'could not get {kind} "{name}", {plural}.external-secrets.io "{name}" not found'
            )
        if not allowed_namespace(store, namespace):
            raise LookupError(
                f'using cluster store "{name}" is not allowed from namespace "{namespace}": '
                "denied by spec.condition"
            )
        if not holds(store, "Ready"):
            raise LookupError(f'{kind} "{name}" is not ready')
        return store

    def _member(self, controller: Json, store: Json, namespace: str) -> str:
        """The IAM member that a store reads as for a namespace. Raises LookupError."""
        identity = store["spec"]["provider"]["gcpsm"].get("auth", {}).get("workloadIdentity")
        if identity is None:
            account = controller["spec"]["template"]["spec"].get("serviceAccountName", "default")
            return principal(self._cloud, controller["metadata"]["namespace"], account)
        reference = identity["serviceAccountRef"]
        name = reference["name"]
        if "namespace" not in store["metadata"]:
            namespace = reference.get("namespace", namespace)
        account = self._api.get("ServiceAccount", namespace, name)
        if account is None:
            raise LookupError(f'failed to create GCP secretmanager client: ServiceAccount "{name}" not found')
        if "iam.gke.io/gcp-service-account" in account["metadata"].get("annotations", {}):
            raise LookupError(
                f"the Google service account of ServiceAccount {name} is not emulated by the sandbox"
            )
        cluster = "projects/{clusterProjectID}/locations/{clusterLocation}/clusters/{clusterName}"
        try:
            self._cloud.get("cluster", cluster.format(**identity))
        except CloudError:
            raise LookupError(
                "failed to create GCP secretmanager client: unable to fetch identitybindingtoken: "
                "could not get idbindtoken token, status: 400"
            ) from None
        return principal(self._cloud, namespace, name)

    def _read_one(self, project: str, member: str, reference: Json) -> bytes:
        key, wanted = reference["key"], reference.get("property")
        try:
            _, payload = self._cloud.access_secret_version(
                project, key, reference.get("version") or "latest", member
            )
        except CloudError as error:
            cause = (
                "Secret does not exist"
                if error.reason == "NOT_FOUND"
                else f"rpc error: code = {_CODES[error.reason]} desc = {error.message}"
            )
            raise LookupError(f"unable to access Secret from SecretManager Client: {cause}") from error
        if not wanted:
            return payload
        try:
            document = json.loads(payload)
        except ValueError as error:
            raise LookupError("unable to unmarshal secret from JSON") from error
        found = document.get(wanted) if isinstance(document, dict) else None
        if found is None:
            raise LookupError(f"key {wanted} does not exist in secret {key}")
        return (found if isinstance(found, str) else json.dumps(found)).encode()

    def _write_secret(
        self, item: Json, name: str, existing: Json | None, values: Mapping[str, bytes]
    ) -> tuple[str, str] | None:
        failed = "could not update secret"
        _refuse_others_secret(item, name, existing)
        try:
            wanted = secret_for(item, name, existing, values)
        except TemplateError as error:
            cause = f"could not apply template: could not execute template: {error}"
            raise SyncError(
                failed, f"unable to mutate secret {name}: {cause}" if existing else cause
            ) from error
        if existing and existing.get("immutable") and existing.get("data") != wanted["data"]:
            raise SyncError(
                "could not update secret, target is immutable",
                f"unable to update secret {name}: secret is immutable",
            )
        manager = field_manager(item)
        try:
            if existing is None:
                if self._api.create("Secret", wanted, manager) is None:
                    raise SyncError(failed, f'secrets "{name}" already exists')
                return "Created", "secret created"
            if wanted == existing:
                return None
            if self._api.update("Secret", wanted, manager) is None:
                raise SyncError(failed, f"unable to update secret {name}: the object has been modified")
            return "Updated", "secret updated"
        except ApiError as error:
            raise SyncError(failed, f"unable to update secret {name}: {error}") from error


def why_invalid(store: Json) -> str | None:
    """Why the operator could make no client for the store; None when it could."""
    gcpsm = store["spec"].get("provider", {}).get("gcpsm")
    if gcpsm is None:
        return f"spec.provider.{next(iter(store['spec'].get('provider', {})), '')} is not emulated by the sandbox"
    if not gcpsm.get("projectID"):
        return "unable to find ProjectID in storeSpec"
    refused = sorted(gcpsm.keys() - {"projectID", "auth", "secretVersionSelectionPolicy"})
    refused += [f"auth.{key}" for key in gcpsm.get("auth", {}) if key != "workloadIdentity"]
    identity = gcpsm.get("auth", {}).get("workloadIdentity")
    if identity is not None:
        if "audiences" in identity["serviceAccountRef"]:
            refused.append("auth.workloadIdentity.serviceAccountRef.audiences")
        # Where they are left out, the operator asks its node.
        needed = ("clusterProjectID", "clusterLocation", "clusterName")
        refused += [f"auth.workloadIdentity without {key}" for key in needed if not identity.get(key)]
        namespace = store["metadata"].get("namespace")
        if namespace and identity["serviceAccountRef"].get("namespace", namespace) != namespace:
            return (
                "invalid service account ref: namespace should either be empty or match the namespace of the "
                "SecretStore for a namespaced SecretStore"
            )
    if gcpsm.get("secretVersionSelectionPolicy", "LatestOrFail") != "LatestOrFail":
        refused.append("secretVersionSelectionPolicy")
    if refused:
        return f"spec.provider.gcpsm.{refused[0]} is not emulated by the sandbox"
    if any("namespaceSelector" in condition for condition in store["spec"].get("conditions", [])):
        return "spec.conditions.namespaceSelector is not emulated by the sandbox"
    return None


def is_referent(store: Json) -> bool:
    """Does the store read as a service account of the namespace that asks? Such a store is Ready without a check."""
    identity = store["spec"]["provider"]["gcpsm"].get("auth", {}).get("workloadIdentity")
    return identity is not None and "namespace" not in identity["serviceAccountRef"]


def allowed_namespace(store: Json, namespace: str) -> bool:
    """May ExternalSecrets of the namespace use the store?"""
    conditions = store["spec"].get("conditions", [])
    return not conditions or any(
        namespace in condition.get("namespaces", [])
        or any(re.search(pattern, namespace) for pattern in condition.get("namespaceRegexes", []))
        for condition in conditions
    )


def not_emulated(item: Json) -> Iterator[str]:
    """The fields of an ExternalSecret that this emulation does not know."""
    spec = item["spec"]
    sections = {"spec": spec, "spec.target": spec.get("target", {})}
    sections["spec.target.template"] = template = spec.get("target", {}).get("template") or {}
    sections["spec.target.template.metadata"] = template.get("metadata", {})
    for path, section in sections.items():
        yield from (f"{path}.{key}" for key in sorted(section.keys() - _KNOWN[path]))
    for (section, key), values in _KNOWN_VALUES.items():
        value = spec.get(section, {}).get(key, values[0])
        if value not in values:
            yield f"spec.{section}.{key} {value}"
    for index, entry in enumerate(spec.get("data", [])):
        if "sourceRef" in entry:
            yield f"spec.data[{index}].sourceRef"
        for key, value in entry["remoteRef"].items():
            if key not in _REMOTE_REF and value != _REMOTE_REF_DEFAULTS.get(key):
                yield f"spec.data[{index}].remoteRef.{key} {value}"


def secret_for(item: Json, name: str, existing: Json | None, values: Mapping[str, bytes]) -> Json:
    """The Secret that an ExternalSecret wants, made from the one that exists. Raises TemplateError."""
    target = item["spec"].get("target", {})
    template: Json | None = target.get("template")
    metadata: Json = dict(existing["metadata"]) if existing else {"name": name}
    metadata["namespace"] = item["metadata"]["namespace"]
    manager = field_manager(item)
    labels = _unmanaged(metadata, "labels", manager)
    annotations = _unmanaged(metadata, "annotations", manager)
    secret: Json = {**(existing or {}), "metadata": metadata}
    keep = bool(existing and target.get("immutable"))
    data = dict(existing.get("data", {})) if existing and keep else {}
    source: Json = item["metadata"] if template is None else template.get("metadata", {})
    text = {key: value.decode(errors="replace") for key, value in values.items()}
    for copied, wanted in ((labels, source.get("labels", {})), (annotations, source.get("annotations", {}))):
        for key, value in wanted.items():
            copied[key] = value if template is None else render(key, value, text)
    if not keep:
        data = _data(template or {}, values, text)
    if template and template.get("type"):
        secret["type"] = template["type"]
    if target.get("immutable"):
        secret["immutable"] = True
    if target.get("creationPolicy", "Owner") == "Owner":
        labels[CREATED_BY] = object_hash(f"{metadata['namespace']}/{item['metadata']['name']}")
        if not controlled_by(secret, item["metadata"]["uid"]):
            metadata["ownerReferences"] = [
                *metadata.get("ownerReferences", []),
                owner("ExternalSecret", item),
            ]
    labels[MANAGED] = "true"
    annotations[DATA_HASH] = data_hash(data)
    return {**secret, "metadata": {**metadata, "labels": labels, "annotations": annotations}, "data": data}


def _data(template: Json, values: Mapping[str, bytes], text: Mapping[str, str]) -> dict[str, str]:
    data: dict[str, bytes] = {}
    if not template.get("data") or template.get("mergePolicy") == "Merge":
        data.update(values)
    for key, wanted in template.get("data", {}).items():
        data[key] = render(key, wanted, text).encode()
    return {key: base64.b64encode(value).decode() for key, value in sorted(data.items())}


def _unmanaged(metadata: Json, section: str, manager: str) -> dict[str, str]:
    managed = {
        key.removeprefix("f:")
        for entry in metadata.get("managedFields", [])
        if entry["manager"] == manager
        for key in entry.get("fieldsV1", {}).get("f:metadata", {}).get(f"f:{section}", {})
    }
    return {key: value for key, value in metadata.get(section, {}).items() if key not in managed}


def _refuse_others_secret(item: Json, name: str, existing: Json | None) -> None:
    for reference in (existing or {"metadata": {}})["metadata"].get("ownerReferences", []):
        if not reference.get("controller") or reference["uid"] == item["metadata"]["uid"]:
            continue
        if reference["kind"] == "ExternalSecret" and reference["name"] != item["metadata"]["name"]:
            raise SyncError(
                "target is owned by another ExternalSecret",
                f"unable to mutate secret {name}: secret is owned by another ExternalSecret: {reference['name']}",
            )
        if item["spec"].get("target", {}).get("creationPolicy", "Owner") == "Owner":
            raise SyncError(
                "failed to take ownership of target secret",
                f"unable to mutate secret {name}: could not set controller reference on secret: "
                f"Object {item['metadata']['namespace']}/{name} is already owned by another "
                f"{reference['kind']} controller {reference['name']}",
            )


def refresh_due(item: Json) -> bool:
    """Has the ExternalSecret changed since it was synced, or did its refresh interval pass?"""
    status, spec = item.get("status", {}), item["spec"]
    synced, refreshed = status.get("syncedResourceVersion"), status.get("refreshTime")
    if not synced or not refreshed:
        return True
    if spec.get("refreshPolicy") == "CreatedOnce":
        return False
    if spec.get("refreshPolicy") == "OnChange":
        return synced != resource_version(item)
    interval = duration(spec.get("refreshInterval", "1h0m0s"))
    if not interval:
        return False
    return synced != resource_version(item) or moment(refreshed) + interval < datetime.now(UTC)


def untouched(secret: Json | None) -> bool:
    """Does the Secret still hold what the operator wrote?"""
    if secret is None:
        return False
    metadata = secret["metadata"]
    return metadata.get("labels", {}).get(MANAGED) == "true" and metadata.get("annotations", {}).get(
        DATA_HASH
    ) == data_hash(secret.get("data") or {})


def duration(text: str) -> timedelta:
    """A Go duration of hours, minutes and seconds ("1h0m0s")."""
    units = {"h": 3600, "m": 60, "s": 1}
    return timedelta(
        seconds=sum(
            float(figure) * units[unit] for figure, unit in re.findall(r"(\d+(?:\.\d+)?)([hms])(?!s)", text)
        )
    )


def resource_version(item: Json) -> str:
    """The operator's version of a resource: its generation and a hash of its labels and annotations."""
    metadata = item["metadata"]
    annotations, labels = _go_map(metadata.get("annotations", {})), _go_map(metadata.get("labels", {}))
    return f"{metadata['generation']}-{object_hash(f'{{annotations:{annotations} labels:{labels}}}')}"


def data_hash(data: Mapping[str, str]) -> str:
    """The operator's hash of a Secret's data (base64 values)."""
    return object_hash(
        _go_map({key: f"[{' '.join(map(str, base64.b64decode(value)))}]" for key, value in data.items()})
    )


def object_hash(printed: str) -> str:
    """The operator's hash of an object as Go prints it with %+v."""
    return hashlib.sha3_224(printed.encode()).hexdigest()


def field_manager(item: Json) -> str:
    """The field manager under which the operator writes an ExternalSecret's Secret."""
    name = item["metadata"]["name"]
    manager = f"externalsecrets.external-secrets.io/{name}"
    if len(manager) <= 63:
        return manager
    return f"externalsecrets.external-secrets.io/sha3/{object_hash(name)}"


def _go_map(values: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{values[key]}' for key in sorted(values))}]"
