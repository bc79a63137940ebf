"""One resource or more that each policy refuses, named after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import settings

stack = settings.load()
google = pulumi.ResourceOptions(provider=gcp.Provider("google", project=stack.gcp.project))
gke = pulumi.ResourceOptions(
    provider=kubernetes.Provider("gke", kubeconfig=Path(os.environ["KUBECONFIG"]).read_text())
)
random_provider = pulumi.ResourceOptions(provider=random.Provider("random"))
namespace = kubernetes.meta.v1.ObjectMetaArgs(namespace="default")


class Gateway(pulumi.ComponentResource):
    """Says, as the gateway does, whether the stack is production."""

    def __init__(self) -> None:
        super().__init__("llmgateway:llm_gateway:LlmGateway", "gateway")
        self.register_outputs({"production": stack.production})


Gateway()


def config_map(name: str, **data: pulumi.Input[str]) -> None:
    kubernetes.core.v1.ConfigMap(name, metadata=namespace, data=data, opts=gke)


def pods(name: str, container: dict[str, Any] | None = None, **spec: Any) -> None:
    labels = {"app": name}
    containers = [{"name": "app", "image": "example.com/app:1.0.0", **(container or {})}]
    deployment: Any = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers, **spec}},
    }
    kubernetes.apps.v1.Deployment(name, metadata=namespace, spec=deployment, opts=gke)


def release(name: str, values: dict[str, Any], chart: str = f"{stack.charts.mirror}/litellm-helm") -> None:
    kubernetes.helm.v3.Release(name, name=name, namespace="default", chart=chart, values=values, opts=gke)


def pool(name: str, **arguments: Any) -> None:
    gcp.container.NodePool(
        name,
        name=name,
        project=stack.gcp.project,
        location=stack.cluster.location,
        cluster=stack.cluster.name,
        node_config={
            "machine_type": "g2-standard-4",
            "guest_accelerators": [{"type": "nvidia-l4", "count": 1}],
        },
        opts=google,
        **arguments,
    )


value = random.RandomPassword("salt-is-write-once-litellm-salt-key", length=43, opts=random_provider)
shown = random.RandomBytes("id-is-the-value", length=32, opts=random_provider)
gcp.secretmanager.Secret(
    "salt-is-kept-litellm-salt-key",
    project=stack.gcp.project,
    secret_id="litellm-salt-key",
    replication={"auto": {}},
    opts=pulumi.ResourceOptions.merge(google, pulumi.ResourceOptions(protect=True, ignore_changes=["*"])),
)
pulumi.ComponentResource("llmgateway:litellm:LiteLLM", "salt-is-kept-no-version")
if pulumi.get_stack() == "prod":
    gcp.secretmanager.SecretVersion(
        "salt-is-one-litellm-salt-key",
        secret=f"projects/{stack.gcp.project}/secrets/litellm-salt-key",
        secret_data="a value",
        enabled=False,
        deletion_policy="ABANDON",
        opts=pulumi.ResourceOptions.merge(google, pulumi.ResourceOptions(protect=True, ignore_changes=["*"])),
    )

config_map("secret-values-in-config-map", setting=pulumi.Output.secret("hunter2"))
release("secret-values-in-helm-values", {"envVars": {"SETTING": pulumi.Output.secret("hunter2")}})
config_map("generated-values-in-config-map", setting=value.result)
gcp.secretmanager.SecretVersion(
    "generated-value-in-an-id", secret="projects/p/secrets/s", secret_data=shown.hex, opts=google
)

config_map("literal-in-config-map", **{"config.yaml": "general_settings:\n  master_key: hunter2\n"})
release("literal-in-helm-values", {"masterkey": "sk-0123456789abcdef0123"})
pods("literal-in-environment", {"env": [{"name": "DATABASE_PASSWORD", "value": "hunter2"}]})
kubernetes.core.v1.Secret("literal-in-secret", metadata=namespace, string_data={"setting": "x"}, opts=gke)

pods("images-latest", {"image": "example.com/app:latest"})
pods("images-no-tag", {"image": "localhost:5000/app"})
release("images-in-values", {"image": {"repository": "example.com/app", "tag": ""}})
release("charts-unpinned", {}, chart=str(Path(__file__).parent / "chart"))

pool("gpu-unbounded", initial_node_count=0)
pool("gpu-never-empty", autoscaling={"total_min_node_count": 1, "total_max_node_count": 2})

kubernetes.apiextensions.CustomResource(
    "production-database",
    api_version="postgresql.cnpg.io/v1",
    kind="Cluster",
    metadata=namespace,
    spec={"instances": 2, "enablePDB": False, "storage": {"size": "1Gi"}},
    opts=gke,
)
release("disruptions-take-all", {"replicaCount": 2})

gcp.projects.IAMMember(
    "iam-every-secret",
    project=stack.gcp.project,
    role="roles/secretmanager.secretAccessor",
    member="user:someone@example.com",
    opts=google,
)
gcp.secretmanager.SecretIamMember(
    "iam-everyone",
    project=stack.gcp.project,
    secret_id="litellm-master-key",
    role="roles/secretmanager.secretAccessor",
    member="allUsers",
    opts=google,
)

pods("pods-privileged", {"securityContext": {"privileged": True}})
pods("pods-capable", {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})
pods("pods-on-the-host", hostNetwork=True, volumes=[{"name": "node", "hostPath": {"path": "/etc"}}])
release("pods-in-values", {"securityContext": {"allowPrivilegeEscalation": True}})
