"""The namespaces of the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_kubernetes as kubernetes

from components import network_policies
from settings import Settings

PodSecurity = Literal["restricted", "baseline"]
"""A Pod Security Standard, https://kubernetes.io/docs/concepts/security/pod-security-standards/."""


@dataclass(frozen=True, kw_only=True)
class NamespacesArgs:
    """Arguments of Namespaces.

    `unmoved` is known once the names are those that the stack was made with. `service_addresses` is the range of
    the cluster's Services, CIDR.
    """

    settings: Settings
    unmoved: pulumi.Output[object]
    service_addresses: pulumi.Input[str]


class Namespaces(pulumi.ComponentResource):
    """One Namespace per part, each with the strictest Pod Security Standard that its images can run under.

    Those that the settings call existing are somebody else's: only NetworkPolicies are made for them.
    `gateway` and `serving` are baseline: the images of LiteLLM and vLLM run as root (docs/network.md).

    From here on, what uses a namespace's name is created after its NetworkPolicies and deleted before them:
    nothing is ever reachable for a moment, and no operator is cut off while its objects are finalized.
    """

    gateway: pulumi.Output[str]
    serving: pulumi.Output[str]
    cnpg: pulumi.Output[str] | None
    """None where this stack does not install CloudNativePG."""
    external_secrets: pulumi.Output[str] | None
    """None where this stack does not install External Secrets."""
    cert_manager: pulumi.Output[str] | None
    """None where this stack does not install cert-manager."""

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:namespaces:Namespaces", name, None, opts)
        names = args.settings.namespaces
        keys = {"externalSecrets": "external-secrets", "certManager": "cert-manager"}
        existing = {keys.get(key, key) for key in names.existing}

        def namespace(part: str, physical: str, level: PodSecurity) -> pulumi.Output[str]:
            if part in existing:
                return args.unmoved.apply(lambda _: physical)
            made = kubernetes.core.v1.Namespace(
                f"{name}-{part}",
                metadata=kubernetes.meta.v1.ObjectMetaArgs(
                    name=args.unmoved.apply(lambda _: physical),
                    labels={
                        "pod-security.kubernetes.io/enforce": level,
                        # Only pods are enforced on; a Deployment that asks for too much shows by this
                        # warning.
                        "pod-security.kubernetes.io/warn": level,
                        "pod-security.kubernetes.io/audit": "restricted",
                    },
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
            return made.metadata.apply(lambda metadata: metadata.name or physical)

        made = {
            "gateway": namespace("gateway", names.gateway, "baseline"),
            "serving": namespace("serving", names.serving, "baseline"),
        }
        if args.settings.operators.external_secrets.install:
            made["external-secrets"] = namespace("external-secrets", names.external_secrets, "restricted")
        if args.settings.installs_cnpg:
            made["cnpg"] = namespace("cnpg", names.cnpg, "restricted")
        if args.settings.installs_cert_manager:
            made["cert-manager"] = namespace("cert-manager", names.cert_manager, "restricted")
        closed = (
            network_policies.close(name, self, args.settings, args.service_addresses, made)
            if args.settings.network.policies
            else made
        )
        self.gateway = closed["gateway"]
        self.serving = closed["serving"]
        self.cnpg = closed.get("cnpg")
        self.external_secrets = closed.get("external-secrets")
        self.cert_manager = closed.get("cert-manager")
        self.register_outputs({})
