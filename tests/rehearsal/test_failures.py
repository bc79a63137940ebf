"""Mistakes that an `up` must stop at, each naming its cause; and the one thing that must not stop the gateway."""

from __future__ import annotations

from tests.support.driver import Sandbox

FAST = {"llm-gateway:timeouts": {"secretSync": 10, "vllm": 12, "litellm": 30}}


def test_misspelt_chart_value(own_dev: Sandbox) -> None:
    own_dev.patch("components/operators.py", '"webhook": {"port"', '"webhook": {"prot"')
    text = own_dev.up().failed().text
    assert "prot" in text
    assert "gateway-cnpg-release" in text


def test_missing_toleration(own_dev: Sandbox) -> None:
    own_dev.patch("components/vllm.py", '"tolerations": list(args.pool.tolerations)', '"tolerations": []')
    text = own_dev.up(config=FAST).failed().text
    assert "untolerated taint" in text
    assert "nvidia.com/gpu" in text


def test_missing_iam_binding(empty: Sandbox) -> None:
    empty.patch(
        "components/llm_gateway.py",
        "cluster.member(settings.namespaces.external_secrets,",
        'cluster.member("elsewhere",',
    )
    text = empty.up(config=FAST).failed().text
    assert "secretmanager.versions.access" in text
    assert "SecretSyncedError" in text


def test_missing_upstream_secret(empty: Sandbox) -> None:
    config = FAST | {"llm-gateway:secrets": {"existingVllmApiKey": "no-such-key"}}
    text = empty.up(config=config).failed().text
    assert "no-such-key" in text
    assert "not found" in text


def test_bad_settings_touch_nothing(empty: Sandbox) -> None:
    text = empty.up(config={"llm-gateway:gpuPool": {"maxNodes": 0, "spto": True}}).failed().text
    assert "llm-gateway:gpuPool.maxNodes" in text
    assert "llm-gateway:gpuPool.spto: no such key" in text
    assert "What would happen" in text
    assert "Write instead" in text
    assert {resource["type"] for resource in empty.resources()} <= {"pulumi:pulumi:Stack"}
    assert empty.cloud.list("secret") == []


def test_gateway_comes_up_when_no_gpu_can_be_had(empty: Sandbox) -> None:
    empty.run("start").succeeded()
    empty.run("stockout", "on").succeeded()
    text = empty.up(config=FAST).failed().text
    assert "gateway-vllm-release" in text
    proxy = empty.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    assert proxy["status"]["readyReplicas"] == 1
    assert "GCE_STOCKOUT" in text or "ZONE_RESOURCE_POOL_EXHAUSTED" in text or "out of resources" in text
