"""When a database in the cluster stops a salt."""

import pytest

from components.salt_gate import other_salt
from tests.support.engine import Recording

FIRST, OTHER = (
    "projects/1/secrets/litellm-salt-key/versions/1",
    "projects/2/secrets/litellm-salt-key/versions/1",
)

PG = "clusters.postgresql.cnpg.io/litellm-pg"


@pytest.mark.parametrize(
    ("databases", "wanted", "said"),
    [
        ({}, None, ""),
        ({}, FIRST, ""),
        ({PG: FIRST}, FIRST, ""),
        ({PG: FIRST}, None, "a new salt"),
        ({PG: FIRST}, OTHER, OTHER),
        ({PG: FIRST, "clusters.postgresql.cnpg.io/restored": OTHER}, FIRST, "database restored"),
        ({"configmaps/litellm-database": FIRST}, OTHER, "configmaps/litellm-database llm-gateway/salt-"),
    ],
)
def test_other_salt(databases: dict[str, str], wanted: str | None, said: str) -> None:
    found = other_salt(databases, wanted, "gateway")
    assert said in found
    assert bool(found) is bool(said)


def test_the_command_that_gives_the_credentials_up_names_the_database_as_it_is() -> None:
    command = "kubectl annotate --namespace gateway clusters.postgresql.cnpg.io/litellm-pg llm-gateway/salt-"
    assert other_salt({PG: FIRST}, OTHER, "gateway").endswith(command)


def test_the_database_names_its_salt_and_what_leads_to_it_asks_for_it(program: Recording) -> None:
    cluster = program.one("Cluster", "gateway-postgres-cluster").inputs
    assert cluster["metadata"]["annotations"]["llm-gateway/salt"] == (
        "projects/example-llm-dev/secrets/litellm-salt-key/versions/1"
    )
    version = program.one("SecretVersion", "gateway-secrets-litellm-salt-key").request.hooks
    assert list(version.before_create) == ["gateway-secrets-new-salt"]
    for kind, name in (("ClusterSecretStore", "store"), ("ExternalSecret", "litellm-secrets")):
        hooks = program.one(kind, f"gateway-secret-sync-{name}").request.hooks
        assert "gateway-secret-sync-same-salt" in {*hooks.before_create} & {*hooks.before_update}
