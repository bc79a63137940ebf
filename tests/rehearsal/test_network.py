"""In the running dev stack: network policies fit its pods, Pod Security is enforced, images are pinned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import versions
from sandbox.cluster import control_plane
from sandbox.errors import SandboxError
from sandbox.network.policies import End, Policies
from tests.support.driver import Sandbox
from tests.support.waiting import wait_for
from tests.support.watcher import Watcher

NAMESPACES = ("llm-gateway", "vllm", "cnpg-system", "external-secrets")
AS_ROOT = {"name": "app", "image": "example.com/app:1"}


def pods(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    for namespace in NAMESPACES:
        found = sandbox.namespaced("pods", namespace)["items"]
        assert found, namespace
        yield from found


def containers(pod: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = pod["spec"]
    for container in itertools.chain(spec["containers"], spec.get("initContainers", [])):
        yield f"{pod['metadata']['name']}/{container['name']}", container


def live_policies(sandbox: Sandbox) -> Policies:
    return Policies(sandbox.get("/apis/networking.k8s.io/v1/networkpolicies")["items"])


def end(sandbox: Sandbox, namespace: str, name: str) -> End:
    """The one running pod whose label app.kubernetes.io/name is so."""
    (pod,) = sandbox.running(namespace, name)
    return End(pod["status"]["podIP"], namespace, pod["metadata"]["labels"])


def test_every_image_is_pinned_in_one_place(dev: Sandbox) -> None:
    pinned = {str(image) for image in versions.IMAGES}
    running = {where: container["image"] for pod in pods(dev) for where, container in containers(pod)}
    assert running
    assert {where: image for where, image in running.items() if image not in pinned} == {}


def test_every_container_requests_cpu_and_memory(dev: Sandbox) -> None:
    for pod in pods(dev):
        for where, container in containers(pod):
            assert {"cpu", "memory"} <= container["resources"].get("requests", {}).keys(), where


def test_every_pod_has_a_policy_of_its_own(dev: Sandbox) -> None:
    found = live_policies(dev)
    for pod in pods(dev):
        metadata = pod["metadata"]
        selecting = found.selecting(End("", metadata["namespace"], metadata["labels"]))
        assert "deny-by-default" in selecting, metadata["name"]
        assert len(selecting) == 2, f"{metadata['name']} is selected by {selecting}"


def test_policies_fit_the_pods_that_run(dev: Sandbox, watcher: Watcher) -> None:
    found = live_policies(dev)
    client = End("10.0.9.9", "apps", {"app": "chat"})
    litellm, postgres = end(dev, "llm-gateway", "litellm"), end(dev, "llm-gateway", "postgresql")
    router, engine = end(dev, "vllm", "router"), end(dev, "vllm", "qwen-local")
    operator = end(dev, "cnpg-system", "cloudnative-pg")
    migration_labels = watcher.revisions("Job", "litellm-migrations")[-1][1]["spec"]["template"]["metadata"]
    migration = End("10.0.9.8", "llm-gateway", migration_labels["labels"])
    (endpoint,) = dev.namespaced("endpointslices", "default", group="discovery.k8s.io/v1")["items"]
    api_server, api_port = End(endpoint["endpoints"][0]["addresses"][0]), endpoint["ports"][0]["port"]

    for source, target, port in (
        (client, litellm, 4000),
        (litellm, postgres, 5432),
        (migration, postgres, 5432),
        (litellm, router, 8000),
        (router, engine, 8000),
        (operator, postgres, 8000),
        *((pod, api_server, api_port) for pod in (operator, postgres, router)),
    ):
        assert found.allow(source, target, port), (source, target, port)
    for source, target, port in (
        (client, postgres, 5432),
        (client, engine, 8000),
        (engine, postgres, 5432),
        (litellm, engine, 8000),
        (litellm, api_server, api_port),
    ):
        assert not found.allow(source, target, port), (source, target, port)


@pytest.mark.parametrize("namespace", ["cnpg-system", "external-secrets"])
def test_a_root_pod_is_refused_where_restricted(dev: Sandbox, namespace: str) -> None:
    pod = {"metadata": {"name": "as-root"}, "spec": {"containers": [AS_ROOT]}}
    with pytest.raises(SandboxError, match=r'violates PodSecurity "restricted:latest"'):
        control_plane.api(dev.home).create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


@pytest.mark.parametrize("namespace", ["llm-gateway", "vllm"])
def test_a_privileged_pod_is_refused_where_baseline(dev: Sandbox, namespace: str) -> None:
    container = {**AS_ROOT, "securityContext": {"privileged": True}}
    pod = {"metadata": {"name": "privileged"}, "spec": {"containers": [container]}}
    with pytest.raises(SandboxError, match=r'violates PodSecurity "baseline:latest"'):
        control_plane.api(dev.home).create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


def test_a_deployment_that_asks_for_too_much_gets_no_pod(dev: Sandbox) -> None:
    """In a namespace of the same labels, so that the stack's own stay as they are."""
    labels = dev.get("/api/v1/namespaces/cnpg-system")["metadata"]["labels"]
    labels = {key: value for key, value in labels.items() if key.startswith("pod-security")}
    api = control_plane.api(dev.home)
    api.create("/api/v1/namespaces", {"metadata": {"name": "restricted-like", "labels": labels}})
    template = {"metadata": {"labels": {"app": "as-root"}}, "spec": {"containers": [AS_ROOT]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "as-root"}}, "template": template}
    deployments = "/apis/apps/v1/namespaces/restricted-like/deployments"
    api.create(deployments, {"metadata": {"name": "as-root"}, "spec": spec})

    def failures() -> list[str]:
        status = dev.namespaced("deployments", "restricted-like", "as-root", group="apps/v1")["status"]
        return [c["message"] for c in status.get("conditions", []) if c["type"] == "ReplicaFailure"]

    assert "runAsNonRoot" in wait_for(failures)[0]
    assert dev.namespaced("pods", "restricted-like")["items"] == []
    api.send("DELETE", "/api/v1/namespaces/restricted-like", {})
