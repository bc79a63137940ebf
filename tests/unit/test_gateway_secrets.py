"""The salt is never lost, and no secret's value is anywhere but in Secret Manager."""

import json

import pytest

from tests.unit.engine import Recording, run_program, secret_marker

SALT = [
    ("RandomBytes", "secrets-litellm-salt-key"),
    ("Secret", "secrets-litellm-salt-key"),
    ("SecretVersion", "secrets-litellm-salt-key"),
]
MADE = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")


@pytest.mark.parametrize(("kind", "name"), SALT)
def test_salt_is_protected_on_the_resource_itself(program: Recording, kind: str, name: str) -> None:
    request = program.one(kind, name).request
    assert request.protect is True
    assert request.retainOnDelete is True
    assert list(request.ignoreChanges) == ["*"]


def test_salt_is_kept_by_google_too(program: Recording) -> None:
    assert program.one("Secret", "secrets-litellm-salt-key").inputs["deletionProtection"] is True
    assert program.one("Secret", "secrets-litellm-salt-key").inputs["deletionPolicy"] == "ABANDON"
    assert program.one("SecretVersion", "secrets-litellm-salt-key").inputs["deletionPolicy"] == "ABANDON"


def test_salt_has_no_keepers_and_reads_its_first_version_for_ever(program: Recording) -> None:
    assert program.one("RandomBytes", "secrets-litellm-salt-key").inputs == {"length": 32}
    data = program.one("ExternalSecret", "secret-sync-litellm-secrets").inputs["spec"]["data"]
    versions = {entry["remoteRef"]["key"]: entry["remoteRef"]["version"] for entry in data}
    assert versions == {"litellm-salt-key": "1", "litellm-master-key": "3", "vllm-api-key": "3"}


def test_values_have_the_agreed_form(program: Recording) -> None:
    def data(secret: str) -> str:
        return program.one("SecretVersion", f"secrets-{secret}").inputs["secretData"]

    def length(secret: str) -> int:
        return program.one("RandomBytes", f"secrets-{secret}").inputs["length"]

    assert data("litellm-master-key") == "sk-" + secret_marker("secrets-litellm-master-key")
    assert data("litellm-salt-key") == secret_marker("secrets-litellm-salt-key")
    assert [length(secret) for secret in MADE] == [24, 32, 24, 24]


def test_a_generation_rotates_its_secret_and_no_other(program: Recording) -> None:
    rotated = run_program({"secrets": {"masterKeyGeneration": 2}})
    changed = {
        secret
        for secret in MADE
        if rotated.one("RandomBytes", f"secrets-{secret}").inputs
        != program.one("RandomBytes", f"secrets-{secret}").inputs
    }
    assert changed == {"litellm-master-key"}


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
        request = program.one("SecretVersion", f"secrets-{secret}").request
        assert rpc.is_rpc_secret(rpc.deserialize_properties(request.object)["secretData"])
