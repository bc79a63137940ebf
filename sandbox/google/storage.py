"""Cloud Storage: Bucket and BucketIAMMember on the emulated cloud.

What they do not do: lifecycle rules, retention policies, encryption keys, CORS, websites, logging, dual
regions, folders, IAM conditions; IAM is asked by who reads an object (cloudnativepg/barman.py). Names are
unique in this sandbox only, not in the world. Behaviour and wording: hashicorp/terraform-provider-google,
google/services/storage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.cloud import CloudError, now, project_number
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
)
from sandbox.plugins.values import UNKNOWN

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
_LOCATION = re.compile(r"[A-Z]+-[A-Z]+[0-9]+|US|EU|ASIA")
_WEEK, _QUARTER = 7 * 24 * 3600, 90 * 24 * 3600
# Roles that can be granted on a bucket: https://cloud.google.com/storage/docs/access-control/iam-roles
_ROLES = frozenset(
    f"roles/storage.{role}"
    for role in (
        "admin",
        "bucketViewer",
        "folderAdmin",
        "legacyBucketOwner",
        "legacyBucketReader",
        "legacyBucketWriter",
        "legacyObjectOwner",
        "legacyObjectReader",
        "objectAdmin",
        "objectCreator",
        "objectUser",
        "objectViewer",
    )
)


class Bucket(Resource):
    """gcp:storage/bucket:Bucket."""

    kind = "gcp:storage/bucket:Bucket"
    required = ("location",)
    force_new = ("name", "project", "location")
    computed_inputs = ("publicAccessPrevention", "softDeletePolicy", "uniformBucketLevelAccess", "versioning")
    outputs = (
        "effectiveLabels",
        "projectNumber",
        "pulumiLabels",
        "selfLink",
        "timeCreated",
        "updated",
        "url",
    )
    secret_outputs = frozenset({"effectiveLabels", "pulumiLabels"})
    defaults: ClassVar[Json] = {
        "deletionPolicy": "DELETE",
        "forceDestroy": False,
        "storageClass": "STANDARD",
    }
    auto_named = True

    def normal(self, inputs: Json) -> Json:
        plain = super().normal(inputs)
        if isinstance(plain.get("location"), str):
            plain["location"] = plain["location"].upper()
        return plain

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from not_emulated(
            self.kind,
            inputs,
            "autoclass",
            "cors",
            "customPlacementConfig",
            "defaultEventBasedHold",
            "enableObjectRetention",
            "encryption",
            "hierarchicalNamespace",
            "ipFilter",
            "lifecycleRules",
            "logging",
            "requesterPays",
            "retentionPolicy",
            "rpo",
            "website",
        )
        yield from one_of(inputs, "deletionPolicy", "DELETE", "ABANDON", "PREVENT")
        yield from one_of(inputs, "publicAccessPrevention", "enforced", "inherited")
        yield from one_of(inputs, "storageClass", "STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
        kept = at(inputs, "softDeletePolicy.retentionDurationSeconds")
        if kept not in (None, UNKNOWN, 0) and not _WEEK <= kept <= _QUARTER:
            yield CheckFailure(
                "softDeletePolicy.retentionDurationSeconds",
                f"expected 0 or a value in the range ({_WEEK} - {_QUARTER}), got {kept:.0f}",
            )
        name = inputs.get("name")
        if isinstance(name, str) and (not _NAME.fullmatch(name) or name.startswith("goog")):
            yield CheckFailure("name", f'"{name}" is not a valid bucket name')

    def create(self, inputs: Json, timeout: float) -> Made:
        name, doing = inputs["name"], f"Error creating bucket {inputs['name']}"
        project = self.settings.need_project(inputs)
        calling(doing, lambda: self.cloud.get("project", f"projects/{project}"))
        location = inputs["location"].upper()
        if not _LOCATION.fullmatch(location):
            raise invalid(doing, "The specified location constraint is not valid.")
        row = {"project": project, "location": location, "timeCreated": now(), **self._mutable(inputs)}
        try:
            row = self.cloud.create("bucket", name, row)
        except CloudError as error:
            taken = self.cloud.get("bucket", name)["project"] == project
            words = (
                "Your previous request to create the named bucket succeeded and you already own it."
                if taken
                else "The requested bucket name is not available. The bucket namespace is shared by all users of "
                "the system. Please select a different name and try again."
            )
            raise SandboxError(f"{doing}: googleapi: Error 409: {words}, conflict") from error
        return self._made(row, inputs)

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        try:
            return self._made(self.cloud.get("bucket", resource_id.rpartition("/")[2]), inputs)
        except CloudError:
            return None

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        row = calling(
            f"Error updating bucket {resource_id}",
            lambda: self.cloud.change("bucket", resource_id, **self._mutable(inputs)),
        )
        return self._made(row, inputs)

    def delete(self, resource_id: str, state: Json) -> None:
        if not self.may_delete(f"bucket {resource_id!r}", state):
            return
        if not state.get("forceDestroy") and self.cloud.list("bucketObject", f"{resource_id}/"):
            raise SandboxError(
                f"Error trying to delete bucket {resource_id} containing objects without `forceDestroy` set to true"
            )
        with suppress(CloudError):
            self.cloud.delete("bucket", resource_id)

    def _mutable(self, inputs: Json) -> Json:
        return {
            "labels": self.settings.all_labels(inputs),
            "publicAccessPrevention": inputs.get("publicAccessPrevention", "inherited"),
            "softDeletePolicy": inputs.get("softDeletePolicy", {"retentionDurationSeconds": _WEEK}),
            "storageClass": inputs.get("storageClass", "STANDARD"),
            "uniformBucketLevelAccess": inputs.get("uniformBucketLevelAccess", False),
            "versioning": inputs.get("versioning", {"enabled": False}),
            "updated": now(),
        }

    def _made(self, row: Json, inputs: Json) -> Made:
        name, labels = row["name"], row["labels"]
        shared = (
            "location",
            "project",
            "publicAccessPrevention",
            "softDeletePolicy",
            "storageClass",
            "timeCreated",
            "uniformBucketLevelAccess",
            "updated",
            "versioning",
        )
        state: dict[str, Any] = {
            **{key: row[key] for key in shared},
            "name": name,
            "labels": {key: labels[key] for key in inputs.get("labels", {}) if key in labels},
            "effectiveLabels": labels,
            "pulumiLabels": labels,
            "forceDestroy": inputs.get("forceDestroy", False),
            "deletionPolicy": inputs.get("deletionPolicy", self.settings.deletion_policy),
            "projectNumber": project_number(row["project"]),
            "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
            "url": f"gs://{name}",
        }
        return Made(name, state)


class BucketIAMMember(Grant):
    """gcp:storage/bucketIAMMember:BucketIAMMember."""

    kind = "gcp:storage/bucketIAMMember:BucketIAMMember"
    required = ("bucket", "role", "member")
    force_new = ("bucket", "role", "member", "condition")
    store, parent, on, noun, prefix = "bucketIamMember", "bucket", "bucket", "storage bucket", "b/"
    roles = _ROLES

    def normal(self, inputs: Json) -> Json:
        plain = super().normal(inputs)
        plain.pop("project", None)
        if isinstance(plain.get("bucket"), str):
            plain["bucket"] = self.named(plain)
        return plain

    def named(self, inputs: Json) -> str:
        return inputs["bucket"].removeprefix("b/")
