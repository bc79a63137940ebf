"""The External Secrets operator."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from components.webhook_gate import WebhookGate, WebhookGateArgs
from versions import EXTERNAL_SECRETS_CHART, EXTERNAL_SECRETS_IMAGE

SERVICE_ACCOUNT = "external-secrets"
"""The Kubernetes service account that reads Secret Manager."""


@dataclass(frozen=True, kw_only=True)
class ExternalSecretsOperatorArgs:
    """Arguments of ExternalSecretsOperator. `timeout` is in seconds, for the Release and for its webhook."""

    namespace: pulumi.Input[str]
    charts: ChartSource
    kubeconfig: pulumi.Input[str]
    project: str
    timeout: int


class ExternalSecretsOperator(pulumi.ComponentResource):
    """The operator's Release and the gate of its webhook. Dependents wait for `ready`."""

    ready: pulumi.Resource

    def __init__(
        self, name: str, args: ExternalSecretsOperatorArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:external_secrets_operator:ExternalSecretsOperator", name, None, opts)
        image = {"repository": EXTERNAL_SECRETS_IMAGE.repository, "tag": EXTERNAL_SECRETS_IMAGE.pinned_tag}
        resources = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}

        release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name="external-secrets",
            namespace=args.namespace,
            **args.charts.inputs(EXTERNAL_SECRETS_CHART),
            timeout=args.timeout,
            values={
                # Without it an uninstall deletes the CRDs, and with them every synced Secret.
                "crds": {"annotations": {"helm.sh/resource-policy": "keep"}},
                "image": image,
                "serviceAccount": {"name": SERVICE_ACCOUNT},
                "resources": resources,
                # --wait covers the controller only if it has a probe.
                "readinessProbe": {"enabled": True},
                "webhook": {"image": image, "resources": resources},
                "certController": {"image": image, "resources": resources},
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
                    "apiVersion": "external-secrets.io/v1",
                    "kind": "ClusterSecretStore",
                    "metadata": {"name": "webhook-probe"},
                    "spec": {"provider": {"gcpsm": {"projectID": args.project}}},
                },
                timeout=args.timeout,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = gate.open
        self.register_outputs({})
