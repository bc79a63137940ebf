"""cert-manager, for clusters that do not have it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import ChartSource
from components.webhook_gate import WebhookGate, WebhookGateArgs
from versions import (
    CERT_MANAGER_CAINJECTOR_IMAGE,
    CERT_MANAGER_CHART,
    CERT_MANAGER_IMAGE,
    CERT_MANAGER_WEBHOOK_IMAGE,
    Image,
)


@dataclass(frozen=True, kw_only=True)
class CertManagerArgs:
    """Arguments of CertManager. `timeout` is in seconds, for the Release and for its webhook."""

    namespace: pulumi.Input[str]
    charts: ChartSource
    kubeconfig: pulumi.Input[str]
    timeout: int


class CertManager(pulumi.ComponentResource):
    """cert-manager's Release and the gate of its webhook. Dependents wait for `ready`."""

    ready: pulumi.Resource

    def __init__(self, name: str, args: CertManagerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:cert_manager:CertManager", name, None, opts)

        release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name="cert-manager",
            namespace=args.namespace,
            **args.charts.inputs(CERT_MANAGER_CHART),
            timeout=args.timeout,
            values={
                "crds": {"enabled": True, "keep": True},
                # The default, kube-system, is closed on Autopilot clusters.
                "global": {"leaderElection": {"namespace": args.namespace}},
                "image": _image(CERT_MANAGER_IMAGE),
                "resources": _resources("50m", "128Mi"),
                "webhook": {
                    "image": _image(CERT_MANAGER_WEBHOOK_IMAGE),
                    "resources": _resources("20m", "64Mi"),
                },
                "cainjector": {
                    "image": _image(CERT_MANAGER_CAINJECTOR_IMAGE),
                    "resources": _resources("20m", "128Mi"),
                },
                # The gate proves the same, on upgrades too.
                "startupapicheck": {"enabled": False},
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
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "Issuer",
                    "metadata": {"name": "webhook-probe"},
                    "spec": {"selfSigned": {}},
                },
                timeout=args.timeout,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = gate.open
        self.register_outputs({})


def _image(image: Image) -> dict[str, str]:
    return {"repository": image.repository, "tag": image.pinned_tag}


def _resources(cpu: str, memory: str) -> dict[str, dict[str, str]]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}
