"""The namespaces of the stack."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes


@dataclass(frozen=True, kw_only=True)
class NamespacesArgs:
    """Names of the namespaces."""

    gateway: str
    serving: str
    cnpg: str
    external_secrets: str


class Namespaces(pulumi.ComponentResource):
    """One Namespace a part; dependents take the namespace's name from here, so they wait for it."""

    gateway: pulumi.Output[str]
    serving: pulumi.Output[str]
    cnpg: pulumi.Output[str]
    external_secrets: pulumi.Output[str]

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:namespaces:Namespaces", name, None, opts)

        def namespace(part: str, physical: str) -> pulumi.Output[str]:
            made = kubernetes.core.v1.Namespace(
                f"{name}-{part}",
                metadata=kubernetes.meta.v1.ObjectMetaArgs(name=physical),
                opts=pulumi.ResourceOptions(parent=self),
            )
            return made.metadata.apply(lambda metadata: metadata.name or physical)

        self.gateway = namespace("gateway", args.gateway)
        self.serving = namespace("serving", args.serving)
        self.cnpg = namespace("cnpg", args.cnpg)
        self.external_secrets = namespace("external-secrets", args.external_secrets)
        self.register_outputs({})
