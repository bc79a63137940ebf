"""Mistakes that an `up` must stop at, each naming its cause; and the one thing that must not stop the gateway."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.google.cloud import Cloud
from tests.support.driver import Sandbox

FAST = {"llm-gateway:timeouts": {"secretSync": 30, "vllm": 60, "litellm": 60}}


def test_misspelt_chart_value(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.patch("components/operators.py", '"webhook": {"port"', '"webhook": {"prot"')
    text = sandbox.run("up").failed().text
    assert "prot" in text
    assert "gateway-cnpg-release" in text


def test_missing_toleration(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.patch("components/vllm.py", '"tolerations": list(args.pool.tolerations)', '"tolerations": []')
    text = sandbox.run("up", config=FAST).failed().text
    assert "untolerated taint" in text
    assert "nvidia.com/gpu" in text


def test_missing_iam_binding(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.patch(
        "components/llm_gateway.py",
        "cluster.member(settings.namespaces.external_secrets,",
        'cluster.member("elsewhere",',
    )
    text = sandbox.run("up", config=FAST).failed().text
    assert "secretmanager.versions.access" in text
    assert "SecretSyncedError" in text


def test_missing_upstream_secret(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    config = FAST | {"llm-gateway:secrets": {"existingVllmApiKey": "no-such-key"}}
    text = sandbox.run("up", config=config).failed().text
    assert "no-such-key" in text
    assert "not found" in text


def test_bad_settings_touch_nothing(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    text = sandbox.run("up", config={"llm-gateway:gpuPool": {"maxNodes": 0, "spto": True}}).failed().text
    assert "llm-gateway:gpuPool.maxNodes" in text
    assert "llm-gateway:gpuPool.spto: no such key" in text
    assert "What would happen" in text
    assert "Write instead" in text
    resources = sandbox.export()["checkpoint"]["latest"].get("resources", [])
    assert {resource["type"] for resource in resources} <= {"pulumi:pulumi:Stack"}
    assert Cloud(sandbox.home.cloud).list("secret") == []


def test_gateway_comes_up_when_no_gpu_can_be_had(fresh: Callable[[], Sandbox]) -> None:
    sandbox = fresh()
    sandbox.run("exec", "--", "true").succeeded()
    sandbox.run("stockout", "on").succeeded()
    text = sandbox.run("up", config={"llm-gateway:timeouts": {"vllm": 60}}).failed().text
    assert "gateway-vllm-release" in text
    proxy = sandbox.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    assert proxy["status"]["readyReplicas"] == 1
    assert "GCE_STOCKOUT" in text or "ZONE_RESOURCE_POOL_EXHAUSTED" in text or "out of resources" in text
