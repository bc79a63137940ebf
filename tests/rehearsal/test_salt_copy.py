"""Ways back: a salt deleted or destroyed at Google, and a generated value that the state has lost."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.stack_file import merged
from tests.rehearsal.test_secrets_life import (
    cluster,
    database_role,
    in_cluster,
    salt_versions,
    values,
)
from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes

COPY = "projects/example-llm-vault/secrets/llm-gateway-dev-salt"
CONFIG: dict[str, Any] = {"llm-gateway:protect": True, "llm-gateway:secrets": {"saltCopy": COPY}}


@pytest.fixture(scope="module")
def copied(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which dev is up, with a second copy of its salt. Each test leaves it as whole as it was."""
    with sandboxes.forked("dev") as sandbox:
        sandbox.up(config=CONFIG).succeeded()
        yield sandbox


def copies(sandbox: Sandbox) -> list[str]:
    rows = sandbox.cloud.list("secretVersion", f"{COPY}/versions/")
    return [base64.b64decode(row["payload"]).decode() for row in rows]


def test_the_copy_is_made_once(copied: Sandbox) -> None:
    assert copies(copied) == [copied.secret("litellm-salt-key")]
    copied.up(config=CONFIG).succeeded()
    assert copied.changed("up") == {}
    assert len(copies(copied)) == 1


def test_a_salt_deleted_at_google_comes_back_from_its_copy(copied: Sandbox) -> None:
    name = f"projects/{copied.project}/secrets/litellm-salt-key"
    kept, role, database = in_cluster(copied), database_role(copied), cluster(copied)["metadata"]["uid"]
    pods = {row["metadata"]["uid"] for row in copied.running("llm-gateway", "litellm")}
    # As `gcloud secrets delete` does, which asks for neither protection.
    copied.cloud.delete("secret", name)
    text = copied.run("up", config=CONFIG).failed().text
    assert f"has no litellm-salt-key, and {COPY} has a copy of it" in text
    assert 'docs/operations.md says under "The salt is gone at Google"' in text
    assert copied.cloud.list("secretVersion", f"{name}/") == []
    assert in_cluster(copied) == kept

    # The guide's gcloud commands.
    notes = {"llm-gateway-owner": "llm-gateway/dev", "llm-gateway-salt-version": "1"}
    row = {"project": copied.project, "secretId": "litellm-salt-key", "replication": {"auto": {}}}
    copied.cloud.create("secret", name, row | {"annotations": notes, "versionDestroyTtl": "2592000s"})
    copied.cloud.add_secret_version(name, copies(copied)[0].encode())

    refreshed = ("exec", "--", "pulumi", "up", "--refresh", "--yes", "--skip-preview")
    copied.run(*refreshed).succeeded()
    assert salt_versions(copied) == {"1": kept["litellm-salt-key"]}
    assert in_cluster(copied) == kept
    assert database_role(copied) == role
    assert cluster(copied)["metadata"]["uid"] == database
    assert {row["metadata"]["uid"] for row in copied.running("llm-gateway", "litellm")} == pods
    assert copied.cloud.list("secretIamMember", f"{name} "), "its reader is back"
    copied.run("up", config=CONFIG).succeeded()
    assert copied.changed("up") == {}


def test_a_salt_destroyed_at_google_comes_back_while_it_is_only_scheduled(copied: Sandbox) -> None:
    name = f"projects/{copied.project}/secrets/litellm-salt-key/versions/1"
    kept = copied.cloud.set_secret_version(name, "DESTROYED")
    assert (kept["state"], bool(kept["payload"]), bool(kept["scheduledDestroyTime"])) == (
        "DISABLED",
        True,
        True,
    )
    copied.run("refresh", config=CONFIG).succeeded()
    text = copied.run("preview", config=CONFIG).failed().text
    assert "gcloud secrets versions enable 1 --secret litellm-salt-key" in text
    copied.cloud.set_secret_version(name, "ENABLED")
    copied.run("refresh", config=CONFIG).succeeded()
    copied.run("up", config=CONFIG).succeeded()
    assert in_cluster(copied)["litellm-salt-key"] == copied.secret("litellm-salt-key")


def test_another_stacks_copy_is_refused(copied: Sandbox) -> None:
    other = "projects/example-llm-vault/secrets/of-another-stack"
    row = {"project": "example-llm-vault", "secretId": "of-another-stack", "replication": {"auto": {}}}
    copied.cloud.create("secret", other, row)
    copied.cloud.add_secret_version(other, b"another stack's salt")
    config = merged(CONFIG, {"llm-gateway:secrets": {"saltCopy": other}})
    text = copied.run("preview", config=config).failed().text
    assert f"{other}, version 1, is no copy of this stack's salt" in text
    assert "another stack's salt" not in text
    missing = merged(CONFIG, {"llm-gateway:secrets": {"saltCopy": f"{other}-too"}})
    assert (
        f"saltCopy: {other}-too could not be looked up" in copied.run("preview", config=missing).failed().text
    )


def test_a_value_gone_from_the_state_is_not_made_again_unasked(own_dev: Sandbox) -> None:
    own_dev.up(config=CONFIG).succeeded()
    kept, role, database = in_cluster(own_dev), database_role(own_dev), cluster(own_dev)["metadata"]["uid"]
    (urn,) = (
        resource["urn"]
        for resource in own_dev.resources()
        if resource["urn"].endswith("RandomPassword::gateway-secrets-litellm-master-key")
    )
    forget = ("exec", "--", "pulumi", "state", "delete", urn, "--force", "--target-dependents", "--yes")
    own_dev.run(*forget).succeeded()
    text = own_dev.run("up", config=CONFIG).failed().text
    assert "litellm-master-key has a value, version 1, which the state has lost" in text
    assert "write llm-gateway:secrets.adopt.masterKey: 1" in text
    assert "litellm-master-key has a value" in own_dev.up(config=CONFIG).failed().text
    assert values(own_dev) == kept == in_cluster(own_dev)

    # The guide's way back.
    adopted = merged(CONFIG, {"llm-gateway:secrets": {"adopt": {"masterKey": 1}}})
    own_dev.up(config=adopted | {"llm-gateway:recover": True}).succeeded()
    own_dev.up(config=adopted).succeeded()
    assert own_dev.changed("up") == {}
    assert values(own_dev) == kept == in_cluster(own_dev)
    assert database_role(own_dev) == role
    assert cluster(own_dev)["metadata"]["uid"] == database

    # Its entry alone keeps it: without it, the same generation would be made a second time.
    assert "raise its generation above 1" in own_dev.up(config=CONFIG).failed().text
    raised = merged(CONFIG, {"llm-gateway:secrets": {"masterKeyGeneration": 2}})
    own_dev.up(config=raised).succeeded()
    assert in_cluster(own_dev)["litellm-master-key"] == own_dev.secret("litellm-master-key", "2")
    assert salt_versions(own_dev) == {"1": kept["litellm-salt-key"]}


def test_adopting_what_the_stack_made_changes_nothing_at_google(own_dev: Sandbox) -> None:
    own_dev.up().succeeded()
    before = [*own_dev.cloud.list("secret"), *own_dev.cloud.list("secretVersion")]
    own_dev.up(config={"llm-gateway:secrets": {"adopt": {"masterKey": 1}}}).succeeded()
    assert own_dev.changed("up").keys() <= {("RandomPassword", "gateway-secrets-litellm-master-key")}
    assert [*own_dev.cloud.list("secret"), *own_dev.cloud.list("secretVersion")] == before
