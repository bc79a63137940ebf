"""A second stack beside a live one: nothing of the first is taken, and the preview says whose it is."""

from __future__ import annotations

import base64
from typing import Any

from sandbox.cluster import control_plane
from tests.support.driver import Sandbox

BUCKET = "example-llm-dev-platform-dev-litellm-pg"
NAMESPACES = ("gateway", "serving", "cnpg", "externalSecrets", "certManager")
BACKUPS = {"llm-gateway:postgres": {"backups": {"method": "objectStore"}}}
ELSEWHERE = {"llm-gateway:namespaces": {part: f"second-{part.lower()}" for part in NAMESPACES}}
SECRETS = {"llm-gateway:secrets": {"prefix": "second-"}}
POOL = {"llm-gateway:gpuPool": {"name": "second-gpu"}}


def second_stack(first: Sandbox) -> Sandbox:
    """Another stack of the program, with the first one's settings, in the same cloud and cluster."""
    file = first.root / "Pulumi.second.yaml"
    file.write_text((first.root / "Pulumi.dev.yaml").read_text())
    second = Sandbox(first.root.parent, stack="second")
    assert second.root == first.root
    return second


def merged(*settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for part in settings for key, value in part.items()}


def seen(sandbox: Sandbox) -> Any:
    """All that the first stack has, outside its state."""
    names = ("secrets", "namespaces", "configmaps", "serviceaccounts")
    objects = {name: sandbox.get(f"/api/v1/{name}")["items"] for name in names}
    stores = sandbox.get("/apis/external-secrets.io/v1/clustersecretstores")["items"]
    kinds = ("secret", "secretVersion", "secretIamMember", "nodePool", "bucket", "bucketIamMember")
    return (
        {
            name: [(o["metadata"]["name"], o["metadata"]["uid"]) for o in found]
            for name, found in objects.items()
        },
        [store["metadata"]["generation"] for store in stores],
        {kind: sandbox.cloud.list(kind) for kind in kinds},
    )


def test_a_second_stack_takes_nothing_of_the_first(own_dev: Sandbox) -> None:
    own_dev.up(config=BACKUPS).succeeded()
    before, state = seen(own_dev), own_dev.resources()
    second = second_stack(own_dev)

    def refused(*settings: dict[str, Any], preview: bool = True) -> str:
        config = merged(BACKUPS, *settings)
        return (second.run("preview", config=config) if preview else second.up(config=config)).failed().text

    for preview in (True, False):
        assert "litellm-salt-key in example-llm-dev belongs to llm-gateway/dev" in refused(preview=preview)
        assert seen(own_dev) == before
    mine = "belongs to llm-gateway_dev-"
    backups = {"method": "objectStore", "bucket": "example-llm-dev-second"}
    bucket = {"llm-gateway:postgres": {"backups": backups}}
    store = "ClusterSecretStore gcp-secret-manager belongs to llm-gateway/dev/gateway-secret-sync-store"
    namespace = "Namespace llm-gateway belongs to llm-gateway/dev/gateway-namespaces-gateway"
    for own, expected in (
        ((SECRETS, ELSEWHERE, bucket), f"The node pool llm-gpu is there, and {mine}"),
        ((SECRETS, ELSEWHERE, POOL), f"The bucket {BUCKET} is there, and {mine}"),
        ((SECRETS, POOL, bucket), namespace),
    ):
        # The engine stops at the first refusal, and the store's may come first: tests/unit/test_other_stacks.py has each alone.
        text = refused(*own)
        assert expected in text or store in text
    apart = (SECRETS, POOL, bucket, ELSEWHERE)
    assert store in refused(*apart)
    assert store in refused(*apart, {"llm-gateway:recover": True})
    assert seen(own_dev) == before

    # As Helm keeps the CRDs of a release that it installed.
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusters.postgresql.cnpg.io"
    helm = {"meta.helm.sh/release-name": "cnpg", "meta.helm.sh/release-namespace": "cnpg-system"}
    control_plane.api(own_dev.home).send(
        "PATCH", crd, {"metadata": {"annotations": helm}}, "application/merge-patch+json"
    )
    assert "belongs to the Helm release cnpg-system/cnpg" in refused(*apart)

    # Without its preview an `up` is refused where it meets the other stack, and goes no further.
    refused(*apart, preview=False)
    now = seen(own_dev)
    assert now[1] == before[1]
    for kind, rows in before[2].items():
        assert [row for row in now[2][kind] if row in rows] == rows, kind
    assert own_dev.resources() == state
    own_dev.up(config=BACKUPS).succeeded()
    assert own_dev.changed("up") == {}


def test_two_stacks_share_a_cluster(own_dev: Sandbox) -> None:
    """Both up, with one's operators for both; then one destroyed, and the other untouched."""
    own_dev.run("start").succeeded()
    own_dev.up().succeeded()  # the fork's API server has another address
    before = seen(own_dev)
    second = second_stack(own_dev)
    off = {"install": False}
    apart = {
        **POOL,
        "llm-gateway:secrets": {"prefix": "second-", "store": "second-store"},
        "llm-gateway:namespaces": {"gateway": "second-gateway", "serving": "second-vllm"},
        "llm-gateway:operators": {"cnpg": off, "externalSecrets": off},
    }
    second.up(config=apart).succeeded()
    store = "/apis/external-secrets.io/v1/clustersecretstores/second-store"
    assert second.get(store)["spec"]["conditions"] == [{"namespaces": ["second-gateway", "second-vllm"]}]
    for sandbox, gateway, prefix in ((own_dev, "llm-gateway", ""), (second, "second-gateway", "second-")):
        (condition,) = sandbox.namespaced("clusters", gateway, "litellm-pg", group="postgresql.cnpg.io/v1")[
            "status"
        ]["conditions"]
        assert (condition["type"], condition["status"]) == ("Ready", "True")
        assert sandbox.running(gateway, "litellm")
        key = sandbox.namespaced("secrets", gateway, "litellm-secrets")["data"]["PROXY_MASTER_KEY"]
        assert base64.b64decode(key).decode() == own_dev.secret(f"{prefix}litellm-master-key")
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {}

    second.run("exec", "--", "pulumi", "state", "unprotect", "--all", "--yes").succeeded()
    second.run("destroy", config=apart).succeeded()
    now = seen(own_dev)
    for name, objects in before[0].items():
        assert [one for one in now[0][name] if one in objects] == objects, name
    assert now[1] == before[1]
    for kind, rows in before[2].items():
        assert [row for row in now[2][kind] if row in rows] == rows, kind
    assert not {name for name, _ in now[0]["namespaces"] if name.startswith("second-")}
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {}

    # As if the cluster had no such operator.
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scheduledbackups.postgresql.cnpg.io"
    control_plane.api(own_dev.home).send("DELETE", crd, {})
    said = second.run("preview", config=apart).failed().text
    assert "the cluster has no CRD scheduledbackups.postgresql.cnpg.io, so no CloudNativePG" in said
