"""The gcp provider stand-in: buckets and who may use them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.google.cloud import CloudError, project_number
from sandbox.plugins.values import property_map
from tests.sandbox_parts.test_provider_gcp import Engine, engine, principal

__all__ = ["engine"]

BUCKET = "gcp:storage/bucket:Bucket"
MEMBER = "gcp:storage/bucketIAMMember:BucketIAMMember"
INPUTS: dict[str, Any] = {
    "name": "demo-backups",
    "location": "europe-west4",
    "uniformBucketLevelAccess": True,
    "publicAccessPrevention": "enforced",
    "softDeletePolicy": {"retentionDurationSeconds": 604800},
}


def test_a_bucket_is_made_and_read_as_it_was_asked_for(engine: Engine) -> None:
    made, _ = engine.create(BUCKET, INPUTS)
    assert made == "demo-backups"
    assert engine.cloud.get("bucket", made)["publicAccessPrevention"] == "enforced"
    assert engine.diff(BUCKET, INPUTS, {**INPUTS, "location": "EUROPE-WEST4"}) == ([], [])
    assert engine.diff(BUCKET, INPUTS, {**INPUTS, "location": "us-east1"})[1] == ["location"]
    assert engine.read(BUCKET, made).resource_id == made


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"publicAccessPrevention": "yes"}, "publicAccessPrevention"),
        ({"softDeletePolicy": {"retentionDurationSeconds": 5}}, "softDeletePolicy.retentionDurationSeconds"),
        ({"lifecycleRules": [{"action": {"type": "Delete"}}]}, "lifecycleRules"),
        ({"name": "Upper"}, "name"),
        ({"uniformAccess": True}, "uniformAccess"),
    ],
)
def test_a_wrong_bucket_is_refused(engine: Engine, changes: dict[str, Any], path: str) -> None:
    assert path in engine.check(BUCKET, {**INPUTS, **changes})[1]


def test_a_zone_is_no_location_and_a_name_is_taken_once(engine: Engine) -> None:
    with pytest.raises(SandboxError, match="location constraint is not valid"):
        engine.create(BUCKET, {**INPUTS, "location": "europe-west4-a"})
    engine.create(BUCKET, INPUTS)
    with pytest.raises(SandboxError, match="you already own it"):
        engine.create(BUCKET, INPUTS)


def test_a_bucket_with_objects_is_not_deleted(engine: Engine) -> None:
    made, state = engine.create(BUCKET, INPUTS)
    engine.cloud.create("bucketObject", "demo-backups/a/base/1", {})
    with pytest.raises(SandboxError, match="containing objects without `forceDestroy`"):
        engine.delete(BUCKET, made, state)
    engine.delete(BUCKET, made, {**state, **property_map({"deletionPolicy": "ABANDON"})})
    assert engine.cloud.get("bucket", made)
    engine.cloud.delete("bucketObject", "demo-backups/a/base/1")
    engine.delete(BUCKET, made, state)
    with pytest.raises(CloudError):
        engine.cloud.get("bucket", made)


def test_a_member_of_a_bucket(engine: Engine) -> None:
    member = principal(project_number("demo"))
    wanted = {"bucket": "demo-backups", "role": "roles/storage.objectUser", "member": member}
    with pytest.raises(SandboxError, match="The specified bucket does not exist"):
        engine.create(MEMBER, wanted)
    engine.create(BUCKET, INPUTS)
    with pytest.raises(SandboxError, match="is not supported for this resource"):
        engine.create(MEMBER, {**wanted, "role": "roles/secretmanager.secretAccessor"})
    with pytest.raises(SandboxError, match="Identity Pool does not exist"):
        engine.create(MEMBER, {**wanted, "member": principal(1)})
    made, state = engine.create(MEMBER, wanted)
    assert made.startswith("b/demo-backups/roles/storage.objectUser/principal://")
    assert engine.read(MEMBER, made, wanted).resource_id == made
    assert engine.diff(MEMBER, wanted, {**wanted, "bucket": "b/demo-backups"}) == ([], [])
    engine.delete(MEMBER, made, state)
    assert engine.read(MEMBER, made, wanted).resource_id == ""
