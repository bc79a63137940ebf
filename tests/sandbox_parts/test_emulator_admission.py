"""The answers of the operators' admission webhooks, and which port of its pods a webhook's Service leads to."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sandbox.cluster import admission
from sandbox.cluster.webhooks import respond, target_port

CLUSTER = "/validate-postgresql-cnpg-io-v1-cluster"
STORE = "/validate-external-secrets-io-v1-clustersecretstore"
EXTERNAL_SECRET = "/validate-external-secrets-io-v1-externalsecret"


def cluster(**spec: Any) -> dict[str, Any]:
    base = {
        "instances": 1,
        "imageName": "postgres:17.5",
        "bootstrap": {"initdb": {"database": "litellm", "owner": "litellm"}},
        "storage": {"size": "10Gi"},
    }
    return {"metadata": {"name": "litellm-pg"}, "spec": {**base, **spec}}


def test_a_good_cluster_is_let_in() -> None:
    assert admission.validate(CLUSTER, {"object": cluster()}) is None


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"bootstrap": {"initdb": {"database": "d"}}}, "You need to specify the database owner user"),
        (
            {"bootstrap": {"initdb": {}, "recovery": {}}},
            "Only one bootstrap method can be specified at a time",
        ),
        ({"imageName": "postgres:latest"}, "Can't use 'latest' as image tag as we can't detect upgrades"),
        ({"imageName": "localhost:5000/pg@sha256:1"}, "Can't use just the image sha"),
        ({"minSyncReplicas": 1}, "minSyncReplicas cannot be greater than maxSyncReplicas"),
        ({"maxSyncReplicas": 1}, "maxSyncReplicas must be lower than the number of instances"),
        ({"storage": {"size": "ten"}}, "Size value isn't valid"),
        ({"storage": {}}, "Size not configured"),
        ({"affinity": {"podAntiAffinityType": "must"}}, "pod anti-affinity type must be 'preferred'"),
        (
            {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
            "Memory request is greater than the limit",
        ),
    ],
)
def test_a_bad_cluster_is_refused(spec: dict[str, Any], cause: str) -> None:
    refusal = admission.validate(CLUSTER, {"object": cluster(**spec)})
    assert refusal is not None
    assert refusal.code == 422
    assert cause in refusal.message
    assert refusal.message.startswith('Cluster.postgresql.cnpg.io "litellm-pg" is invalid: ')


def test_storage_does_not_shrink() -> None:
    request = {"object": cluster(storage={"size": "5Gi"}), "oldObject": cluster()}
    refusal = admission.validate(CLUSTER, request)
    assert refusal is not None
    assert 'Invalid value: "5Gi": can\'t shrink existing storage from 10Gi to 5Gi' in refusal.message
    assert admission.validate(CLUSTER, {"object": cluster(), "oldObject": request["object"]}) is None


def test_wal_storage_comes_grows_and_stays() -> None:
    small, large = cluster(walStorage={"size": "5Gi"}), cluster(walStorage={"size": "8Gi"})
    assert admission.validate(CLUSTER, {"object": small, "oldObject": cluster()}) is None
    assert admission.validate(CLUSTER, {"object": large, "oldObject": small}) is None
    for after, cause in (
        (small, "can't shrink existing storage from 8Gi to 5Gi"),
        (cluster(), "cannot be disabled"),
    ):
        refusal = admission.validate(CLUSTER, {"object": after, "oldObject": large})
        assert refusal is not None
        assert cause in refusal.message


def test_a_cluster_gets_its_defaults() -> None:
    request = {"uid": "u", "operation": "CREATE", "object": cluster(bootstrap={"initdb": {"database": "d"}})}
    response = respond("/mutate-postgresql-cnpg-io-v1-cluster", request)
    [change] = json.loads(base64.b64decode(response["patch"]))
    assert change["value"]["bootstrap"]["initdb"]["owner"] == "d"
    assert change["value"]["affinity"] == {"podAntiAffinityType": "preferred"}


@pytest.mark.parametrize(
    ("target", "data", "cause"),
    [
        ({"deletionPolicy": "Delete", "creationPolicy": "None"}, ["a"], "Please set creationPolicy=Owner"),
        ({"deletionPolicy": "Merge", "creationPolicy": "None"}, ["a"], "There is no Secret to merge with"),
        ({}, [], "either data or dataFrom should be specified"),
        ({}, ["a", "a"], "duplicate secretKey found: a"),
    ],
)
def test_a_bad_external_secret_is_refused(target: dict[str, str], data: list[str], cause: str) -> None:
    spec = {"target": target, "data": [{"secretKey": key, "remoteRef": {"key": key}} for key in data]}
    refusal = admission.validate(EXTERNAL_SECRET, {"object": {"spec": spec}})
    assert refusal is not None
    assert cause in refusal.message


def test_a_store_has_one_provider() -> None:
    store = {"metadata": {"name": "s"}, "spec": {"provider": {}}}
    refusal = admission.validate(STORE, {"object": store})
    assert refusal is not None
    assert "must only have exactly one backend specified, found 0" in refusal.message


def test_kinds_that_are_not_emulated_are_refused_by_name() -> None:
    request = {"uid": "u", "operation": "CREATE", "kind": {"kind": "Pooler"}, "object": {"spec": {}}}
    response = respond("/validate-postgresql-cnpg-io-v1-pooler", request)
    assert response["status"]["message"] == "Pooler objects are not emulated by the sandbox"


@pytest.mark.parametrize(
    ("target", "port"), [({"targetPort": "webhook"}, 9443), ({"targetPort": 10250}, 10250), ({}, 443)]
)
def test_a_target_is_named_numbered_or_the_services_own(target: dict[str, int | str], port: int) -> None:
    containers = [{"ports": [{"name": "webhook", "containerPort": 9443}]}, {}]
    deployment = {"spec": {"template": {"spec": {"containers": containers}}}}
    service = {"spec": {"ports": [{"port": 8080, "targetPort": 8080}, {"port": 443, **target}]}}
    assert target_port(service, 443, deployment) == port
