"""The CloudNativePG operator."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from components.webhook_gate import WebhookGate, WebhookGateArgs
from versions import CNPG_CHART, CNPG_IMAGE

PRIVATE_CLUSTER_PORT = 10250
"""A private GKE control plane reaches only 443 and 10250 on nodes unless a firewall rule is added."""


@dataclass(frozen=True, kw_only=True)
class CnpgOperatorArgs:
    """Arguments of CnpgOperator. `timeout` is in seconds, for the Release and for its webhook."""

    namespace: pulumi.Input[str]
    charts: ChartSource
    kubeconfig: pulumi.Input[str]
    timeout: int


class CnpgOperator(pulumi.ComponentResource):
    """The operator's Release and the gate of its webhook. Dependents wait for `ready`."""

    ready: pulumi.Resource

    def __init__(self, name: str, args: CnpgOperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:cnpg_operator:CnpgOperator", name, None, opts)

        release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name="cnpg",
            namespace=args.namespace,
            **args.charts.inputs(CNPG_CHART),
            timeout=args.timeout,
            values={
                "image": {"repository": CNPG_IMAGE.repository, "tag": CNPG_IMAGE.pinned_tag},
                "webhook": {"port": PRIVATE_CLUSTER_PORT},
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "256Mi"},
                },
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        gate = WebhookGate(
            f"{name}-webhook",
            WebhookGateArgs(
                kubeconfig=args.kubeconfig,
                namespace=args.namespace,
                release=release,
                probe={
                    "apiVersion": "postgresql.cnpg.io/v1",
                    "kind": "Cluster",
                    "metadata": {"name": "webhook-probe"},
                    "spec": {"instances": 1, "storage": {"size": "1Gi"}},
                },
                timeout=args.timeout,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = gate.open
        self.register_outputs({})
