"""The salt is never lost, and no secret's value is anywhere but in Secret Manager."""

import json
import math
import re
from typing import Any

import grpc
import pulumi
import pytest
from pulumi.runtime import mocks, rpc

from components.gateway_secrets import GENERATION, OWNER, SALT_VERSION
from sandbox.operators.external_secrets.controller import allowed_namespace
from tests.support.engine import EVERYTHING, SETTINGS, Mocks, Recording, run_program, secret_marker

SALT = "gateway-secrets-litellm-salt-key"
MADE = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")
ROTATING = tuple(secret for secret in MADE if secret != "litellm-salt-key")


@pytest.mark.parametrize("kind", ["Secret", "SecretVersion"])
def test_salt_is_protected_on_the_resource_itself(program: Recording, kind: str) -> None:
    request = program.one(kind, SALT).request
    assert request.protect is True
    assert request.retainOnDelete is True
    assert list(request.ignoreChanges) == ["*"]


def test_what_leaves_the_state_stays_at_google_and_what_is_destroyed_there_can_come_back(
    program: Recording,
) -> None:
    assert program.one("Secret", SALT).inputs["versionDestroyTtl"] == "2592000s"
    assert program.one("Secret", SALT).inputs["deletionProtection"] is True
    assert program.one("Secret", SALT).inputs["deletionPolicy"] == "ABANDON"
    assert program.one("SecretVersion", SALT).inputs["deletionPolicy"] == "ABANDON"


def test_no_resource_could_make_the_salt_anew_and_every_version_is_pinned(program: Recording) -> None:
    assert {kind for kind, name in program.resources if name == SALT} == {
        "gcp:secretmanager/secret:Secret",
        "gcp:secretmanager/secretVersion:SecretVersion",
    }
    data = program.one("ExternalSecret", "gateway-secret-sync-litellm-secrets").inputs["spec"]["data"]
    versions = {entry["remoteRef"]["key"]: entry["remoteRef"]["version"] for entry in data}
    assert versions == {"litellm-salt-key": "1", "litellm-master-key": "3", "vllm-api-key": "3"}


def test_values_have_the_agreed_form(program: Recording) -> None:
    def data(secret: str) -> str:
        return program.one("SecretVersion", f"gateway-secrets-{secret}").inputs["secretData"]

    def bits(secret: str) -> float:
        made = program.one("RandomPassword", f"gateway-secrets-{secret}").inputs
        assert made["special"] is False  # letters and digits alone: a URL needs none of them encoded
        return made["length"] * math.log2(62)

    assert data("litellm-master-key") == "sk-" + secret_marker("gateway-secrets-litellm-master-key")
    assert re.fullmatch(r"[A-Za-z0-9]{43}", data("litellm-salt-key"))
    assert 43 * math.log2(62) >= 256
    assert run_program().one("SecretVersion", SALT).inputs["secretData"] != data("litellm-salt-key")
    for secret in ROTATING:
        assert bits(secret) >= 192, secret


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
        for secret in ROTATING
        if rotated.one("RandomPassword", f"gateway-secrets-{secret}").inputs
        != program.one("RandomPassword", f"gateway-secrets-{secret}").inputs
    }
    assert changed == {rotates}


def test_protect_covers_every_secret_and_lets_values_rotate() -> None:
    protected = run_program({"protect": True})
    for secret in ROTATING:
        assert protected.one("Secret", f"gateway-secrets-{secret}").request.protect is True
        for kind in ("RandomPassword", "SecretVersion"):
            assert protected.one(kind, f"gateway-secrets-{secret}").request.protect is False


def test_a_rotated_version_is_disabled_and_not_destroyed(program: Recording) -> None:
    for secret in ROTATING:
        assert program.one("SecretVersion", f"gateway-secrets-{secret}").inputs["deletionPolicy"] == "DISABLE"


def test_no_setting_replaces_a_secret(program: Recording) -> None:
    for secret in ROTATING:
        request = program.one("Secret", f"gateway-secrets-{secret}").request
        assert list(request.ignoreChanges) == ["replication"]


PROJECT = "projects/example-llm-dev"
NUMBER = "projects/123456789012"
OURS = {OWNER: "llm-gateway/dev"}
THE_SALT = OURS | {SALT_VERSION: "7"}
OTHERS = {OWNER: "llm-gateway/other"}


def test_adopted_secrets_are_imported_as_they_are_and_have_no_random_value() -> None:
    versions = {"masterKey": 2, "saltKey": 7, "databasePassword": 1, "vllmApiKey": 3}
    there = dict.fromkeys(MADE, OURS) | {"litellm-salt-key": THE_SALT}
    google = Mocks(there, [("litellm-salt-key", "7")])
    google.salt_version = "7"
    adopted = run_program({"secrets": {"adopt": versions}}, google)
    assert not [type_ for type_, _ in adopted.resources if type_.endswith("RandomPassword")]
    for secret, version in zip(MADE, (2, 7, 1, 3), strict=True):
        name = f"{PROJECT}/secrets/{secret}"
        numbered = f"{NUMBER}/secrets/{secret}/versions/{version}"
        for kind, imported in (("Secret", name), ("SecretVersion", numbered)):
            request = adopted.one(kind, f"gateway-secrets-{secret}").request
            assert request.importId == imported
            assert request.retainOnDelete is True
            assert list(request.ignoreChanges) == ["*"]
            assert request.protect is (secret == "litellm-salt-key")
        assert "secretData" not in adopted.one("SecretVersion", f"gateway-secrets-{secret}").inputs


@pytest.mark.parametrize("settings", [{}, {"secrets": {"adopt": {"saltKey": 1}}}], ids=["unset", "the same"])
def test_a_salt_that_exists_is_taken_whatever_the_settings_say(settings: dict[str, Any]) -> None:
    """After a lost state, a deleted resource or a tear-down: there is nothing to make, and nothing to write."""
    google = Mocks({"litellm-salt-key": OURS | {SALT_VERSION: "1"}}, [("litellm-salt-key", "1")])
    program = run_program(settings, google)
    assert program.one("Secret", SALT).request.importId == f"{PROJECT}/secrets/litellm-salt-key"
    version = program.one("SecretVersion", SALT)
    assert version.request.importId == f"{NUMBER}/secrets/litellm-salt-key/versions/1"
    assert "secretData" not in version.inputs


def test_an_interrupted_first_up_goes_on() -> None:
    """The Secret was made, its version was not: the only time a version is made beside a Secret that exists."""
    program = run_program({}, Mocks({"litellm-salt-key": OURS | {SALT_VERSION: "1"}}))
    assert program.one("Secret", SALT).request.importId
    assert not program.one("SecretVersion", SALT).request.importId
    assert program.one("SecretVersion", SALT).inputs["secretData"]


@pytest.mark.parametrize("annotations", [None, OURS | {SALT_VERSION: "1"}], ids=["first", "interrupted"])
def test_no_preview_knows_a_salt(annotations: dict[str, str] | None) -> None:
    """Of a saved plan the engine takes no other value, and its message would show both."""
    google = Mocks({"litellm-salt-key": annotations} if annotations else {})
    data = run_program({}, google, preview=True).one("SecretVersion", SALT).inputs["secretData"]
    assert pulumi.contains_unknowns(data)


@pytest.mark.parametrize(
    ("settings", "annotations", "said"),
    [
        ({"secrets": {"adopt": {"saltKey": 8}}}, THE_SALT, "Write saltKey: 7."),
        ({}, OURS, "llm-gateway-salt-version=<version>"),
        ({"secrets": {"adopt": {"saltKey": 1}}}, OURS, "llm-gateway-salt-version=<version>"),
        ({}, OURS | {SALT_VERSION: "latest"}, "llm-gateway-salt-version=<version>"),
        ({}, OURS | {SALT_VERSION: "9"}, "has no version 9"),
        ({}, {}, "--update-annotations=llm-gateway-owner=llm-gateway/dev,llm-gateway-salt-version=<version>"),
        ({}, OTHERS, "belongs to llm-gateway/other"),
        ({"owner": "llm-gateway/former"}, THE_SALT, "write llm-gateway:owner: llm-gateway/dev"),
        ({"secrets": {"prefix": "eu-", "adopt": {"saltKey": 1}}}, THE_SALT, "no secret eu-litellm-salt-key"),
    ],
)
def test_another_salt_is_refused_before_anything_is_registered(
    settings: dict[str, Any], annotations: dict[str, str], said: str
) -> None:
    google = Mocks({"litellm-salt-key": annotations}, [("litellm-salt-key", "7"), ("litellm-salt-key", "8")])
    with pytest.raises(pulumi.RunError) as refused:
        run_program(settings, google)
    assert said in str(refused.value)
    assert not [
        kind
        for kind in google.made
        if not kind.startswith(("pulumi:pulumi:", "pulumi:providers:", "llmgateway:"))
    ]


COPY = "projects/example-llm-vault/secrets/copy"
WITH_COPY = {"secrets": {"saltCopy": COPY}}
THE_COPY = "gateway-secrets-example-llm-vault.copy-salt-copy"


def test_the_salts_copy_is_made_in_the_other_project_and_stays_there() -> None:
    program = run_program(WITH_COPY)
    copy = program.one("SecretVersion", THE_COPY)
    assert copy.inputs["secret"] == COPY
    assert copy.inputs["secretData"] == program.one("SecretVersion", SALT).inputs["secretData"]
    assert copy.inputs["deletionPolicy"] == "ABANDON"
    assert copy.request.retainOnDelete is True
    assert list(copy.request.ignoreChanges) == ["*"]
    assert not copy.request.importId


def test_a_copy_that_is_there_is_not_made_again() -> None:
    there = Mocks({"litellm-salt-key": THE_SALT}, [("litellm-salt-key", "7"), ("copy", "1")])
    there.salt_version = "7"
    copy = run_program(WITH_COPY, there).one("SecretVersion", THE_COPY)
    assert copy.request.importId.endswith("/secrets/copy/versions/1")
    assert "secretData" not in copy.inputs


@pytest.mark.parametrize("annotations", [None, OURS | {SALT_VERSION: "1"}], ids=["no Secret", "no version"])
def test_no_salt_is_made_where_there_is_a_copy_of_one(annotations: dict[str, str] | None) -> None:
    google = Mocks({"litellm-salt-key": annotations} if annotations else {}, [("copy", "1")])
    with pytest.raises(pulumi.RunError, match=f"{COPY} has a copy of it.*The salt is gone at Google"):
        run_program(WITH_COPY, google)
    assert not [kind for kind in google.made if not kind.startswith(("pulumi:", "llmgateway:"))]


@pytest.mark.parametrize("kept", ["the salt", "the salt of another stack"])
def test_a_copy_of_another_salt_is_refused(kept: str) -> None:
    """Values that Google has: the engine reads them when it imports the versions."""

    class Google(Mocks):
        def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            made, state = super().new_resource(args)
            values = {SALT: "the salt", THE_COPY: kept} if args.typ.endswith(":SecretVersion") else {}
            return made, state | ({"secretData": values[args.name]} if args.name in values else {})

    google = Google(
        {"litellm-salt-key": OURS | {SALT_VERSION: "1"}}, [("litellm-salt-key", "1"), ("copy", "1")]
    )
    if kept == "the salt":
        run_program(WITH_COPY, google)
    else:
        with pytest.raises(pulumi.RunError, match=f"{COPY}, version 1, is no copy") as refused:
            run_program(WITH_COPY, google)
        assert kept not in str(refused.value)


def test_a_secret_for_the_copy_that_is_missing_is_named_before_anything_is_registered() -> None:
    google = Mocks(missing=["copy"])
    with pytest.raises(pulumi.RunError, match=f"saltCopy: {COPY} could not be looked up.*Error 403"):
        run_program(WITH_COPY, google)
    assert not [kind for kind in google.made if not kind.startswith(("pulumi:", "llmgateway:"))]


def test_a_value_is_made_after_a_look_at_google_and_its_generation_is_said_there() -> None:
    program = run_program({"secrets": {"masterKeyGeneration": 3}})
    for secret, generation in zip(ROTATING, "311", strict=True):
        value = program.one("RandomPassword", f"gateway-secrets-{secret}")
        assert list(value.request.hooks.before_create) == [f"gateway-secrets-{secret}-new-value"]
        kept = program.one("Secret", f"gateway-secrets-{secret}")
        assert kept.inputs["annotations"][GENERATION] == generation
        assert value.urn in program.waits_for(kept)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (
            "litellm-master-key",
            "write llm-gateway:secrets.adopt.masterKey: 4. To make another one, raise its generation above 1.",
        ),
        ("litellm-key-app", "write llm-gateway:virtualKeys[0].adopt: 4. To make another one, raise its"),
        # It has no generation that could be raised.
        (
            "litellm-redis-password",
            "write llm-gateway:secrets.adopt.redisPassword: 4. To have another one, add it as a version and",
        ),
    ],
)
def test_a_value_that_the_state_lost_is_not_made_again_and_the_ways_on_are_there(
    secret: str, said: str
) -> None:
    settings = {"litellm": EVERYTHING["litellm"], "virtualKeys": [{"name": "app"}]}
    program = run_program(settings, Mocks({secret: OURS}, [(secret, "4")]))
    made = pulumi.ResourceHookArgs("urn", "", secret, "random")
    with pytest.raises(RuntimeError, match="has a value, version 4, which the state has lost") as refused:
        program.run_hook(f"gateway-secrets-{secret}-new-value", made)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("generation", "annotations", "versions", "refused"),
    [
        (2, {GENERATION: "2"}, "12", True),
        (1, {}, "1", True),  # the first generation, and nothing says so
        (3, {GENERATION: "2"}, "12", False),
        (2, {GENERATION: "2"}, "", False),  # an `up` was interrupted before it made the version
        (1, None, "", False),
    ],
    ids=["made", "made first", "raised", "interrupted", "new"],
)
def test_a_value_that_google_has_is_not_made_again_in_its_generation(
    generation: int, annotations: dict[str, str] | None, versions: str, refused: bool
) -> None:
    secret = "litellm-master-key"
    there = {} if annotations is None else {secret: OURS | annotations}
    google = Mocks(there, [(secret, version) for version in versions])
    program = run_program({"secrets": {"masterKeyGeneration": generation}}, google)
    name, made = f"gateway-secrets-{secret}-new-value", pulumi.ResourceHookArgs("urn", "", secret, "random")
    options = program.hooks[name].opts
    assert options
    assert options.on_dry_run
    if refused:
        said = f"value, version {versions[-1]}, .* write llm-gateway:secrets.adopt.masterKey: {versions[-1]}"
        with pytest.raises(RuntimeError, match=said):
            program.run_hook(name, made)
    else:
        program.run_hook(name, made)


@pytest.mark.parametrize("secret", ROTATING)
@pytest.mark.parametrize("adopt", [None, 1])
@pytest.mark.parametrize(("annotations", "said"), [(OTHERS, "secrets.prefix"), ({}, "llm-gateway-owner=")])
def test_another_stacks_secret_is_refused(
    secret: str, adopt: int | None, annotations: dict[str, str], said: str
) -> None:
    key = {"litellm-master-key": "masterKey", "litellm-db-password": "databasePassword"}.get(
        secret, "vllmApiKey"
    )
    with pytest.raises(pulumi.RunError, match=said):
        run_program({"secrets": {"adopt": {key: adopt} if adopt else {}}}, Mocks({secret: annotations}))


def test_adopting_what_is_not_there_is_refused() -> None:
    with pytest.raises(
        pulumi.RunError, match=r"secrets\.adopt\.masterKey: there is no secret litellm-master-key"
    ):
        run_program({"secrets": {"adopt": {"masterKey": 1}}})


def test_every_secret_says_whose_it_is_and_takes_the_prefix() -> None:
    second = run_program({"secrets": {"prefix": "eu-"}}, Mocks(dict.fromkeys(MADE, OTHERS)))
    for secret in MADE:
        inputs = second.one("Secret", f"gateway-secrets-{secret}").inputs
        assert inputs["secretId"] == f"eu-{secret}"
        assert inputs["annotations"][OWNER] == "llm-gateway/dev"


def test_another_stacks_key_is_read_beside_an_own_one_of_that_name() -> None:
    """A second stack calls the first as an upstream, with a virtual key that the first has made."""
    upstream = {"url": "http://first.example/v1", "model": "m", "apiKeySecret": "litellm-key-app"}
    models = [*SETTINGS["models"], {"alias": "first", "free": True, "endpoint": upstream}]
    settings = {"secrets": {"prefix": "eu-"}, "models": models, "virtualKeys": [{"name": "app"}]}
    readable = [secret for secret, _, _ in granted(run_program(settings))]
    assert {"litellm-key-app", "eu-litellm-key-app"} <= set(readable)


def test_a_renamed_stack_keeps_its_mark() -> None:
    changes: dict[str, Any] = {
        "owner": "llm-gateway/former",
        "virtualKeys": [{"name": "app", "team": None, "budget": 1}],
    }
    renamed = run_program(changes, Mocks({secret: {OWNER: "llm-gateway/former"} for secret in ROTATING}))
    annotations = renamed.one("Secret", "gateway-secrets-vllm-api-key").inputs["annotations"]
    assert annotations[OWNER] == "llm-gateway/former"
    (declared,) = [
        registration.inputs["data"]["declared.json"]
        for registration in renamed.resources.values()
        if "declared.json" in registration.inputs.get("data", {})
    ]
    assert json.loads(declared)["managed_by"] == "llm-gateway/former"


def test_pods_restart_with_the_versions_they_read_and_with_no_others(program: Recording) -> None:
    litellm = program.one("Release", "gateway-litellm-release").inputs["values"]["podAnnotations"]
    assert litellm.pop("llm-gateway/hooks")
    assert litellm == {
        "llm-gateway/litellm-secrets": "litellm-master-key=3,litellm-salt-key=1,vllm-api-key=3",
        "llm-gateway/litellm-pg-app": "litellm-db-password=3",
    }
    vllm = program.one("Release", "gateway-vllm-release").inputs["values"]
    key = {"llm-gateway/vllm-api-key": "vllm-api-key=3"}
    assert [model["podAnnotations"] for model in vllm["servingEngineSpec"]["modelSpec"]] == [key]
    assert vllm["routerSpec"]["podAnnotations"] == key


def granted(recording: Recording) -> list[tuple[str, str, str]]:
    """Secret, role and subject of every grant."""
    pool = (
        "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/"
        "example-llm-dev.svc.id.goog/subject/"
    )
    return sorted(
        (grant.inputs["secretId"], grant.inputs["role"], grant.inputs["member"].removeprefix(pool))
        for (type_, _), grant in recording.resources.items()
        if type_ == "gcp:secretmanager/secretIamMember:SecretIamMember"
    )


def test_access_is_granted_secret_by_secret_to_the_store_alone(program: Recording) -> None:
    """Never to the operator's own account: as that one reads a store without credentials, whoever made it."""
    role = "roles/secretmanager.secretAccessor"
    store = "ns/external-secrets/sa/llm-gateway-secrets-europe-west4-platform-dev"
    assert granted(program) == sorted((secret, role, store) for secret in MADE)
    identity = program.one("ClusterSecretStore", "gateway-secret-sync-store").inputs["spec"]["provider"]
    account = identity["gcpsm"]["auth"]["workloadIdentity"]["serviceAccountRef"]
    assert f"ns/{account['namespace']}/sa/{account['name']}" == store
    operator = program.one("Release", "gateway-external-secrets-release").inputs["values"]
    assert operator["serviceAccount"]["name"] != account["name"]


def test_stacks_on_two_clusters_of_a_project_share_no_access() -> None:
    """A secret that both name keeps the access of the one when the other ends: a member is there only once."""
    models = {"models": EVERYTHING["models"]}
    here = run_program(models)
    there = run_program({**models, "cluster": {"name": "platform-dev", "location": "europe-west1"}})
    shared, also = (
        {grant for grant in granted(stack) if grant[0] == "anthropic-api-key"} for stack in (here, there)
    )
    assert shared
    assert not shared & also


def test_readers_read_their_key_and_no_other_secret() -> None:
    keys = [{"name": "a", "readers": ["x", "y"]}, {"name": "b", "readers": ["x"]}, {"name": "c"}]
    recording = run_program({"virtualKeys": keys})
    role = "roles/secretmanager.secretAccessor"
    clients = [grant for grant in granted(recording) if "external-secrets" not in grant[2]]
    assert clients == [
        ("litellm-key-a", role, "ns/x/sa/virtual-key-reader"),
        ("litellm-key-a", role, "ns/y/sa/virtual-key-reader"),
        ("litellm-key-b", role, "ns/x/sa/virtual-key-reader"),
    ]
    made = recording.one("SecretIamMember", "gateway-secrets-litellm-key-a-reader.x")
    assert recording.one("Secret", "gateway-secrets-litellm-key-a").urn in recording.waits_for(made)


def test_no_value_leaks_into_any_other_input_or_output(program: Recording) -> None:
    for (type_, name), registration in program.resources.items():
        inputs = registration.inputs
        if type_ == "gcp:secretmanager/secretVersion:SecretVersion":
            value = inputs.pop("secretData")
            assert name == SALT or value.endswith(secret_marker(name))
        assert "marker-of-" not in json.dumps(inputs), f"{type_} {name} holds a secret's value"
    assert "marker-of-" not in json.dumps(program.outputs)


def test_values_reach_the_engine_marked_secret(program: Recording) -> None:
    for secret in MADE:
        request = program.one("SecretVersion", f"gateway-secrets-{secret}").request
        assert rpc.is_rpc_secret(rpc.deserialize_properties(request.object)["secretData"])


@pytest.mark.parametrize("settings", [{}, {"network": {"clientNamespaces": ["apps"]}}])
def test_the_store_reads_for_its_own_namespaces_alone(settings: dict[str, Any]) -> None:
    """Judged as External Secrets would."""
    store = run_program(settings).one("ClusterSecretStore", "gateway-secret-sync-store").inputs
    served = [name for name in ("llm-gateway", "vllm", "apps", "other") if allowed_namespace(store, name)]
    assert served == ["llm-gateway", "vllm"]


class NotFound(grpc.RpcError):
    """A provider's refusal, as the engine hands it on."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return "Secret projects/example-llm-dev/secrets/hf-token not found"


def test_a_secret_made_elsewhere_that_is_missing_is_named_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """get_secret_output would end in a traceback."""
    call = Mocks.call

    def missing(self: Mocks, args: Any) -> Any:
        if args.token == "gcp:secretmanager/getSecret:getSecret":
            raise NotFound
        return call(self, args)

    monkeypatch.setattr(Mocks, "call", missing)
    vllm = SETTINGS["models"][0]["vllm"] | {"huggingFaceToken": "hf-token"}
    with pytest.raises(pulumi.RunError, match=r"hf-token.*huggingFaceToken.*gcloud secrets create hf-token"):
        run_program({"models": [SETTINGS["models"][0] | {"vllm": vllm}]})
