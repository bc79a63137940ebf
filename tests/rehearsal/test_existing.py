"""A database and a Redis that exist, with TLS: what an `up` makes of them, and that the database keeps its salt."""

from __future__ import annotations

from typing import Any

from components.litellm import AUTHORITIES
from components.salt_gate import EXISTING, SALT
from sandbox.cluster import control_plane
from tests.support.certificates import Authority
from tests.support.driver import Sandbox
from tests.support.edges import EXISTING_EDGES

NAMESPACE = "llm-gateway"
CA = Authority().pem
NAMESPACES = "/api/v1/namespaces"
SETTINGS: dict[str, Any] = {
    "llm-gateway:namespaces": {"existing": ["gateway"]},
    "llm-gateway:postgres": {
        "existing": {
            "host": "10.20.0.5",
            "passwordSecret": "cloudsql-litellm",
            "tls": "verify-full",
            "ca": CA,
        }
    },
    "llm-gateway:litellm": {
        "replicas": 2,
        "sharedState": {
            "kind": "redis",
            "nodes": ["10.30.0.3:6379"],
            "nodeAddresses": ["10.30.0.0/28"],
            "username": "litellm",
            "passwordSecret": "redis-password",
            "tls": "verify-ca",
            "ca": CA,
        },
    },
}


def test_a_database_and_a_redis_that_exist(empty: Sandbox) -> None:
    for secret_id in ("cloudsql-litellm", "redis-password"):
        empty.make_secret(secret_id, f"value-of-{secret_id}")
    empty.run("start").succeeded()
    absent = empty.run("preview", config=SETTINGS).failed().text
    assert f"the cluster has no namespace {NAMESPACE}." in absent
    theirs = {"metadata": {"name": NAMESPACE, "labels": {"made-by": "platform"}}}
    control_plane.api(empty.home).create(NAMESPACES, theirs)
    empty.up(config=SETTINGS).succeeded()
    for edge in EXISTING_EDGES:
        assert empty.kept(edge), edge
    namespaces = {item["metadata"]["name"]: item["metadata"] for item in empty.get(NAMESPACES)["items"]}
    assert "cnpg-system" not in namespaces
    labels = {"kubernetes.io/metadata.name": NAMESPACE, "made-by": "platform"}
    assert namespaces[NAMESPACE]["labels"] == labels
    assert empty.namespaced("clusters", NAMESPACE, group="postgresql.cnpg.io/v1")["items"] == []

    deployment = empty.namespaced("deployments", NAMESPACE, "litellm", group="apps/v1")
    pod = deployment["spec"]["template"]["spec"]
    (proxy,) = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in proxy["env"]}
    assert variables["DATABASE_URL"].endswith(f"&sslcert={AUTHORITIES}/database.pem")
    mounted = {mount["name"]: mount["mountPath"] for mount in proxy["volumeMounts"]}
    assert mounted["authorities"] == AUTHORITIES
    files = empty.namespaced("configmaps", NAMESPACE, "litellm-authorities")["data"]
    assert files == {"database.pem": CA, "redis.pem": CA}
    empty.up(config=SETTINGS).succeeded()
    assert empty.changed("up") == {}

    # As if another stack's salt had written the database, and this one's state were lost in part.
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{EXISTING}"
    other = {"metadata": {"annotations": {SALT: "projects/other/secrets/litellm-salt-key/versions/7"}}}
    control_plane.api(empty.home).send("PATCH", path, other, "application/merge-patch+json")
    tenant = {"llm-gateway:virtualKeys": [{"name": "one-more", "budget": 1}]}
    said = empty.run("preview", config=SETTINGS | tenant).failed().text
    assert f"The credentials in database {EXISTING} are encrypted with projects/other/" in said
    assert f"configmaps/{EXISTING} {SALT}-" in said
