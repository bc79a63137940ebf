"""How the stack is deployed: namespaces, charts, timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from settings.base import DnsLabel, Seconds, Section, Violation, repeated, rule, setting
from settings.names import Namespace

SYSTEM = ("kube-", "gke-", "gmp-")
"""How the names of Kubernetes' and GKE's own namespaces begin."""
NamespacePart = Literal["gateway", "serving", "cnpg", "externalSecrets", "certManager"]


class Namespaces(Section):
    """The namespaces of this stack, which it makes unless `existing` names them."""

    otherwise = "the API server would refuse the namespace"

    gateway: Namespace = setting("llm-gateway", about="LiteLLM, its database and their secrets.")
    serving: Namespace = setting("vllm", about="vLLM's engines and router.")
    cnpg: Namespace = setting(
        "cnpg-system",
        about="The CloudNativePG operator; where this stack does not install it, the namespace that it runs in, from which it may "
        "reach the database.",
    )
    external_secrets: Namespace = setting(
        "external-secrets", about="The External Secrets operator, where this stack installs it."
    )
    cert_manager: Namespace = setting("cert-manager", about="cert-manager, where this stack installs it.")
    existing: list[NamespacePart] = setting(
        default_factory=list,
        about="Which of them somebody else makes, for this stack alone: they are neither labelled nor deleted. Cannot be changed later.",
        otherwise="this stack would make a namespace that it may not, or delete one that is not its own",
        write="existing: [gateway, serving]",
    )

    @property
    def names(self) -> dict[str, str]:
        """Name by key."""
        return self.model_dump(by_alias=True, exclude={"existing"})

    @rule
    def are_apart(self) -> Iterator[Violation]:
        for name in repeated(self.names.values()):
            yield Violation(
                "",
                f"two namespaces are both called {name!r}",
                "two components would fight over one namespace and deleting one would delete the other",
                "five different names",
            )

    @rule
    def are_the_stacks_own(self) -> Iterator[Violation]:
        for key, name in self.names.items():
            if name == "default" or name.startswith(SYSTEM):
                yield Violation(
                    key,
                    f"{name!r} belongs to Kubernetes or GKE",
                    "the API server would refuse to make it, or a destroy would delete what others run in it",
                    f"{key}: llm-gateway-{key.lower()}",
                )


class Charts(Section):
    """Where the Helm charts come from."""

    mirror: str | None = setting(
        None,
        pattern=r"^(oci://|https://|/).+[^/]$",
        about="Where all charts are: an oci:// or https:// prefix, or an absolute folder; unset means upstream.",
        otherwise="Helm would not find the charts",
        write="mirror: oci://europe-west4-docker.pkg.dev/my-project-id/charts",
    )


class Network(Section):
    """Network traffic that is allowed inside the cluster."""

    policies: bool = setting(
        True,
        about="Deny all traffic but that of docs/network.md, by NetworkPolicies. The cluster must enforce them "
        "(GKE Dataplane V2, or network policy enforcement).",
        otherwise="every pod of the cluster could reach the database",
    )
    client_namespaces: list[DnsLabel] = setting(
        default_factory=list,
        about="Namespaces whose pods may call the gateway; empty means all. "
        "They read no secret by it: virtualKeys[].readers says who reads a key.",
        otherwise="the API server would refuse the policy",
        write="clientNamespaces: [apps]",
    )

    @rule
    def clients_are_told_apart(self) -> Iterator[Violation]:
        if self.client_namespaces and not self.policies:
            yield Violation(
                "clientNamespaces",
                "clientNamespaces without policies",
                "every pod of the cluster could call the gateway",
                "policies: true",
            )

    @rule
    def clients_are_applications(self) -> Iterator[Violation]:
        for name in repeated(self.client_namespaces):
            yield Violation(
                "clientNamespaces",
                f"{name!r} is there twice",
                "a name that was meant would be missing, and its pods would not reach the gateway",
                "each namespace once",
            )
        for index, name in enumerate(self.client_namespaces):
            if name.startswith(SYSTEM):
                yield Violation(
                    f"clientNamespaces[{index}]",
                    f"{name!r} belongs to Kubernetes or GKE",
                    "the cluster's own pods could call the gateway",
                    "clientNamespaces: [apps], the namespaces of applications",
                )


class Timeouts(Section):
    """How long `up` waits, in seconds, before it fails and names what it waited for."""

    otherwise = "`up` would give up too early or hang"

    node_pool: Seconds = setting(1800, about="GPU node pool, s.")
    operator: Seconds = setting(300, about="An operator's Release, and then its webhook, s.")
    secret_sync: Seconds = setting(
        600,
        about="An ExternalSecret becoming Ready, s. A new IAM binding may take 7 minutes and longer to be in force; the "
        "operator asks again after 1, 2, 4 and so on to 256 s, so for the last time after 511 s.",
    )
    postgres: Seconds = setting(900, about="The database becoming healthy, s.")
    valkey: Seconds = setting(300, about="Valkey, where litellm.sharedState has it run, s.")
    litellm: Seconds = setting(900, about="LiteLLM's migration and proxy together, s.")
    tenants: Seconds = setting(
        600, about="The Job that brings teams and virtual keys into LiteLLM, retries included, s."
    )
    vllm: Seconds = setting(1800, about="vLLM: GPU node, image pull, weights and start-up together, s.")
