"""The namespaces of the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import pulumi
import pulumi_kubernetes as kubernetes

PodSecurity = Literal["restricted", "baseline"]
"""A Pod Security Standard, https://kubernetes.io/docs/concepts/security/pod-security-standards/."""


class StackNamespaces(Protocol):
    """The namespaces' names; who takes one waits for what it stands for."""

    gateway: pulumi.Output[str]
    serving: pulumi.Output[str]
    cnpg: pulumi.Output[str]
    external_secrets: pulumi.Output[str]
    cert_manager: pulumi.Output[str] | None


@dataclass(frozen=True, kw_only=True)
class NamespacesArgs:
    """Names of the namespaces; `cert_manager` is None where this stack does not install cert-manager."""

    gateway: str
    serving: str
    cnpg: str
    external_secrets: str
    cert_manager: str | None


class Namespaces(pulumi.ComponentResource):
    """One Namespace a part, each with the strictest Pod Security Standard its images can run under.

    `gateway` and `serving` are baseline: the images of LiteLLM and vLLM run as root (docs/network.md).
    """

    gateway: pulumi.Output[str]
    serving: pulumi.Output[str]
    cnpg: pulumi.Output[str]
    external_secrets: pulumi.Output[str]
    cert_manager: pulumi.Output[str] | None

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:namespaces:Namespaces", name, None, opts)

        def namespace(part: str, physical: str, level: PodSecurity) -> pulumi.Output[str]:
            made = kubernetes.core.v1.Namespace(
                f"{name}-{part}",
                metadata=kubernetes.meta.v1.ObjectMetaArgs(
                    name=physical,
                    labels={
                        "pod-security.kubernetes.io/enforce": level,
                        # Only pods are enforced on; a Deployment that asks for too much shows by this warning.
                        "pod-security.kubernetes.io/warn": level,
                        "pod-security.kubernetes.io/audit": "restricted",
                    },
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
            return made.metadata.apply(lambda metadata: metadata.name or physical)

        self.gateway = namespace("gateway", args.gateway, "baseline")
        self.serving = namespace("serving", args.serving, "baseline")
        self.cnpg = namespace("cnpg", args.cnpg, "restricted")
        self.external_secrets = namespace("external-secrets", args.external_secrets, "restricted")
        self.cert_manager = (
            namespace("cert-manager", args.cert_manager, "restricted") if args.cert_manager else None
        )
        self.register_outputs({})
