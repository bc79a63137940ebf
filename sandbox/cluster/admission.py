"""What the operators' admission webhooks answer: defaults, and refusals worded as the operators word them.

Rules follow the validators of CloudNativePG 1.29 (internal/webhook/v1), External Secrets
(apis/externalsecrets/v1) and cert-manager (internal/apis/certmanager/validation), as far as they concern what
the sandbox emulates. What they do not do: defaults beyond bootstrap and anti-affinity, validation of
PostgreSQL parameters, and objects of other kinds, which are refused by name.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from kubernetes.utils.quantity import parse_quantity

Json = dict[str, Any]


class Refusal(NamedTuple):
    """Why an object is refused; `code` is the HTTP status the API server passes on."""

    code: int
    message: str


def validate(path: str, request: Json) -> Refusal | None:
    """The answer of the validating webhook at `path` to an AdmissionRequest; None lets the object in."""
    rule = _VALIDATORS.get(path)
    if rule is None:
        return Refusal(403, f"{request['kind']['kind']} objects are not emulated by the sandbox")
    return rule(request)


def default(path: str, request: Json) -> Json:
    """The object with the defaults of the mutating webhook at `path`; itself when that has none."""
    wanted = copy.deepcopy(request["object"])
    if path == "/mutate-postgresql-cnpg-io-v1-cluster":
        spec = wanted["spec"]
        bootstrap = spec.setdefault("bootstrap", {})
        if bootstrap.keys().isdisjoint({"recovery", "pg_basebackup"}):
            initdb = bootstrap.setdefault("initdb", {})
            if "import" not in initdb:
                initdb.setdefault("database", initdb.get("owner", "app"))
                initdb.setdefault("owner", initdb["database"])
            for key, value in (("encoding", "UTF8"), ("localeCollate", "C"), ("localeCType", "C")):
                initdb.setdefault(key, value)
        if spec.get("affinity", {}).get("enablePodAntiAffinity", True):
            spec.setdefault("affinity", {}).setdefault("podAntiAffinityType", "preferred")
    return wanted


def _cluster(request: Json) -> Refusal | None:
    new, old = request["object"], request.get("oldObject")
    errors = [*_cluster_errors(new), *(_cluster_changes(new, old) if old else [])]
    return _refused("Cluster.cluster.cnpg.io" if old else "Cluster.postgresql.cnpg.io", new, errors)


def _cluster_errors(cluster: Json) -> Iterator[str]:
    spec, name = cluster["spec"], cluster["metadata"]["name"]
    bootstrap = spec.get("bootstrap", {})
    initdb = bootstrap.get("initdb", {})
    if initdb.get("database") and not initdb.get("owner"):
        yield _invalid("spec.bootstrap.initdb.owner", "", "You need to specify the database owner user")
    if initdb.get("owner") and not initdb.get("database"):
        yield _invalid("spec.bootstrap.initdb.database", "", "You need to specify the database name")
    if len(bootstrap.keys() & {"initdb", "recovery", "pg_basebackup"}) > 1:
        yield "spec.bootstrap: Forbidden: Only one bootstrap method can be specified at a time"
    if spec.get("imageName"):
        yield from _image_errors(spec["imageName"])
    least, most, instances = spec.get("minSyncReplicas", 0), spec.get("maxSyncReplicas", 0), spec["instances"]
    if least > most:
        message = "minSyncReplicas cannot be greater than maxSyncReplicas"
        yield _invalid("spec.minSyncReplicas", least, message)
    if most >= instances:
        message = "maxSyncReplicas must be lower than the number of instances"
        yield _invalid("spec.maxSyncReplicas", most, message)
    synchronous = spec.get("postgresql", {}).get("synchronous")
    if synchronous and synchronous["number"] >= instances + sum(
        len(synchronous.get(key, [])) for key in ("standbyNamesPre", "standbyNamesPost")
    ):
        yield _invalid(
            "spec.postgresql.synchronous",
            synchronous,
            "Invalid synchronous configuration: the number of synchronous replicas must be less than the "
            "total number of instances and the provided standby names.",
        )
    yield from _recovery_errors(bootstrap.get("recovery", {}), spec.get("externalClusters", []))
    archivers = [plugin["name"] for plugin in spec.get("plugins", []) if plugin.get("isWALArchiver")]
    if len(archivers) > 1:
        yield _invalid("spec.plugins", archivers, "Cannot enable more than one WAL archiver plugin")
    yield from _storage_errors("storage", spec.get("storage", {}))
    if "walStorage" in spec:
        yield from _storage_errors("walStorage", spec["walStorage"])
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        yield _invalid("metadata.name", name, "cluster name must be a valid DNS label")
    if len(name) > 50:
        yield _invalid("metadata.name", name, "the maximum length of a cluster name is 50 characters")
    yield from _affinity_errors(spec.get("affinity", {}))
    yield from _resource_errors(spec.get("resources", {}))


def _recovery_errors(recovery: Json, external: list[Json]) -> Iterator[str]:
    path = "spec.bootstrap.recovery"
    names = [cluster["name"] for cluster in external]
    if recovery.get("database") and not recovery.get("owner"):
        yield _invalid(f"{path}.owner", "", "You need to specify the database owner user")
    if recovery.get("owner") and not recovery.get("database"):
        yield _invalid(f"{path}.database", "", "You need to specify the database name")
    source = recovery.get("source")
    if source and source not in names:
        yield _invalid(f"{path}.source", source, f"External cluster {source} not found")
    target = recovery.get("recoveryTarget", {})
    time = target.get("targetTime")
    if time:
        try:
            datetime.fromisoformat(time.replace("Z", "+00:00"))
        except ValueError:
            yield _invalid(f"{path}.recoveryTarget", time, "The format of TargetTime is invalid")
    if len(set(names)) != len(names):
        yield _invalid(
            "spec.externalClusters", names, "the list of external clusters contains duplicate values"
        )


def _image_errors(image: str) -> Iterator[str]:
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if tag == "latest":
        yield _invalid("spec.imageName", image, "Can't use 'latest' as image tag as we can't detect upgrades")
    elif not tag:
        yield _invalid("spec.imageName", image, "Can't use just the image sha as we can't detect upgrades")
    elif not re.match(r"\d", tag):
        yield _invalid("spec.imageName", image, "invalid version tag")


def _storage_errors(field: str, storage: Json) -> Iterator[str]:
    size = storage.get("size", "")
    in_template = storage.get("pvcTemplate", {}).get("resources", {}).get("requests", {}).get("storage")
    if size and _quantity(size) is None:
        yield _invalid(f"spec.{field}.size", size, "Size value isn't valid")
    if not size and not in_template:
        message = "Size not configured. Please add it, or a storage request in the pvcTemplate."
        yield _invalid(f"spec.{field}.size", size, message)


def _affinity_errors(affinity: Json) -> Iterator[str]:
    kind = affinity.get("podAntiAffinityType", "")
    if kind not in ("", "preferred", "required"):
        message = "pod anti-affinity type must be 'preferred' (default if empty) or 'required'"
        yield _invalid("spec.affinity.podAntiAffinityType", kind, message)
    for index, toleration in enumerate(affinity.get("tolerations", [])):
        if not toleration.get("key") and toleration.get("operator") != "Exists":
            yield _invalid(
                f"spec.affinity.toleration[{index}].operator",
                toleration.get("operator", ""),
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )


def _resource_errors(resources: Json) -> Iterator[str]:
    for resource, title in (("cpu", "CPU"), ("memory", "Memory")):
        request = resources.get("requests", {}).get(resource)
        limit = resources.get("limits", {}).get(resource)
        if request and limit and parse_quantity(request) > parse_quantity(limit):
            message = f"{title} request is greater than the limit"
            yield _invalid(f"spec.resources.requests.{resource}", request, message)


def _cluster_changes(new: Json, old: Json) -> Iterator[str]:
    if "walStorage" in old["spec"] and "walStorage" not in new["spec"]:
        message = "walStorage cannot be disabled once the cluster is created"
        yield _invalid("spec.walStorage", None, message)
    for field in ("storage", "walStorage"):
        before = old["spec"].get(field, {}).get("size")
        after = new["spec"].get(field, {}).get("size")
        smaller, larger = _quantity(after), _quantity(before)
        if smaller is not None and larger is not None and smaller < larger:
            yield _invalid(f"spec.{field}", after, f"can't shrink existing storage from {before} to {after}")
    for key, title in (("postgresGID", "GID"), ("postgresUID", "UID")):
        if new["spec"].get(key) != old["spec"].get(key):
            yield _invalid(f"spec.{key}", new["spec"].get(key), f"{title} is an immutable field in the spec")


def _backup(request: Json) -> Refusal | None:
    backup = request["object"]
    if backup["spec"].get("method") == "plugin" and not backup["spec"].get("pluginConfiguration"):
        error = _invalid("spec.pluginConfiguration", None, "cannot be empty when the backup method is plugin")
        return _refused("Backup.postgresql.cnpg.io", backup, [error])
    return None


def _scheduled_backup(request: Json) -> Refusal | None:
    schedule = request["object"]["spec"]["schedule"]
    fields = len(schedule.split())
    if fields not in (5, 6):
        error = _invalid("spec.schedule", schedule, f"expected 5 to 6 fields, found {fields}")
        return _refused("ScheduledBackup.postgresql.cnpg.io", request["object"], [error])
    return None


def _cert_manager(request: Json) -> Refusal | None:
    spec, kind = request["object"]["spec"], request["kind"]["kind"]
    if kind == "Certificate" and not any(
        spec.get(key) for key in ("commonName", "dnsNames", "literalSubject")
    ):
        return Refusal(
            403,
            "spec: Invalid value: at least one of commonName (from the commonName field or from a literalSubject), "
            "dnsNames, uriSANs, ipAddresses, emailSANs or otherNames must be set",
        )
    if kind == "Issuer" and not spec:
        return Refusal(403, "spec: Required value: at least one issuer must be configured")
    if kind not in ("Certificate", "Issuer"):
        return Refusal(403, f"{kind} objects are not emulated by the sandbox")
    return None


def _store(request: Json) -> Refusal | None:
    store = request["object"]
    for at, condition in enumerate(store["spec"].get("conditions", [])):
        for index, pattern in enumerate(condition.get("namespaceRegexes", [])):
            try:
                re.compile(pattern)
            except re.error as error:
                where = f"failed to compile {index}th namespace regex in {at}th condition"
                return Refusal(403, f"{where}: error parsing regexp: {error}")
    providers = len(store["spec"].get("provider") or {})
    if providers != 1:
        return Refusal(
            403,
            f"store error for {store['metadata']['name']}: secret stores must only have exactly one backend "
            f"specified, found {providers}",
        )
    return None


def _external_secret(request: Json) -> Refusal | None:
    errors = list(_external_secret_errors(request["object"]["spec"]))
    return Refusal(403, "\n".join(errors)) if errors else None


def _external_secret_errors(spec: Json) -> Iterator[str]:
    target = spec.get("target", {})
    creation, deletion = target.get("creationPolicy", "Owner"), target.get("deletionPolicy", "Retain")
    if deletion == "Delete" and creation in ("Merge", "None"):
        yield (
            "deletionPolicy=Delete must not be used when the controller doesn't own the secret. "
            "Please set creationPolicy=Owner"
        )
    if deletion == "Merge" and creation == "None":
        yield (
            "deletionPolicy=Merge must not be used with creationPolicy=None. There is no Secret to merge with"
        )
    if not spec.get("data") and not spec.get("dataFrom"):
        yield "either data or dataFrom should be specified"
    for reference in spec.get("dataFrom", []):
        if (
            len(reference.keys() & {"find", "extract"}) + ("generatorRef" in reference.get("sourceRef", {}))
            > 1
        ):
            yield "extract, find, or generatorRef cannot be set at the same time"
        if reference.keys().isdisjoint({"find", "extract", "sourceRef"}):
            yield "either extract, find, or sourceRef must be set to dataFrom"
    seen: set[str] = set()
    for entry in spec.get("data", []) if deletion == "Retain" else []:
        if entry["secretKey"] in seen:
            yield f"duplicate secretKey found: {entry['secretKey']}"
        seen.add(entry["secretKey"])


def _refused(kind: str, item: Json, errors: list[str]) -> Refusal | None:
    if not errors:
        return None
    cause = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return Refusal(422, f"{kind} {json.dumps(item['metadata']['name'])} is invalid: {cause}")


def _invalid(field: str, value: object, message: str) -> str:
    return f"{field}: Invalid value: {json.dumps(value)}: {message}"


def _quantity(text: str | None) -> Any:
    try:
        return parse_quantity(text) if text else None
    except ValueError:
        return None


_VALIDATORS: dict[str, Callable[[Json], Refusal | None]] = {
    "/validate-postgresql-cnpg-io-v1-cluster": _cluster,
    "/validate-postgresql-cnpg-io-v1-backup": _backup,
    "/validate-postgresql-cnpg-io-v1-scheduledbackup": _scheduled_backup,
    "/validate": _cert_manager,
    "/validate-external-secrets-io-v1-clustersecretstore": _store,
    "/validate-external-secrets-io-v1-secretstore": _store,
    "/validate-external-secrets-io-v1-externalsecret": _external_secret,
}
