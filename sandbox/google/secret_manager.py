"""Secret Manager: Secret, SecretVersion and SecretIamMember on the emulated cloud.

What they do not do: rotation, topics, expiry, tags, version aliases, write-only data, IAM conditions,
customer-managed keys, destroying a version once its scheduled time has come. Behaviour and wording: hashicorp/terraform-provider-google,
google/services/secretmanager.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud, CloudError, now, project_number
from sandbox.google.iam import Grant
from sandbox.google.resource import (
    Json,
    Made,
    Resource,
    at,
    calling,
    invalid,
    not_emulated,
    one_of,
    parsed,
)
from sandbox.google.stored import require_api
from sandbox.plugins.values import UNKNOWN

_PARENT = "projects/<project>/secrets/<secret>"
_VERSION = f"{_PARENT}/versions/<version>"
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MAX_PAYLOAD = 64 * 1024
# https://cloud.google.com/secret-manager/docs/delay-destruction-of-secret-versions
_DAY = 24 * 3600
_DESTROY_TTL = range(_DAY, 1000 * _DAY + 1)

# Roles that can be granted on a secret: https://cloud.google.com/secret-manager/docs/access-control
_ROLES = frozenset(
    f"roles/{role}"
    for role in (
        "secretmanager.admin",
        "secretmanager.secretAccessor",
        "secretmanager.secretVersionAdder",
        "secretmanager.secretVersionManager",
        "secretmanager.viewer",
        "owner",
        "editor",
        "viewer",
    )
)


class Secret(Resource):
    """gcp:secretmanager/secret:Secret."""

    kind = "gcp:secretmanager/secret:Secret"
    required = ("secretId", "replication")
    force_new = (
        "secretId",
        "project",
        "replication.auto",
        "replication.userManaged.replicas",
    )
    outputs = ("createTime", "effectiveAnnotations", "effectiveLabels", "expireTime", "name", "pulumiLabels")
    secret_outputs = frozenset({"effectiveLabels", "pulumiLabels"})
    defaults: ClassVar[Json] = {"deletionProtection": False, "deletionPolicy": "DELETE"}

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from not_emulated(
            self.kind,
            inputs,
            "expireTime",
            "rotation",
            "tags",
            "topics",
            "ttl",
            "versionAliases",
            "secretType",
        )
        yield from one_of(inputs, "deletionPolicy", "DELETE", "ABANDON", "PREVENT")
        replication = inputs.get("replication")
        if not isinstance(replication, dict):
            return
        if len(replication) != 1:
            yield CheckFailure(
                "replication",
                "one of `replication.auto, replication.userManaged` must be specified, and only one",
            )
        elif at(inputs, "replication.userManaged.replicas") == []:
            yield CheckFailure("replication.userManaged.replicas", "at least 1 item is required, got 0")

    def create(self, inputs: Json, timeout: float) -> Made:
        project, secret_id = self.settings.need_project(inputs), inputs["secretId"]
        if not re.fullmatch(r"[a-zA-Z_0-9-]{1,255}", secret_id):
            raise invalid(
                "Error creating Secret",
                f"The provided Secret ID [{secret_id}] does not match the expected format [[a-zA-Z_0-9-]{{1,255}}].",
            )
        row = {
            "project": project,
            "secretId": secret_id,
            "createTime": now(),
            "replication": inputs["replication"],
            **self._mutable(inputs),
        }
        name = f"projects/{project}/secrets/{secret_id}"
        require_api(self.cloud, "Error creating Secret", project, "secretmanager")
        return self._made(
            calling("Error creating Secret", lambda: self.cloud.create("secret", name, row)), inputs
        )

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        parsed(_PARENT, resource_id, "Secret id")
        try:
            return self._made(self.cloud.get("secret", resource_id), inputs)
        except CloudError:
            return None

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        row = calling(
            "Error updating Secret",
            lambda: self.cloud.change("secret", resource_id, **self._mutable(inputs)),
        )
        return self._made(row, inputs)

    def delete(self, resource_id: str, state: Json) -> None:
        if not self.may_delete(f"Secret {resource_id!r}", state):
            return
        if state.get("deletionProtection"):
            raise SandboxError(
                "cannot destroy secret manager secret without setting deletionProtection=false and running `pulumi up`"
            )
        with suppress(CloudError):
            self.cloud.delete("secret", resource_id)

    def _mutable(self, inputs: Json) -> Json:
        for key, value in inputs.get("labels", {}).items():
            if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
                raise invalid(
                    "Error setting labels of Secret", f"The label [{key}: {value}] is not well-formed"
                )
        delay = inputs.get("versionDestroyTtl")
        if delay and not (re.fullmatch(r"[0-9]+s", delay) and int(delay[:-1]) in _DESTROY_TTL):
            raise invalid(
                "Error setting version_destroy_ttl of Secret",
                f"[{delay}] is no duration in seconds, from one day ({_DAY}s) to 1000 days ({1000 * _DAY}s).",
            )
        return {
            "labels": self.settings.all_labels(inputs),
            "annotations": inputs.get("annotations", {}),
            "versionDestroyTtl": inputs.get("versionDestroyTtl"),
        }

    def _made(self, row: Json, inputs: Json) -> Made:
        labels, annotations = row.get("labels", {}), row.get("annotations", {})
        state = {
            **secret_outputs(row),
            "labels": {key: labels[key] for key in inputs.get("labels", {}) if key in labels},
            "annotations": {
                key: annotations[key] for key in inputs.get("annotations", {}) if key in annotations
            },
            "replication": row.get("replication", {"auto": {}}),
            "deletionProtection": inputs.get("deletionProtection", False),
            "deletionPolicy": inputs.get("deletionPolicy", self.settings.deletion_policy),
        }
        return Made(row["name"], {key: value for key, value in state.items() if value is not None})


def secret_outputs(row: Json) -> Json:
    """The outputs that the resource and the data source share."""
    _, project, _, secret_id = row["name"].split("/")
    labels = row.get("labels", {})
    return {
        "name": f"projects/{project_number(project)}/secrets/{secret_id}",
        "project": project,
        "secretId": secret_id,
        "createTime": row.get("createTime", ""),
        "expireTime": "",
        "effectiveLabels": labels,
        "pulumiLabels": labels,
        "effectiveAnnotations": row.get("annotations", {}),
        "versionDestroyTtl": row.get("versionDestroyTtl"),
    }


class SecretVersion(Resource):
    """gcp:secretmanager/secretVersion:SecretVersion."""

    kind = "gcp:secretmanager/secretVersion:SecretVersion"
    required = ("secret",)
    force_new = ("secret", "secretData", "isSecretDataBase64", "project")
    outputs = ("createTime", "destroyTime", "name", "version")
    secret_outputs = frozenset({"secretData"})
    defaults: ClassVar[Json] = {"enabled": True, "isSecretDataBase64": False, "deletionPolicy": "DELETE"}

    def normal(self, inputs: Json) -> Json:
        return {**super().normal(inputs), "secret": _canonical(self.cloud, inputs["secret"])}

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from not_emulated(self.kind, inputs, "secretDataWo", "secretDataWoVersion")
        yield from one_of(inputs, "deletionPolicy", "DELETE", "DISABLE", "ABANDON", "PREVENT")
        data = inputs.get("secretData")
        if not data:
            yield CheckFailure("secretData", "one of `secretData,secretDataWo` must be specified")
        elif data is not UNKNOWN and inputs.get("isSecretDataBase64") is True:
            try:
                base64.b64decode(data, validate=True)
            except binascii.Error:
                # Not a failure of secretData: the engine shows the property's value with a failure.
                yield CheckFailure("isSecretDataBase64", "is set, but secretData is not valid base64")

    def create(self, inputs: Json, timeout: float) -> Made:
        doing = "Error creating SecretVersion"
        parsed(_PARENT, inputs["secret"], "secret")
        data: str = inputs["secretData"]
        payload = base64.b64decode(data) if inputs.get("isSecretDataBase64") else data.encode()
        if len(payload) > _MAX_PAYLOAD:
            raise invalid(
                doing, f"The payload of {len(payload)} bytes exceeds the limit of {_MAX_PAYLOAD} bytes"
            )
        row = calling(doing, lambda: self.cloud.add_secret_version(inputs["secret"], payload))
        state = "ENABLED" if inputs.get("enabled", True) else "DISABLED"
        return self._made(
            self.cloud.change("secretVersion", row["name"], createTime=now(), state=state), inputs
        )

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        parsed(_VERSION, resource_id, "SecretVersion id")
        try:
            row = self.cloud.get("secretVersion", resource_id)
        except CloudError:
            return None
        return None if row["state"] == "DESTROYED" else self._made(row, inputs)

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        enabled = "ENABLED" if inputs.get("enabled", True) else "DISABLED"
        row = calling(
            "Error updating SecretVersion",
            lambda: self.cloud.set_secret_version(resource_id, enabled),
        )
        return self._made(row, inputs)

    def delete(self, resource_id: str, state: Json) -> None:
        if not self.may_delete(f"SecretVersion {resource_id!r}", state):
            return
        with suppress(CloudError):
            disable = state.get("deletionPolicy") == "DISABLE"
            self.cloud.set_secret_version(resource_id, "DISABLED" if disable else "DESTROYED")

    def _made(self, row: Json, inputs: Json) -> Made:
        _, project, _, secret_id, _, version = row["name"].split("/")
        encoded = inputs.get("isSecretDataBase64", False)
        payload = row["payload"] if encoded else base64.b64decode(row["payload"]).decode()
        name = f"projects/{project_number(project)}/secrets/{secret_id}/versions/{version}"
        return Made(
            name,
            {
                "name": name,
                "version": version,
                "project": project,
                "secret": inputs.get("secret", f"projects/{project}/secrets/{secret_id}"),
                # A disabled version cannot be accessed: the provider keeps the value it has.
                "secretData": payload if row["state"] == "ENABLED" else inputs.get("secretData", payload),
                "isSecretDataBase64": encoded,
                "enabled": row["state"] == "ENABLED",
                "createTime": row.get("createTime", ""),
                "destroyTime": row.get("destroyTime", ""),
                "deletionPolicy": inputs.get("deletionPolicy", self.settings.deletion_policy),
            },
        )


class SecretIamMember(Grant):
    """gcp:secretmanager/secretIamMember:SecretIamMember."""

    kind = "gcp:secretmanager/secretIamMember:SecretIamMember"
    required = ("secretId", "role", "member")
    force_new = ("secretId", "role", "member", "project", "condition")
    store, parent, on, noun = "secretIamMember", "secret", "secretId", "secretmanager secret"
    roles = _ROLES

    def normal(self, inputs: Json) -> Json:
        plain = super().normal(inputs)
        if isinstance(inputs["secretId"], str):
            plain["secretId"] = _canonical(self.cloud, self.named(plain))
        return plain

    def named(self, inputs: Json) -> str:
        secret_id: str = inputs["secretId"]
        if "/" in secret_id:
            parsed(_PARENT, secret_id, "secretId")
            return secret_id
        return f"projects/{self.settings.need_project(inputs)}/secrets/{secret_id}"


def _canonical(cloud: Cloud, secret: Any) -> Any:
    """A reference with the project's id instead of its number."""
    if not isinstance(secret, str) or not secret.startswith("projects/"):
        return secret
    _, project, rest = secret.split("/", 2)
    ids = {str(row["number"]): row["projectId"] for row in cloud.list("project")}
    return f"projects/{ids.get(project, project)}/{rest}"
