"""A Postgres that exists, in place of CloudNativePG: nothing of it is made, and the proxy alone reaches it."""

from __future__ import annotations

import hashlib
from typing import Any

import pulumi
import pytest

from sandbox.network.policies import End, Policies
from tests.support.certificates import Authority
from tests.support.edges import EDGES, EXISTING_EDGES, Edge
from tests.support.engine import Mocks, Recording, run_program

CA = Authority().pem
HOST = "10.20.0.5"
EXISTING: dict[str, Any] = {
    "host": HOST,
    "port": 5433,
    "database": "gateway",
    "user": "gateway@example-llm-dev.iam",
    "passwordSecret": "cloudsql-litellm",
    "tls": "verify-full",
    "ca": CA,
}
LOGIN = "postgresql://$(DATABASE_USERNAME):$(DATABASE_PASSWORD)@$(DATABASE_HOST)"


def run(answers: Mocks | None = None, **changes: Any) -> Recording:
    existing = {key: value for key, value in {**EXISTING, **changes}.items() if value is not None}
    return run_program({"postgres": {"existing": existing}}, answers)


def litellm(recording: Recording) -> Any:
    return recording.one("Release", "gateway-litellm-release").inputs["values"]


@pytest.fixture(scope="module")
def existing() -> Recording:
    # Another stack has a secret of the name that this one would make.
    return run(Mocks(existing={"litellm-db-password": {"llm-gateway-owner": "llm-gateway/other"}}))


def test_there_is_no_cloudnativepg_and_no_password_of_the_stacks_own(existing: Recording) -> None:
    kinds = {type_.rpartition(":")[2] for type_, _ in existing.resources}
    assert kinds.isdisjoint({"Cluster", "ScheduledBackup", "CnpgOperator", "PostgresCluster"})
    names = {name for _, name in existing.resources}
    assert names.isdisjoint(
        {"gateway-cnpg-release", "gateway-namespaces-cnpg", "gateway-secrets-litellm-db-password"}
    )
    fixed = existing.one("Stash", "gateway-fixed-settings").inputs["input"]
    assert "namespaces.cnpg" not in fixed
    assert "namespaces.gateway" in fixed


@pytest.mark.parametrize("edge", EXISTING_EDGES, ids=str)
def test_edge(existing: Recording, edge: Edge) -> None:
    dependent, dependency = existing.one(edge.kind, edge.name), existing.one(edge.needs_kind, edge.needs)
    assert dependency.urn in existing.direct_dependencies(dependent)


def test_all_other_edges_are_as_with_cloudnativepg(existing: Recording) -> None:
    there = {(type_.rpartition(":")[2], name) for type_, name in existing.resources}
    kept = [e for e in EDGES if {(e.kind, e.name), (e.needs_kind, e.needs)} <= there]
    left_out = [e for e in EDGES if e not in kept]
    assert all("cnpg" in f"{e}" or "postgres" in f"{e}" or "db-password" in f"{e}" for e in left_out)
    for edge in kept:
        needed = existing.one(edge.needs_kind, edge.needs).urn
        assert needed in existing.direct_dependencies(existing.one(edge.kind, edge.name)), edge


def test_litellm_logs_in_as_its_owner_says(existing: Recording) -> None:
    database = litellm(existing)["db"]
    tls = "sslmode=require&sslaccept=strict&sslcert=/etc/llm-gateway-authorities/database.pem"
    assert (database["endpoint"], database["database"]) == (HOST, "gateway")
    assert database["url"] == f"{LOGIN}:5433/$(DATABASE_NAME)?{tls}"
    authorities = existing.one("ConfigMap", "gateway-litellm-authorities").inputs["data"]
    assert authorities == {"database.pem": CA}
    restarted = litellm(existing)["podAnnotations"]["llm-gateway/database.pem"]
    assert restarted == hashlib.sha256(CA.encode()).hexdigest()[:16]
    spec = existing.one("ExternalSecret", "gateway-secret-sync-litellm-pg-app").inputs["spec"]
    (read,) = spec["data"]
    assert read["remoteRef"] == {"key": "cloudsql-litellm", "version": "latest"}
    assert spec["target"]["template"]["data"]["username"] == "gateway%40example-llm-dev.iam"
    assert "metadata" not in spec["target"]["template"]


@pytest.mark.parametrize(("tls", "said"), [("require", "sslmode=require"), ("none", "sslmode=disable")])
def test_prisma_has_words_of_its_own_for_tls(tls: str, said: str) -> None:
    """It takes any that it does not know, libpq's verify-full included, for `prefer`."""
    recording = run(tls=tls, ca=None, port=None)
    assert litellm(recording)["db"]["url"] == f"{LOGIN}:5432/$(DATABASE_NAME)?{said}"
    assert "gateway-litellm-authorities" not in {name for _, name in recording.resources}


def test_the_proxy_alone_reaches_that_address_alone(existing: Recording) -> None:
    found = Policies([policy.inputs for policy in existing.all("NetworkPolicy")])
    proxy = End("10.8.0.7", "llm-gateway", {"app.kubernetes.io/name": "litellm"})
    other = End("10.8.0.8", "llm-gateway", {"app": "debug"})
    assert found.allow(proxy, End(HOST), 5433)
    assert not found.allow(other, End(HOST), 5433)
    for target, port in ((End("10.20.0.6"), 5433), (End(HOST), 5432)):
        assert not found.allow(proxy, target, port)
    assert not any(policy["metadata"]["name"] == "postgres" for policy in found.objects)
    assert "cnpg-system" not in {policy["metadata"]["namespace"] for policy in found.objects}


def test_the_cluster_says_which_salt_the_database_was_written_with(existing: Recording) -> None:
    known = existing.one("ConfigMap", "gateway-database-known").inputs["metadata"]
    salt = "projects/example-llm-dev/secrets/litellm-salt-key/versions/1"
    said = {"llm-gateway/salt": salt, "llm-gateway/database": f"{HOST}:5433/gateway"}
    assert said.items() <= known["annotations"].items()


def test_other_stacks_read_where_it_is(existing: Recording) -> None:
    assert existing.outputs["databaseHost"] == HOST
    assert existing.outputs["secretNames"]["databasePassword"] == (
        "projects/example-llm-dev/secrets/cloudsql-litellm"
    )
    assert set(existing.outputs["namespaces"]) == {"gateway", "serving", "externalSecrets"}


def test_a_password_that_is_not_there_is_refused_by_its_name() -> None:
    with pytest.raises(pulumi.RunError, match="The secret cloudsql-litellm, which a setting names"):
        run(Mocks(missing=["cloudsql-litellm"]))
