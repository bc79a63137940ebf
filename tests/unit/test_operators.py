"""Operators that the cluster has: what is looked at before anything is made, and what is not made then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError

import settings
from components import served
from components.served import BARMAN, CERT_MANAGER, CNPG, EXTERNAL_SECRETS, Needed, missing, needed
from sandbox.network.policies import End, Policies
from tests.support.engine import SETTINGS, Mocks, Recording, run_program

OFF = {"install": False}
THEIRS: Mapping[str, Any] = {
    "operators": {"cnpg": OFF, "externalSecrets": OFF, "certManager": OFF},
    "postgres": {"backups": {"method": "objectStore"}},
    "secrets": {"store": "gcp-secret-manager-eu"},
    "namespaces": {"cnpg": "platform-cnpg"},
}
ALL = {crd: ["v1"] for one in (CNPG, BARMAN, EXTERNAL_SECRETS, CERT_MANAGER) for crd in one.crds}


@pytest.fixture(scope="module")
def theirs() -> Recording:
    return run_program(THEIRS)


def names(recording: Recording) -> set[str]:
    return {name for _, name in recording.resources}


def test_nothing_of_theirs_is_made(theirs: Recording) -> None:
    assert not {
        name
        for name in names(theirs)
        for part in ("cnpg", "external-secrets", "cert-manager", "barman-plugin")
        if name in (f"gateway-{part}-release", f"gateway-namespaces-{part}")
    }
    namespaces = {policy.inputs["metadata"]["namespace"] for policy in theirs.all("NetworkPolicy")}
    assert namespaces == {"llm-gateway", "vllm"}
    assert set(theirs.outputs["namespaces"]) == {"gateway", "serving"}


def test_what_needs_them_waits_until_they_answer(theirs: Recording) -> None:
    for dependent, operator in (
        (theirs.one("Cluster", "gateway-postgres-cluster"), "cnpg"),
        (theirs.one("ObjectStore", "gateway-backups-object-store"), "cnpg"),
        (theirs.one("ClusterSecretStore", "gateway-secret-sync-store"), "external-secrets"),
    ):
        gate = theirs.one("ConfigMap", f"gateway-{operator}-webhook-open")
        assert gate.urn in theirs.direct_dependencies(dependent)
        assert gate.inputs["metadata"]["namespace"] == "llm-gateway"
        assert f"gateway-{operator}-webhook-answers" in gate.request.hooks.before_create


def test_the_store_has_its_name_and_reads_as_an_account_beside_the_gateway(theirs: Recording) -> None:
    store = theirs.one("ClusterSecretStore", "gateway-secret-sync-store").inputs
    assert store["metadata"]["name"] == "gcp-secret-manager-eu"
    account = theirs.one("ServiceAccount", "gateway-secret-sync-reader").inputs["metadata"]
    assert account["namespace"] == "llm-gateway"
    identity = store["spec"]["provider"]["gcpsm"]["auth"]["workloadIdentity"]
    reader = {"name": account["name"], "namespace": "llm-gateway"}
    assert identity["serviceAccountRef"] == reader
    member = theirs.one("SecretIamMember", "gateway-secrets-litellm-salt-key-reader").inputs["member"]
    assert member.endswith(f"/ns/llm-gateway/sa/{account['name']}")
    for secret in theirs.all("ExternalSecret"):
        assert secret.inputs["spec"]["secretStoreRef"]["name"] == "gcp-secret-manager-eu"


def test_their_cloudnativepg_reaches_the_database_and_nothing_else_of_theirs_does(theirs: Recording) -> None:
    found = Policies([policy.inputs for policy in theirs.all("NetworkPolicy")])
    database = End("10.8.0.7", "llm-gateway", {"cnpg.io/cluster": "litellm-pg"})
    cnpg = {"app.kubernetes.io/name": "cloudnative-pg"}
    for port in (5432, 8000):
        assert found.allow(End("10.8.0.8", "platform-cnpg", cnpg), database, port)
        assert not found.allow(End("10.8.0.8", "platform-cnpg", {"app": "other"}), database, port)
        assert not found.allow(End("10.8.0.8", "cnpg-system", cnpg), database, port)


def test_who_installs_them_is_fixed(theirs: Recording, program: Recording) -> None:
    """Who no longer installed an operator would delete it, and what all stacks have of it would stand still."""
    for recording, said in ((theirs, "false"), (program, "true")):
        fixed = recording.one("Stash", "gateway-fixed-settings").inputs["input"]
        assert [fixed[f"operators.{key}.install"] for key in ("cnpg", "externalSecrets")] == [said, said]
        assert ("namespaces.cnpg" in fixed) == ("namespaces.externalSecrets" in fixed) == (said == "true")


@pytest.mark.parametrize(
    ("crd", "versions", "said"),
    [
        (
            "clusters.postgresql.cnpg.io",
            [],
            r"operators\.cnpg\.install: false: the cluster has no CRD clusters\.postgresql\.cnpg\.io, so no CloudNativePG:",
        ),
        (
            "objectstores.barmancloud.cnpg.io",
            [],
            "so no CloudNativePG's barman-cloud plugin: nobody would act",
        ),
        (
            "externalsecrets.external-secrets.io",
            ["v1alpha1", "v1beta1"],
            r"operators\.externalSecrets\.install: false: the External Secrets of the cluster serves "
            r"externalsecrets\.external-secrets\.io as v1alpha1, v1beta1, and this stack needs v1:",
        ),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(
    crd: str, versions: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {**ALL, crd: versions}
    monkeypatch.setattr(served, "served_versions", lambda _, crds: {crd: there[crd] for crd in crds})
    answers = Mocks()
    with pytest.raises(pulumi.RunError, match=f"{said}[^\0]*Nothing was touched"):
        run_program(THEIRS, answers)
    assert {kind for kind in answers.made if not kind.startswith(("llmgateway:", "pulumi:", "random:"))} <= {
        "kubernetes:discovery.k8s.io/v1:EndpointSlice"  # only read
    }


def test_a_cluster_that_cannot_be_asked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> dict[str, list[str]]:
        raise MaxRetryError(HTTPConnectionPool("192.0.2.1"), "/apis")

    monkeypatch.setattr(served, "served_versions", unreachable)
    with pytest.raises(pulumi.RunError, match="could not be asked which operators it has"):
        run_program(THEIRS)


def test_every_operator_that_is_not_there_is_named() -> None:
    refused = list(missing([CNPG, EXTERNAL_SECRETS], dict.fromkeys(ALL, ())))
    assert [text.split(":")[1] for text in refused] == [
        "operators.cnpg.install",
        "operators.externalSecrets.install",
    ]
    assert list(missing([CNPG, EXTERNAL_SECRETS], {**ALL, "unknown": []})) == []


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"operators": {"cnpg": OFF}}, [CNPG]),
        ({"operators": {"cnpg": OFF, "certManager": OFF}, "postgres": THEIRS["postgres"]}, [CNPG, BARMAN]),
        ({"operators": {"certManager": OFF}, "postgres": THEIRS["postgres"]}, [CERT_MANAGER]),
        ({"operators": {"certManager": OFF}}, []),
        (
            {
                "operators": {"cnpg": OFF, "externalSecrets": OFF},
                "postgres": {"existing": {"host": "10.0.0.5", "passwordSecret": "p", "tls": "require"}},
            },
            [EXTERNAL_SECRETS],
        ),
    ],
)
def test_only_what_is_used_is_looked_at(changes: dict[str, Any], wanted: list[Needed]) -> None:
    assert needed(parsed(changes)) == wanted


def parsed(changes: Mapping[str, Any]) -> settings.Settings:
    texts = {f"llm-gateway:{key}": json.dumps(value) for key, value in {**SETTINGS, **changes}.items()}
    return settings.parse(texts, "dev")
