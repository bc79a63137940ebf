"""The salt is never lost, and no secret's value is anywhere but in Secret Manager."""

import json
from typing import Any

import pytest

from sandbox.operators.external_secrets.controller import allowed_namespace
from tests.support.engine import Recording, run_program, secret_marker

SALT = "gateway-secrets-litellm-salt-key"
MADE = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
ROTATING = tuple(secret for secret in MADE if secret != "litellm-salt-key")


@pytest.mark.parametrize("kind", ["RandomBytes", "Secret", "SecretVersion"])
def test_salt_is_protected_on_the_resource_itself(program: Recording, kind: str) -> None:
    request = program.one(kind, SALT).request
    assert request.protect is True
    assert request.retainOnDelete is True
    assert list(request.ignoreChanges) == ["*"]


def test_salt_is_kept_by_google_too(program: Recording) -> None:
    assert program.one("Secret", SALT).inputs["deletionProtection"] is True
    assert program.one("Secret", SALT).inputs["deletionPolicy"] == "ABANDON"
    assert program.one("SecretVersion", SALT).inputs["deletionPolicy"] == "ABANDON"


def test_salt_has_no_keepers_and_every_version_is_pinned(program: Recording) -> None:
    assert program.one("RandomBytes", SALT).inputs == {"length": 32}
    data = program.one("ExternalSecret", "gateway-secret-sync-litellm-secrets").inputs["spec"]["data"]
    versions = {entry["remoteRef"]["key"]: entry["remoteRef"]["version"] for entry in data}
    assert versions == dict.fromkeys(("litellm-salt-key", "litellm-master-key", "vllm-api-key"), "3")


def test_values_have_the_agreed_form(program: Recording) -> None:
    def data(secret: str) -> str:
        return program.one("SecretVersion", f"gateway-secrets-{secret}").inputs["secretData"]

    def length(secret: str) -> int:
        return program.one("RandomBytes", f"gateway-secrets-{secret}").inputs["length"]

    assert data("litellm-master-key") == "sk-" + secret_marker("gateway-secrets-litellm-master-key")
    assert data("litellm-salt-key") == secret_marker(SALT)
    assert [length(secret) for secret in MADE] == [24, 32, 24, 24]


@pytest.mark.parametrize(
    ("generation", "rotates"),
    [
        ("masterKeyGeneration", "litellm-master-key"),
        ("databasePasswordGeneration", "litellm-db-password"),
        ("vllmApiKeyGeneration", "vllm-api-key"),
    ],
)
def test_a_generation_rotates_its_secret_and_no_other(
    program: Recording, generation: str, rotates: str
) -> None:
    rotated = run_program({"secrets": {generation: 2}})
    changed = {
        secret
        for secret in MADE
        if rotated.one("RandomBytes", f"gateway-secrets-{secret}").inputs
        != program.one("RandomBytes", f"gateway-secrets-{secret}").inputs
    }
    assert changed == {rotates}


def test_protect_covers_every_secret_and_lets_values_rotate() -> None:
    protected = run_program({"protect": True})
    for secret in MADE:
        assert protected.one("Secret", f"gateway-secrets-{secret}").request.protect is True
        for kind in ("RandomBytes", "SecretVersion"):
            always = secret == "litellm-salt-key"
            assert protected.one(kind, f"gateway-secrets-{secret}").request.protect is always


def test_a_rotated_version_is_disabled_and_not_destroyed(program: Recording) -> None:
    for secret in ROTATING:
        assert program.one("SecretVersion", f"gateway-secrets-{secret}").inputs["deletionPolicy"] == "DISABLE"


def test_no_setting_replaces_a_secret(program: Recording) -> None:
    for secret in ROTATING:
        request = program.one("Secret", f"gateway-secrets-{secret}").request
        assert list(request.ignoreChanges) == ["replication"]


def test_adopted_secrets_are_imported_as_they_are_and_have_no_random_value() -> None:
    versions = {"masterKey": 2, "saltKey": 7, "databasePassword": 1, "vllmApiKey": 3}
    adopted = run_program({"secrets": {"adopt": versions}})
    assert not [type_ for type_, _ in adopted.resources if type_.endswith("RandomBytes")]
    for secret, version in zip(MADE, (2, 7, 1, 3), strict=True):
        name = f"projects/example-llm-dev/secrets/{secret}"
        for kind, imported in (("Secret", name), ("SecretVersion", f"{name}/versions/{version}")):
            request = adopted.one(kind, f"gateway-secrets-{secret}").request
            assert request.importId == imported
            assert request.retainOnDelete is True
            assert list(request.ignoreChanges) == ["*"]
            assert request.protect is (secret == "litellm-salt-key")
        assert "secretData" not in adopted.one("SecretVersion", f"gateway-secrets-{secret}").inputs


def test_pods_restart_with_the_versions_they_read_and_with_no_others(program: Recording) -> None:
    litellm = program.one("Release", "gateway-litellm-release").inputs["values"]["podAnnotations"]
    assert litellm == {
        "llm-gateway/litellm-secrets": "litellm-master-key=3,litellm-salt-key=3,vllm-api-key=3",
        "llm-gateway/litellm-pg-app": "litellm-db-password=3",
    }
    vllm = program.one("Release", "gateway-vllm-release").inputs["values"]
    key = {"llm-gateway/vllm-api-key": "vllm-api-key=3"}
    assert [model["podAnnotations"] for model in vllm["servingEngineSpec"]["modelSpec"]] == [key]
    assert vllm["routerSpec"]["podAnnotations"] == key


def test_access_is_granted_secret_by_secret_to_the_operator_alone(program: Recording) -> None:
    members = {
        registration.inputs["secretId"]: (registration.inputs["role"], registration.inputs["member"])
        for (type_, _), registration in program.resources.items()
        if type_ == "gcp:secretmanager/secretIamMember:SecretIamMember"
    }
    reader = (
        "roles/secretmanager.secretAccessor",
        "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/"
        "example-llm-dev.svc.id.goog/subject/ns/external-secrets/sa/external-secrets",
    )
    assert members == dict.fromkeys(MADE, reader)


def test_no_value_leaks_into_any_other_input_or_output(program: Recording) -> None:
    for (type_, name), registration in program.resources.items():
        inputs = registration.inputs
        if type_ == "gcp:secretmanager/secretVersion:SecretVersion":
            assert inputs.pop("secretData").endswith(secret_marker(name))
        assert "marker-of-" not in json.dumps(inputs), f"{type_} {name} holds a secret's value"
    assert "marker-of-" not in json.dumps(program.outputs)


def test_values_reach_the_engine_marked_secret(program: Recording) -> None:
    from pulumi.runtime import rpc

    for secret in MADE:
        request = program.one("SecretVersion", f"gateway-secrets-{secret}").request
        assert rpc.is_rpc_secret(rpc.deserialize_properties(request.object)["secretData"])


@pytest.mark.parametrize(
    ("settings", "others"), [({}, []), ({"network": {"clientNamespaces": ["apps"]}}, ["apps"])]
)
def test_the_store_reads_for_its_own_namespaces_and_named_clients(
    settings: dict[str, Any], others: list[str]
) -> None:
    """Judged as External Secrets would."""
    store = run_program(settings).one("ClusterSecretStore", "gateway-secret-sync-store").inputs
    served = [name for name in ("llm-gateway", "vllm", "apps", "other") if allowed_namespace(store, name)]
    assert served == ["llm-gateway", "vllm", *others]
