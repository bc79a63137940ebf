"""The operators: each is a Release and a gate that its admission webhook opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import egress
from components.charts import chart_inputs
from components.cluster import ClusterHandle
from components.image_source import ImageSource
from components.webhook_gate import webhook_answers
from components.workload import Workload, named
from settings.deployment import Charts
from settings.egress import Egress
from versions import (
    CERT_MANAGER_ACMESOLVER_IMAGE,
    CERT_MANAGER_CAINJECTOR_IMAGE,
    CERT_MANAGER_CHART,
    CERT_MANAGER_IMAGE,
    CERT_MANAGER_WEBHOOK_IMAGE,
    CNPG_CHART,
    CNPG_IMAGE,
    EXTERNAL_SECRETS_CHART,
    EXTERNAL_SECRETS_IMAGE,
    Chart,
    Image,
)

WEBHOOK_PORT = 10250
"""A private GKE control plane reaches only 443 and 10250 on nodes unless a firewall rule is added."""
AUTHORITIES = "/etc/llm-gateway-authorities"
EXTERNAL_SECRETS_ACCOUNT = "external-secrets"
"""The Kubernetes service account that reads Secret Manager."""

CNPG = named("cloudnative-pg")
EXTERNAL_SECRETS = named("external-secrets")
EXTERNAL_SECRETS_WEBHOOK = named("external-secrets-webhook")
EXTERNAL_SECRETS_CERT_CONTROLLER = named("external-secrets-cert-controller")
CERT_MANAGER = Workload("cert-manager", {})
CERT_MANAGER_WEBHOOK = Workload("cert-manager-webhook", {"app.kubernetes.io/component": "webhook"})


@dataclass(frozen=True, kw_only=True)
class OperatorArgs:
    """Arguments of an operator.

    `install` False means that the cluster has it; then `namespace` is that of its gate alone. `timeout` is in seconds,
    for the Release and then for its webhook.
    """

    namespace: pulumi.Input[str]
    install: bool
    cluster: ClusterHandle
    charts: Charts
    images: ImageSource
    egress: Egress
    timeout: int


class _Operator(pulumi.ComponentResource):
    """A Release, unless the cluster has one, and its gate: a ConfigMap that is only made, or changed, once the webhook
    answers."""

    ready: pulumi.Resource
    """Dependents wait for it: the CRDs are served and the webhook answers."""

    def __init__(
        self,
        name: str,
        args: OperatorArgs,
        opts: pulumi.ResourceOptions | None,
        *,
        release: str,
        chart: Chart,
        values: Mapping[str, Any],
        probe: Mapping[str, Any],
    ) -> None:
        super().__init__(f"llmgateway:operators:{type(self).__name__}", name, None, opts)
        made: list[kubernetes.helm.v3.Release] = []
        if args.install:
            made.append(
                kubernetes.helm.v3.Release(
                    f"{name}-release",
                    name=release,
                    namespace=args.namespace,
                    **chart_inputs(args.charts, chart),
                    timeout=args.timeout,
                    values=values,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.images.ready)),
                )
            )
        hook = webhook_answers(
            f"{name}-webhook-answers",
            args.cluster,
            args.namespace,
            {**probe, "metadata": {"name": "webhook-probe"}},
            args.timeout,
        )
        self.ready = kubernetes.core.v1.ConfigMap(
            f"{name}-webhook-open",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=f"{release}-webhook",
                namespace=args.namespace,
                # Each revision is proven anew. An annotation, not data: changed data would replace the
                # ConfigMap.
                annotations={"llm-gateway/release-revision": made[0].status.revision.apply(str)}
                if made
                else None,
            ),
            data={"proven-by": f"dry run of {probe['apiVersion']} {probe['kind']}"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=made,
                hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook]),
            ),
        )
        self.register_outputs({})


class CnpgOperator(_Operator):
    """The CloudNativePG operator."""

    def __init__(self, name: str, args: OperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            name,
            args,
            opts,
            release="cnpg",
            chart=CNPG_CHART,
            values={
                "image": _image(args, CNPG_IMAGE),
                **args.images.values,
                "webhook": {"port": WEBHOOK_PORT},
                "resources": _resources("100m", "128Mi", "256Mi"),
            },
            probe={
                "apiVersion": "postgresql.cnpg.io/v1",
                "kind": "Cluster",
                "spec": {"instances": 1, "storage": {"size": "1Gi"}},
            },
        )


class ExternalSecretsOperator(_Operator):
    """The External Secrets operator."""

    def __init__(self, name: str, args: OperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        image, resources = _image(args, EXTERNAL_SECRETS_IMAGE), _resources("50m", "128Mi", "256Mi")
        super().__init__(
            name,
            args,
            opts,
            release="external-secrets",
            chart=EXTERNAL_SECRETS_CHART,
            values={
                # Without it an uninstall deletes the CRDs, and with them every synced Secret.
                "crds": {"annotations": {"helm.sh/resource-policy": "keep"}},
                "image": image,
                "serviceAccount": {"name": EXTERNAL_SECRETS_ACCOUNT},
                "resources": resources,
                # --wait covers the controller only if it has a probe.
                "readinessProbe": {"enabled": True},
                **_way_out(args),
                "webhook": {"image": image, "resources": resources},
                "certController": {"image": image, "resources": resources},
            },
            probe={
                "apiVersion": "external-secrets.io/v1",
                "kind": "ClusterSecretStore",
                "spec": {"provider": {"gcpsm": {"projectID": "webhook-probe"}}},
            },
        )


class CertManager(_Operator):
    """cert-manager, for clusters that do not have it."""

    def __init__(self, name: str, args: OperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            name,
            args,
            opts,
            release="cert-manager",
            chart=CERT_MANAGER_CHART,
            values={
                "crds": {"enabled": True, "keep": True},
                # The default, kube-system, is closed on Autopilot clusters.
                "global": {"leaderElection": {"namespace": args.namespace}, **args.images.values},
                "image": _image(args, CERT_MANAGER_IMAGE),
                "resources": _resources("50m", "128Mi"),
                "webhook": {
                    "image": _image(args, CERT_MANAGER_WEBHOOK_IMAGE),
                    "resources": _resources("20m", "64Mi"),
                },
                "cainjector": {
                    "image": _image(args, CERT_MANAGER_CAINJECTOR_IMAGE),
                    "resources": _resources("20m", "128Mi"),
                },
                # Of the pods that it makes for somebody's ACME issuer.
                "acmesolver": {"image": _image(args, CERT_MANAGER_ACMESOLVER_IMAGE)},
                # The gate proves the same, on upgrades too.
                "startupapicheck": {"enabled": False},
            },
            probe={"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "spec": {"selfSigned": {}}},
        )


def _way_out(args: OperatorArgs) -> dict[str, Any]:
    """What has External Secrets' controller reach Secret Manager by the settings' proxy, and believe their authorities."""
    variables = egress.of_clients_in_go(args.egress, args.cluster)
    if not args.egress.ca:
        return {"extraEnv": egress.listed(variables)} if variables else {}
    variables["SSL_CERT_DIR"] = f"{egress.SYSTEM_AUTHORITIES}:{AUTHORITIES}"
    made = egress.config_map(f"{EXTERNAL_SECRETS.name}-authorities", {egress.AUTHORITY: args.egress.ca})
    volume, mount = egress.mounted("authorities", made["metadata"]["name"], AUTHORITIES)
    return {
        "extraEnv": egress.listed(variables),
        "extraVolumes": [volume],
        "extraVolumeMounts": [mount],
        "extraObjects": [made],
        "podAnnotations": egress.hashes(made["data"]),
    }


def _image(args: OperatorArgs, image: Image) -> dict[str, str]:
    return {"repository": args.images.at(image).repository, "tag": image.pinned_tag}


def _resources(cpu: str, memory: str, limit: str | None = None) -> dict[str, dict[str, str]]:
    """Requests, and the memory limit, which is the request unless another one is given."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit or memory}}
