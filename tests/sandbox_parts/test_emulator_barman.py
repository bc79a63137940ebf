"""What comes back from a bucket is what went in, up to the moment that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox.google.cloud import Cloud, member_name
from sandbox.operators.cloudnativepg import barman
from sandbox.operators.cloudnativepg.barman import BarmanError, Folder

POOL = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p"
MEMBER = f"{POOL}/subject/ns/a/sa/pg"
CONFIGURATION = {"destinationPath": "gs://bucket", "googleCredentials": {"gkeEnvironment": True}}
STORE: dict[str, Any] = {"spec": {"configuration": CONFIGURATION}}
BOTH = ("roles/storage.objectUser", "roles/storage.legacyBucketReader")


def row(at: str, text: str) -> dict[str, str]:
    return {"at": f"2030-01-01T{at}Z", "text": text}


def texts(content: dict[str, Any]) -> list[str]:
    return [row["text"] for row in content["rows"]]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path / "cloud.db")
    cloud.create("bucket", "bucket", {})
    for role in BOTH:
        cloud.create("bucketIamMember", member_name("bucket", role, MEMBER), {})
    return cloud


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = "10:00:00"

    monkeypatch.setattr(barman, "timestamp", lambda: f"2030-01-01T{Clock.now}Z")
    return Clock


def test_any_moment_since_a_backup_can_be_restored(cloud: Cloud, clock: Any) -> None:
    folder = Folder(cloud, STORE, "pg", MEMBER)
    roles = {"litellm": "one"}
    first, second, third = row("09:59:00", "first"), row("10:30:00", "second"), row("11:30:00", "third")
    folder.archive("uid", {"rows": [first], "roles": roles})
    folder.back_up("uid", {"rows": [first], "roles": roles})
    clock.now = "12:00:00"
    folder.archive("uid", {"rows": [first, second, third], "roles": roles})
    assert texts(folder.restore("2030-01-01T11:00:00Z")) == ["first", "second"]
    assert texts(folder.restore(None)) == ["first", "second", "third"]
    assert folder.restore(None)["roles"] == roles
    with pytest.raises(BarmanError, match="no target backup found"):
        folder.restore("2030-01-01T09:00:00Z")
    with pytest.raises(BarmanError, match="before configured recovery target"):
        folder.restore("2030-01-01T13:00:00Z")


def test_two_clusters_do_not_share_a_folder(cloud: Cloud, clock: Any) -> None:
    folder = Folder(cloud, STORE, "pg", MEMBER)
    folder.archive("uid", {"rows": [], "roles": {}})
    with pytest.raises(BarmanError, match="Expected empty archive"):
        folder.archive("another uid", {"rows": [], "roles": {}})
    Folder(cloud, STORE, "pg-2", MEMBER).archive("another uid", {"rows": [], "roles": {}})


@pytest.mark.parametrize(
    ("role", "permission"), list(zip(BOTH, ("storage.objects.create", "storage.buckets.get"), strict=True))
)
def test_a_missing_role_is_named_by_what_it_allows(cloud: Cloud, role: str, permission: str) -> None:
    cloud.delete("bucketIamMember", member_name("bucket", role, MEMBER))
    with pytest.raises(BarmanError, match=permission):
        Folder(cloud, STORE, "pg", MEMBER).archive("uid", {"rows": [], "roles": {}})
