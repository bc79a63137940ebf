"""The policies' functions on single resources; tests/rehearsal/test_policy.py has the engine's few cases."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.policy import _NotApplicableError  # pyright: ignore[reportPrivateUsage]
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policy.base import GATEWAY, SECRET, SECRET_VERSION, UNKNOWN, Resource
from policy.pack import POLICIES
from policy.salt import one_salt
from sandbox.paths import REPOSITORY

BY_NAME = {policy.name: policy for policy in POLICIES}
RELEASE = "kubernetes:helm.sh/v3:Release"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
NODE_POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "kubernetes:postgresql.cnpg.io/v1:Cluster"


def violations(policy: str, kind: str, props: dict[str, Any]) -> list[str]:
    """What a resource policy reports about one resource. Raises if the policy does not apply to it."""
    found: list[str] = []
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
    urn = f"urn:pulumi:dev::llm-gateway::{kind}::it"
    args = ResourceValidationArgs(kind, unknown_checking_proxy(props), urn, "it", options, None)
    checked = BY_NAME[policy]
    assert isinstance(checked, ResourceValidationPolicy)
    checked.validate(args, lambda message, urn=None: found.append(message))
    return found


def pod(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [container], **spec}}}}


@pytest.mark.parametrize(
    "image",
    [
        "app",
        "example.com/app",
        "example.com:5000/app",
        "example.com/app:latest",
        "example.com/app:main",
        "example.com/app:latest@sha256:",
    ],
)
def test_an_image_that_moves_is_refused(image: str) -> None:
    assert violations("images-are-pinned", DEPLOYMENT, pod({"image": image}))


@pytest.mark.parametrize(
    "image",
    ["app:1.2", "example.com:5000/app:v1.2.3", f"app@sha256:{'a' * 64}", f"app:latest@sha256:{'a' * 64}"],
)
def test_an_exact_image_passes(image: str) -> None:
    assert violations("images-are-pinned", DEPLOYMENT, pod({"image": image})) == []


@pytest.mark.parametrize("tag", [None, "", "latest"])
def test_chart_values_without_a_tag_are_refused(tag: str | None) -> None:
    values = {"engine": [{"repository": "example.com/app", "tag": tag}]}
    assert violations("images-are-pinned", RELEASE, {"values": values})


def test_an_image_that_is_not_known_yet_passes_the_preview_only() -> None:
    unknown = pod({"image": UNKNOWN_STRING_VALUE}, initContainers=[{"image": "app"}])
    (wrong,) = violations("images-are-pinned", DEPLOYMENT, unknown)
    assert "initContainers" in wrong, "what is known beside it is still looked at"
    assert violations("images-are-pinned", DEPLOYMENT, pod({"image": "app:latest"}))


@pytest.mark.parametrize("version", [None, "", "1.89.x", "^1.89.2", "1.89.1"])
def test_another_version_of_a_chart_is_refused(version: str | None) -> None:
    chart = {"chart": "oci://ghcr.io/berriai/litellm-helm", "version": version}
    assert violations("charts-are-pinned", RELEASE, chart)


@pytest.mark.parametrize("source", ["oci://ghcr.io/berriai/", "/srv/charts/", ""])
def test_the_pinned_chart_passes_from_everywhere(source: str) -> None:
    assert (
        violations("charts-are-pinned", RELEASE, {"chart": f"{source}litellm-helm", "version": "1.89.2"})
        == []
    )


@pytest.mark.parametrize(
    "values",
    [
        {"masterkey": "hunter2"},
        {"db": {"password": "hunter2"}},
        {"envVars": {"OPENAI_API_KEY": "hunter2"}},
        {"env": [{"name": "HF_TOKEN", "value": "hunter2"}]},
        {"anything": "sk-0123456789abcdef0123"},
        {"endpoint": "postgresql://litellm:hunter2@db:5432/litellm"},
        {"config": "settings:\n  api_key: hunter2\n"},
        {"args": ["--x", "-----BEGIN RSA PRIVATE KEY-----"]},
    ],
    ids=str,
)
def test_a_credential_in_plain_text_is_refused(values: dict[str, Any]) -> None:
    (wrong,) = violations("no-literal-credentials", RELEASE, {"values": values})
    assert "hunter2" not in wrong.partition("Write:")[0]


@pytest.mark.parametrize(
    "values",
    [
        {"masterkeySecretName": "litellm-secrets", "masterkeySecretKey": "PROXY_MASTER_KEY"},
        {"db": {"secret": {"name": "pg", "passwordKey": "password"}}},
        {"api_key": "os.environ/UPSTREAM_API_KEY"},
        {"api_key": "none"},
        {"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "password"}}}]},
        {"args": ["--requirepass", "$(PASSWORD)"]},
        {"data": {"password": "{{ .password }}"}},
        {"config": "general_settings:\n  master_key: os.environ/PROXY_MASTER_KEY\n  max_tokens: 5\n"},
        {"password": UNKNOWN_STRING_VALUE},
        {"endpoint": "https://inference.example.com:8443/v1"},
        {"podAnnotations": {"llm-gateway/vllm-api-key": "vllm-api-key@1"}},
        {"run.py": "import os\ntoken = read()\n"},
    ],
    ids=str,
)
def test_a_reference_to_a_credential_passes(values: dict[str, Any]) -> None:
    assert violations("no-literal-credentials", RELEASE, {"values": values}) == []


def gpu(**props: Any) -> dict[str, Any]:
    return {"nodeConfig": {"guestAccelerators": [{"type": "nvidia-l4"}]}, **props}


def of_stack(policy: str, kind: str, props: dict[str, Any], *, production: bool | None = True) -> list[str]:
    """What a stack policy reports about one resource beside a gateway; `production` None: beside none."""
    gateway = (GATEWAY, "gateway", {"production": production})
    return stack_violations(policy, (kind, "it", props), *([] if production is None else [gateway]))


def test_gpu_pools_scale_to_zero_outside_production() -> None:
    policy, bounds = "gpu-pools-scale-to-zero", {"totalMinNodeCount": 0, "totalMaxNodeCount": 1}
    for props, refused in (
        (gpu(autoscaling=bounds, nodeCount=1), False),
        (gpu(autoscaling=bounds | {"totalMinNodeCount": 1}), True),
        (gpu(nodeCount=2), True),
    ):
        assert bool(of_stack(policy, NODE_POOL, props, production=False)) is refused


@pytest.mark.parametrize("production", [True, None])
def test_a_stack_is_production_unless_its_gateway_says_that_it_is_not(production: bool | None) -> None:
    with pytest.raises(_NotApplicableError):
        of_stack("gpu-pools-scale-to-zero", NODE_POOL, gpu(), production=production)
    assert of_stack("production-database-has-three-instances", CLUSTER, {"spec": {}}, production=production)


def test_one_gateway_in_production_makes_the_stack_so() -> None:
    gateways = [(GATEWAY, f"gateway-{said}", {"production": said}) for said in (False, True)]
    cluster = (CLUSTER, "it", {"spec": {}})
    assert stack_violations("production-database-has-three-instances", cluster, *gateways)
    with pytest.raises(_NotApplicableError):
        stack_violations("production-database-has-three-instances", cluster, gateways[0])


def test_production_keeps_wal_apart() -> None:
    policy = "production-wal-has-its-own-volume"
    assert of_stack(policy, CLUSTER, {"spec": {"walStorage": {"size": "10Gi"}}}) == []
    assert of_stack(policy, CLUSTER, {"spec": {}})


def test_backups_by_snapshot_count() -> None:
    spec = {"instances": 3, "backup": {"volumeSnapshot": {"online": False}}}
    assert of_stack("production-database-has-backups", CLUSTER, {"spec": spec}) == []
    assert of_stack("production-database-has-backups", CLUSTER, {"spec": {"plugins": []}})


def test_the_production_database_is_drained_in_turn() -> None:
    policy = "production-database-is-drained-in-turn"
    assert of_stack(policy, CLUSTER, {"spec": {"instances": 3}}) == []
    assert of_stack(policy, CLUSTER, {"spec": {"instances": 3, "enablePDB": False}})


@pytest.mark.parametrize(
    "values", [{"pdb": {"enabled": True}}, {"extraResources": [{"kind": "PodDisruptionBudget"}]}]
)
def test_a_budget_is_the_charts_or_beside_it(values: dict[str, Any]) -> None:
    policy = "disruptions-leave-some"
    assert violations(policy, RELEASE, {"values": {"replicaCount": 2, **values}}) == []
    assert violations(policy, RELEASE, {"values": {"replicaCount": 2, "extraResources": [{"kind": "Job"}]}})


@pytest.mark.parametrize(
    ("kind", "role", "refused"),
    [
        ("gcp:projects/iAMMember:IAMMember", "roles/secretmanager.secretAccessor", True),
        ("gcp:projects/iAMBinding:IAMBinding", "roles/secretmanager.admin", True),
        ("gcp:folder/iAMMember:IAMMember", "roles/owner", True),
        ("gcp:projects/iAMMember:IAMMember", "roles/logging.logWriter", False),
    ],
)
def test_roles_over_secrets_are_given_secret_by_secret(kind: str, role: str, refused: bool) -> None:
    assert bool(violations("iam-is-per-secret", kind, {"role": role, "member": "user:a@b.c"})) is refused


def test_a_whole_policy_of_a_project_is_looked_into() -> None:
    def found(role: str) -> list[str]:
        policy = json.dumps({"bindings": [{"role": role, "members": []}]})
        return violations("iam-is-per-secret", "gcp:projects/iAMPolicy:IAMPolicy", {"policyData": policy})

    assert found("roles/secretmanager.secretAccessor")
    assert found("roles/owner")
    assert not found("roles/secretmanager.viewer")  # names and labels, as for a member


@pytest.mark.parametrize("kind", ["Binding", "Policy"])
def test_access_is_never_authoritative(kind: str) -> None:
    token = f"gcp:secretmanager/secretIam{kind}:SecretIam{kind}"
    assert violations("iam-is-per-secret", token, {"role": "roles/secretmanager.secretAccessor"})
    member = "gcp:secretmanager/secretIamMember:SecretIamMember"
    assert violations("iam-is-per-secret", member, {"member": "principal://x"}) == []


def test_every_remedy_is_in_its_violation() -> None:
    (wrong,) = violations("pods-are-unprivileged", DEPLOYMENT, pod({}, hostPID=True))
    assert f"Write: {BY_NAME['pods-are-unprivileged'].remediation_steps}" in wrong


def test_the_docs_list_every_policy_with_its_remedy() -> None:
    page = (REPOSITORY / "docs" / "policies.md").read_text()
    assert page.count("\n### ") == len(POLICIES)
    for policy in POLICIES:
        assert f"### `{policy.name}`\n\n{policy.description}\n\nWrite: {policy.remediation_steps}\n" in page


GENERATED = "Zx81mQ0aKeyThatNobodyMayRead01234"
PASSWORD = "random:index/randomPassword:RandomPassword"


def stack_violations(
    policy: str, *resources: tuple[str, str, dict[str, Any]], made_by: str = ""
) -> list[str]:
    """What a stack policy reports about (kind, name, props); the type `made_by` is what each SecretVersion's data needs."""
    found: list[str] = []
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
    given = [
        PolicyResource(
            kind,
            unknown_checking_proxy(props),
            f"urn:pulumi:dev::llm-gateway::{kind}::{name}",
            name,
            options,
            None,
            None,
            [],
            {},
        )
        for kind, name, props in resources
    ]
    if made_by:
        source = PolicyResource(
            made_by, {}, f"urn:pulumi:dev::llm-gateway::{made_by}::it", "it", options, None, None, [], {}
        )
        for resource in given:
            if resource.resource_type == SECRET_VERSION:
                resource.property_dependencies = {"secretData": [source]}
        given.append(source)
    checked = BY_NAME[policy]
    assert isinstance(checked, StackValidationPolicy)
    checked.validate(StackValidationArgs(given), lambda message, urn=None: found.append(message))
    return found


@pytest.mark.parametrize(
    "held",
    [
        GENERATED,
        f"sk-{GENERATED}",
        GENERATED.encode().hex(),
        base64.b64encode(GENERATED.encode()).decode(),
        base64.b64encode(f"a:{GENERATED}".encode()).decode(),
        base64.b64encode(f"ab:{GENERATED}".encode()).decode(),
    ],
)
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("gcp:storage/bucket:Bucket", "name"),
        ("gcp:secretmanager/secret:Secret", "secretId"),
        (SECRET_VERSION, "name"),
        (PASSWORD, "keepers"),
        ("pulumi:pulumi:Stack", "output"),
    ],
)
def test_no_plain_property_holds_a_generated_value(held: str, kind: str, path: str) -> None:
    made = (PASSWORD, "made", {"result": GENERATED, "length": len(GENERATED)})
    policy = "generated-values-in-secret-manager-only"
    assert stack_violations(policy, made, (SECRET_VERSION, "kept", {"secretData": f"sk-{GENERATED}"})) == []
    (wrong,) = stack_violations(policy, made, (kind, "holder", {path: held}))
    assert f"holds a generated secret in {path}" in wrong


def test_a_value_that_was_adopted_is_looked_for_too() -> None:
    """No random resource made it, or the salt."""
    kept, holder = (
        (SECRET_VERSION, "kept", {"secretData": GENERATED}),
        ("pulumi:pulumi:Stack", "s", {"a": GENERATED}),
    )
    (wrong,) = stack_violations("generated-values-in-secret-manager-only", kept, holder)
    assert "The stack output holds a generated secret in a" in wrong


def test_no_name_holds_a_generated_value() -> None:
    made = (PASSWORD, "made", {"result": GENERATED})
    policy = "generated-values-in-secret-manager-only"
    (wrong,) = stack_violations(policy, made, (DEPLOYMENT, f"app-{GENERATED}", {}))
    assert "in the name" in wrong


def test_a_value_that_its_id_shows_is_refused() -> None:
    kept = (SECRET_VERSION, "kept", {"secretData": GENERATED})
    policy = "generated-values-in-secret-manager-only"
    assert stack_violations(policy, kept, made_by=PASSWORD) == []
    for kind in ("Bytes", "Id", "String", "Uuid"):
        token = f"random:index/random{kind}:Random{kind}"
        (wrong,) = stack_violations(policy, kept, made_by=token)
        assert f"Random{kind}, which its id shows" in wrong
    assert violations("secret-values-not-in-ids", "random:index/randomBytes:RandomBytes", {"length": 24})
    assert violations("secret-values-not-in-ids", PASSWORD, {"length": 33}) == []


THERE = {"name": "projects/1/secrets/litellm-salt-key"}
VERSION_1 = {"name": f"{THERE['name']}/versions/1", "version": "1", "enabled": True}


def salt(kind: str, props: dict[str, Any]) -> Resource:
    return Resource(kind, "gateway-secrets-litellm-salt-key", f"urn::{kind}", props, True, ["*"], {})


def reads(version: Any) -> Resource:
    entry = {"secretKey": "LITELLM_SALT_KEY", "remoteRef": {"key": "litellm-salt-key", "version": version}}
    spec = {"spec": {"data": [{"secretKey": "OTHER", "remoteRef": {"version": "9"}}, entry]}}
    return Resource("kubernetes:external-secrets.io/v1:ExternalSecret", "synced", "urn", spec, False, [], {})


def program_says(first: bool) -> Resource:
    kind = "llmgateway:gateway_secrets:GatewaySecrets"
    return Resource(kind, "gateway-secrets", "urn", {"firstSalt": first}, False, [], {})


@pytest.mark.parametrize(
    ("secret", "version", "others", "wrong"),
    [
        (THERE, VERSION_1, [reads("1")], None),
        (THERE, VERSION_1, [reads(UNKNOWN)], None),
        ({}, {}, [reads(UNKNOWN)], None),
        ({"name": UNKNOWN}, {"name": UNKNOWN}, [program_says(True)], None),
        (THERE, {"name": UNKNOWN}, [program_says(True)], None),
        (THERE, {"name": UNKNOWN}, [program_says(False)], "a second salt"),
        (THERE, {}, [], "a second salt"),
        (THERE, VERSION_1 | {"enabled": False}, [reads("1")], "is disabled"),
        (THERE, VERSION_1, [reads("2")], "gives pods version 2"),
    ],
)
def test_there_is_one_salt(
    secret: dict[str, Any], version: dict[str, Any], others: list[Resource], wrong: str | None
) -> None:
    found = [text for _, text in one_salt([salt(SECRET, secret), salt(SECRET_VERSION, version), *others])]
    assert [wrong in text for text in found if wrong] == [True] * bool(wrong)
    assert bool(found) is bool(wrong)


@pytest.mark.parametrize(
    ("version", "production", "refused"),
    [("of-salt-copy", True, False), ("vllm-api-key", True, True), ("vllm-api-key", False, None)],
)
def test_production_has_a_second_copy_of_the_salt(
    version: str, production: bool, refused: bool | None
) -> None:
    resources = [
        (SECRET_VERSION, version, {}),
        ("llmgateway:litellm:LiteLLM", "gateway-litellm", {}),
        (GATEWAY, "gateway", {"production": production}),
    ]
    if refused is None:
        with pytest.raises(_NotApplicableError):
            stack_violations("production-salt-has-a-copy", *resources)
    else:
        assert bool(stack_violations("production-salt-has-a-copy", *resources)) is refused


@pytest.mark.parametrize("ttl", [None, "2592000s"])
def test_a_new_salt_can_be_brought_back_once_destroyed(ttl: str | None) -> None:
    kept = {"name": UNKNOWN_STRING_VALUE, "deletionPolicy": "ABANDON"}
    secret = kept | {"deletionProtection": True} | ({"versionDestroyTtl": ttl} if ttl else {})
    name = "gateway-secrets-litellm-salt-key"
    found = stack_violations(
        "salt-is-kept",
        (SECRET, name, secret),
        (SECRET_VERSION, name, kept),
        ("llmgateway:litellm:LiteLLM", "gateway-litellm", {}),
    )
    assert len(found) == (0 if ttl else 1)
    assert all("gone at once" in message for message in found)
