"""A database in Cloud SQL: the stack runs the Auth Proxy, LiteLLM reaches it, and nobody else does."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from sandbox.network.policies import End, Policies
from tests.support.certificates import Authority
from tests.support.engine import CLOUD_SQL, EVERYTHING, SETTINGS, Recording, run_program

INSTANCE = "example-sql:europe-west4:gateway"
EMAIL = "litellm-database@example-accounts.iam.gserviceaccount.com"
HOST = "cloud-sql-proxy.llm-gateway.svc.cluster.local"
PASSWORD = {"iam": False, "passwordSecret": "cloudsql-litellm"}


def database(**changes: Any) -> dict[str, Any]:
    """`postgres`; keys of cloudSql are changed there, others beside it, and None removes one."""
    cloud_sql = dict(CLOUD_SQL["existing"]["cloudSql"])
    beside: dict[str, Any] = {}
    for key, value in changes.items():
        (cloud_sql if key in ("instance", "serviceAccount", "iam", "privateIp") else beside)[key] = value
    return {"existing": {"cloudSql": {k: v for k, v in cloud_sql.items() if v is not None}, **beside}}


@pytest.fixture(scope="module")
def by_iam() -> Recording:
    return run_program({"postgres": CLOUD_SQL})


@pytest.fixture(scope="module")
def by_password() -> Recording:
    postgres = database(**PASSWORD, privateIp=False, user="gateway", database="llm")
    return run_program({"postgres": postgres, "litellm": EVERYTHING["litellm"]})


def container(recording: Recording) -> dict[str, Any]:
    spec = recording.one("Deployment", "gateway-cloud-sql-pods").inputs["spec"]
    (found,) = spec["template"]["spec"]["containers"]
    return found


def test_it_reaches_the_instance_that_the_settings_name(by_iam: Recording, by_password: Recording) -> None:
    arguments = container(by_iam)["args"]
    assert arguments[-1] == INSTANCE
    assert {"--private-ip", "--auto-iam-authn", "--run-connection-test", "--port=5432"} <= set(arguments)
    assert container(by_password)["args"][-1] == INSTANCE
    assert not {"--private-ip", "--auto-iam-authn"} & set(container(by_password)["args"])


def test_its_pods_act_as_the_service_account_and_as_nothing_else(by_iam: Recording) -> None:
    account = by_iam.one("ServiceAccount", "gateway-cloud-sql-account").inputs
    name = "cloud-sql-proxy-europe-west4-platform-dev"
    assert account["metadata"]["name"] == name
    assert account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] == EMAIL
    granted = by_iam.one("IAMMember", "gateway-cloud-sql-acts-as")
    assert granted.request.type == "gcp:serviceaccount/iAMMember:IAMMember"
    assert granted.inputs == {
        "serviceAccountId": f"projects/example-accounts/serviceAccounts/{EMAIL}",
        "role": "roles/iam.workloadIdentityUser",
        "member": "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/"
        f"example-llm-dev.svc.id.goog/subject/ns/llm-gateway/sa/{name}",
    }
    pod = by_iam.one("Deployment", "gateway-cloud-sql-pods")
    assert pod.inputs["spec"]["template"]["spec"]["serviceAccountName"] == name
    # The API server is nothing to it, and LiteLLM's pods are somebody else.
    assert pod.inputs["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert granted.urn in by_iam.direct_dependencies(pod)
    proxy = by_iam.one("ServiceAccount", "gateway-litellm-account").inputs
    assert not [key for key in proxy["metadata"]["annotations"] if key.startswith("iam.gke.io/")]


def test_litellm_logs_in_there_as_the_service_account(by_iam: Recording) -> None:
    values = by_iam.one("Release", "gateway-litellm-release").inputs["values"]
    assert values["db"]["endpoint"] == HOST
    assert values["db"]["url"].endswith(":5432/$(DATABASE_NAME)?sslmode=disable")
    spec = by_iam.one("ExternalSecret", "gateway-secret-sync-litellm-pg-app").inputs["spec"]
    assert spec["target"]["template"]["data"]["username"] == "litellm-database%40example-accounts.iam"
    assert spec["data"][0]["remoteRef"]["key"].endswith("litellm-db-password")
    assert by_iam.outputs["databaseHost"] == HOST
    assert not [kind for kind, _ in by_iam.resources if kind.endswith(":Cluster")]


def test_with_a_password_it_is_the_owners(by_password: Recording) -> None:
    spec = by_password.one("ExternalSecret", "gateway-secret-sync-litellm-pg-app").inputs["spec"]
    assert spec["target"]["template"]["data"]["username"] == "gateway"
    assert spec["data"][0]["remoteRef"]["key"] == "cloudsql-litellm"
    assert "gateway-secrets-litellm-db-password" not in {name for _, name in by_password.resources}


def test_litellm_starts_once_it_answers(by_iam: Recording) -> None:
    release = by_iam.waits_for(by_iam.one("Release", "gateway-litellm-release"))
    service = by_iam.one("Service", "gateway-cloud-sql-service")
    assert service.urn in release
    assert by_iam.one("Deployment", "gateway-cloud-sql-pods").urn in by_iam.waits_for(service)
    known = by_iam.one("ConfigMap", "gateway-database-known").inputs["metadata"]["annotations"]
    assert known["llm-gateway/database"] == f"{INSTANCE}/litellm"


def test_there_are_as_many_as_an_eviction_needs(by_iam: Recording, by_password: Recording) -> None:
    assert by_iam.one("Deployment", "gateway-cloud-sql-pods").inputs["spec"]["replicas"] == 1
    assert "gateway-cloud-sql-disruptions" not in {name for _, name in by_iam.resources}
    assert by_password.one("Deployment", "gateway-cloud-sql-pods").inputs["spec"]["replicas"] == 2
    assert by_password.one("PodDisruptionBudget", "gateway-cloud-sql-disruptions")


def test_litellm_alone_reaches_it_and_it_reaches_the_instance_alone(
    by_iam: Recording, by_password: Recording
) -> None:
    private, public = (
        Policies([policy.inputs for policy in recording.all("NetworkPolicy")])
        for recording in (by_iam, by_password)
    )
    connector = End("10.8.0.7", "llm-gateway", {"app.kubernetes.io/name": "cloud-sql-proxy"})
    proxy = End("10.8.0.8", "llm-gateway", {"app.kubernetes.io/name": "litellm"})
    job = End("10.8.0.9", "llm-gateway", {"app.kubernetes.io/name": "litellm-tenants"})
    there, elsewhere = End("10.20.0.5"), End("198.51.100.1")
    assert private.allow(proxy, connector, 5432)
    for source in (job, End("10.8.0.6", "apps", {"app": "chat"}), elsewhere):
        assert not private.allow(source, connector, 5432)
    assert not private.allow(proxy, there, 3307)
    assert private.allow(connector, there, 3307)
    assert not private.allow(connector, elsewhere, 3307)
    assert not private.allow(connector, there, 5432)
    assert public.allow(connector, elsewhere, 3307)
    assert not public.allow(connector, there, 3307)


def test_a_proxy_on_the_way_out_is_told_to_it_and_its_image_mirrored() -> None:
    mirrors = {host: f"mirror.example.com/{host}" for host in ("docker.io", "gcr.io", "ghcr.io", "quay.io")}
    egress = {"httpsProxy": "http://10.40.0.3:3128", "noProxy": ["googleapis.com"]}
    found = container(run_program({"postgres": CLOUD_SQL, "egress": egress, "images": {"mirrors": mirrors}}))
    assert found["image"].startswith("mirror.example.com/gcr.io/cloud-sql-connectors/cloud-sql-proxy:")
    variables = {variable["name"]: variable["value"] for variable in found["env"]}
    assert variables["HTTPS_PROXY"] == "http://10.40.0.3:3128"
    assert "34.118.224.0/20" in variables["NO_PROXY"]


def mistakes(**sections: Any) -> list[tuple[str, str]]:
    entries = {f"llm-gateway:{key}": json.dumps(value) for key, value in {**SETTINGS, **sections}.items()}
    with pytest.raises(settings.SettingsError) as refused:
        settings.parse(entries, "dev")
    return [(mistake.key, f"{mistake.problem}; {mistake.write}") for mistake in refused.value.mistakes]


@pytest.mark.parametrize(
    ("sections", "key", "said"),
    [
        ({"postgres": database(host="10.20.0.5")}, "host", "finds the instance"),
        ({"postgres": database(tls="require")}, "tls", "here: no tls"),
        ({"postgres": database(passwordSecret="cloudsql")}, "passwordSecret", "iam: false"),
        ({"postgres": database(user="litellm")}, "user", "no user"),
        ({"postgres": database(iam=False)}, "passwordSecret", "cloudSql.iam: true"),
        (
            {"postgres": database(instance="gateway")},
            "cloudSql.instance",
            "my-project-id:europe-west4:gateway",
        ),
        ({"postgres": database(instance=None)}, "cloudSql.instance", "the key is missing"),
        ({"postgres": database(serviceAccount="litellm")}, "cloudSql.serviceAccount", "serviceAccount: "),
        ({"postgres": {"existing": {}}}, "host", "or cloudSql"),
    ],
)
def test_refused(sections: dict[str, Any], key: str, said: str) -> None:
    found = dict(mistakes(**sections))
    assert said in found[f"postgres.existing.{key}"]


def test_whoever_reaches_it_would_be_the_databases_owner() -> None:
    open_to_all = {"network": {"policies": False}}
    ((key, said),) = mistakes(postgres=CLOUD_SQL, **open_to_all)
    assert (key, "cloudSql.iam" in said) == ("network.policies", True)
    texts = {**SETTINGS, "postgres": database(**PASSWORD), **open_to_all}
    settings.parse({f"llm-gateway:{k}": json.dumps(v) for k, v in texts.items()}, "dev")


def test_a_proxy_that_looks_into_tls_stands_between_it_and_google() -> None:
    egress = {"httpsProxy": "http://10.40.0.3:3128", "ca": Authority().pem}
    assert "egress.ca" in dict(mistakes(postgres=CLOUD_SQL, egress=egress))
    texts = {**SETTINGS, "postgres": CLOUD_SQL, "egress": {**egress, "noProxy": ["googleapis.com"]}}
    settings.parse({f"llm-gateway:{k}": json.dumps(v) for k, v in texts.items()}, "dev")
