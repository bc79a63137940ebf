"""The emulated cloud's store: names, errors in the API's words, IAM on secrets."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.google.cloud import ACCESSOR_ROLE, Cloud, CloudError, member_name
from sandbox.paths import REPOSITORY

SECRET = "projects/demo/secrets/key"
MEMBER = "serviceAccount:eso@demo.iam.gserviceaccount.com"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    store = Cloud(tmp_path / "cloud.db")
    store.ensure_project("demo")
    yield store
    store.close()


def grant(cloud: Cloud, resource: str = SECRET) -> None:
    cloud.create("secretIamMember", member_name(resource, ACCESSOR_ROLE, MEMBER), {})


def refused(cloud: Cloud, version: str) -> CloudError:
    with pytest.raises(CloudError) as error:
        cloud.access_secret_version("demo", "key", version, MEMBER)
    return error.value


def test_store_is_readable_by_its_owner_only(cloud: Cloud, tmp_path: Path) -> None:
    cloud.create("secret", SECRET, {})
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_get_update_delete_and_their_errors(cloud: Cloud) -> None:
    with pytest.raises(CloudError, match=r"^Secret \[projects/\d{12}/secrets/key\] not found\.$") as missing:
        cloud.get("secret", SECRET)
    assert (missing.value.status, missing.value.reason) == (404, "NOT_FOUND")
    cloud.create("secret", SECRET, {"labels": {}})
    with pytest.raises(CloudError, match="already exists") as twice:
        cloud.create("secret", SECRET, {})
    assert twice.value.status == 409
    cloud.update("secret", SECRET, {"labels": {"a": "b"}})
    assert cloud.get("secret", SECRET) == {"name": SECRET, "labels": {"a": "b"}}
    cloud.delete("secret", SECRET)
    with pytest.raises(CloudError, match="not found"):
        cloud.update("secret", SECRET, {})
    with pytest.raises(CloudError, match="not found"):
        cloud.delete("secret", SECRET)


def test_a_project_number_stands_for_its_id(cloud: Cloud) -> None:
    number = cloud.ensure_project("demo")
    assert number == cloud.ensure_project("demo")
    assert len(str(number)) == 12
    cloud.create("secret", f"projects/{number}/secrets/key", {})
    assert cloud.get("secret", SECRET) == cloud.get("secret", f"projects/{number}/secrets/key")
    assert [row["name"] for row in cloud.list("secret", f"projects/{number}/")] == [SECRET]


def test_deleting_a_secret_takes_its_versions_and_members_but_not_its_neighbours(cloud: Cloud) -> None:
    cloud.create("secret", SECRET, {})
    cloud.create("secret", SECRET + "-2", {})
    cloud.add_secret_version(SECRET, b"v")
    grant(cloud)
    cloud.delete("secret", SECRET)
    assert cloud.list("secretVersion") == cloud.list("secretIamMember") == []
    assert [row["name"] for row in cloud.list("secret")] == [SECRET + "-2"]


def test_a_secret_is_read_only_by_a_member_with_the_role(cloud: Cloud) -> None:
    cloud.create("secret", SECRET, {})
    cloud.add_secret_version(SECRET, b"one")
    denied = refused(cloud, "latest")
    assert denied.status == 403
    assert "'secretmanager.versions.access' denied" in denied.message
    grant(cloud)
    cloud.add_secret_version(SECRET, b"two")
    assert cloud.access_secret_version("demo", "key", "1", MEMBER) == ("1", b"one")
    assert cloud.access_secret_version("demo", "key", "latest", MEMBER) == ("2", b"two")


def test_missing_and_disabled_versions(cloud: Cloud) -> None:
    cloud.create("secret", SECRET, {})
    grant(cloud)
    assert "not found or has no versions" in refused(cloud, "latest").message
    version = cloud.add_secret_version(SECRET, b"one")
    assert refused(cloud, "7").reason == "NOT_FOUND"
    cloud.update("secretVersion", version["name"], {**version, "state": "DISABLED"})
    disabled = refused(cloud, "1")
    assert disabled.reason == "FAILED_PRECONDITION"
    assert "is in DISABLED state" in disabled.message


def test_a_missing_secret_is_not_found_only_to_who_may_read_the_project(cloud: Cloud) -> None:
    assert refused(cloud, "latest").reason == "PERMISSION_DENIED"
    grant(cloud, "projects/demo")
    assert refused(cloud, "latest").reason == "NOT_FOUND"


def test_several_writers_get_a_version_each(cloud: Cloud, tmp_path: Path) -> None:
    cloud.create("secret", SECRET, {})
    others = [Cloud(tmp_path / "cloud.db") for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: others[i % 3].add_secret_version(SECRET, str(i).encode()), range(30)))
    assert sorted(int(row["version"]) for row in rows) == list(range(1, 31))
    for other in others:
        other.close()


def test_changing_some_fields_leaves_the_others(cloud: Cloud) -> None:
    cloud.create("secret", SECRET, {"a": 1, "b": {"c": 2}})
    cloud.change("secret", SECRET, b={"d": 3})
    assert cloud.get("secret", SECRET) == {"name": SECRET, "a": 1, "b": {"d": 3}}
    with pytest.raises(CloudError, match="not found"):
        cloud.change("secret", SECRET + "-2", a=1)


def test_switches(cloud: Cloud) -> None:
    assert cloud.get_switch("gpu_stockout") is None
    cloud.set_switch("gpu_stockout", "true")
    assert cloud.get_switch("gpu_stockout") == "true"


def test_two_stores_in_one_process_see_what_another_process_wrote(tmp_path: Path) -> None:
    """SQLite loses its locks when the process closes any other descriptor of the file."""
    path = tmp_path / "cloud.db"
    stores = [Cloud(path), Cloud(path)]
    write = "import sys; from pathlib import Path; from sandbox.google.cloud import Cloud; "
    write += "Cloud(Path(sys.argv[1])).create('secret', sys.argv[2], {})"
    for secret in (SECRET, SECRET + "-2"):
        stores[0].list("secret")
        subprocess.run([sys.executable, "-c", write, str(path), secret], check=True, cwd=REPOSITORY)
        for store in stores:
            assert store.get("secret", secret)["name"] == secret
    for store in stores:
        store.close()
