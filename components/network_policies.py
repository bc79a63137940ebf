"""Who may talk to whom: every namespace denies by default, and exactly the graph is allowed.

Policies see pods, not Services: an address of a Service is translated to a pod's before a policy is asked
(https://cloud.google.com/kubernetes-engine/docs/how-to/fqdn-network-policies, limitations), so ports here are the
pods' own. Kubelet probes need no rule: traffic from the node a pod runs on is always allowed
(https://kubernetes.io/docs/concepts/services-networking/network-policies/).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes

from components.namespaces import StackNamespaces
from settings import gateway

Peer = kubernetes.networking.v1.NetworkPolicyPeerArgs
Port = kubernetes.networking.v1.NetworkPolicyPortArgs
Peers = pulumi.Input[Sequence[pulumi.Input[Peer]]]
Ports = pulumi.Input[Sequence[pulumi.Input[Port]]]

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label that the API server puts on every namespace: its name."""
PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
"""What is not the internet: RFC 1918, RFC 6598 and link-local addresses."""
WEBHOOK_PORT = 10250
POSTGRES_PORT = 5432
INSTANCE_MANAGER_PORT = 8000
"""CloudNativePG's status port, https://cloudnative-pg.io/documentation/current/networking/."""


@dataclass(frozen=True, eq=False)
class Workload:
    """Pods of this stack; an empty string as a label's value means any value."""

    name: str
    namespace: pulumi.Input[str]
    labels: Mapping[str, str]

    def selector(self) -> kubernetes.meta.v1.LabelSelectorArgs:
        exists = [
            kubernetes.meta.v1.LabelSelectorRequirementArgs(key=key, operator="Exists")
            for key, value in self.labels.items()
            if not value
        ]
        exact = {key: value for key, value in self.labels.items() if value}
        return kubernetes.meta.v1.LabelSelectorArgs(
            match_labels=exact or None, match_expressions=exists or None
        )


@dataclass(frozen=True)
class Elsewhere:
    """Who is no workload of this stack; peers None means anyone, from anywhere."""

    peers: Peers | None


@dataclass(frozen=True)
class Flow:
    """Connections that are allowed, from one end to the other; ports None means any."""

    source: Workload | Elsewhere
    target: Workload | Elsewhere
    ports: Ports | None


@dataclass(frozen=True, kw_only=True)
class NetworkPoliciesArgs:
    """Arguments of NetworkPolicies.

    `client_namespaces` may call the gateway, all may when it is empty. `service_addresses` is the range of the
    cluster's Services, CIDR. `object_store` says that the database keeps or reads backups in Cloud Storage, `tenants`
    that a Job brings teams and keys into LiteLLM.
    """

    namespaces: StackNamespaces
    service_addresses: pulumi.Input[str]
    client_namespaces: Sequence[str]
    models: Sequence[gateway.Model]
    shared_state: gateway.SharedState
    object_store: bool
    tenants: bool


class NetworkPolicies(pulumi.ComponentResource):
    """One NetworkPolicy a namespace that denies everything but DNS, and one a workload that allows its flows.

    The namespaces' names are handed on from here: who takes one comes after its policies, so nothing is ever
    reachable for a moment, and goes before them, so that no operator is cut off while its objects are finalized.
    """

    gateway: pulumi.Output[str]
    serving: pulumi.Output[str]
    cnpg: pulumi.Output[str]
    external_secrets: pulumi.Output[str]
    cert_manager: pulumi.Output[str] | None

    def __init__(
        self, name: str, args: NetworkPoliciesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:network_policies:NetworkPolicies", name, None, opts)
        self._name = name
        self._flows = list(_flows(args, _api_server(name, self)))
        self._dns = _dns(args.service_addresses)
        open_ = args.namespaces

        self.gateway = self._close("gateway", open_.gateway)
        self.serving = self._close("serving", open_.serving)
        self.cnpg = self._close("cnpg", open_.cnpg)
        self.external_secrets = self._close("external-secrets", open_.external_secrets)
        self.cert_manager = self._close("cert-manager", open_.cert_manager) if open_.cert_manager else None
        self.register_outputs({})

    def _close(self, part: str, namespace: pulumi.Output[str]) -> pulumi.Output[str]:
        """Make a namespace's policies; its name, known once they are made."""
        everything = Workload("deny-by-default", namespace, {})
        policies = [self._policy(f"{self._name}-{part}-default", everything, [Flow(everything, *self._dns)])]
        ends = (end for flow in self._flows for end in (flow.source, flow.target))
        for workload in dict.fromkeys(end for end in ends if isinstance(end, Workload)):
            if workload.namespace is namespace:
                policies.append(self._policy(f"{self._name}-{workload.name}", workload, self._flows))
        # URNs are known in a preview, too, and carry the dependency.
        return pulumi.Output.all(namespace, *(policy.urn for policy in policies)).apply(lambda all_: all_[0])

    def _policy(
        self, name: str, workload: Workload, flows: Sequence[Flow]
    ) -> kubernetes.networking.v1.NetworkPolicy:
        return kubernetes.networking.v1.NetworkPolicy(
            name,
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=workload.name, namespace=workload.namespace),
            spec=kubernetes.networking.v1.NetworkPolicySpecArgs(
                pod_selector=workload.selector(),
                policy_types=["Ingress", "Egress"],
                ingress=[
                    kubernetes.networking.v1.NetworkPolicyIngressRuleArgs(
                        from_=_peers(flow.source), ports=flow.ports
                    )
                    for flow in flows
                    if flow.target is workload
                ]
                or None,
                egress=[
                    kubernetes.networking.v1.NetworkPolicyEgressRuleArgs(
                        to=_peers(flow.target), ports=flow.ports
                    )
                    for flow in flows
                    if flow.source is workload
                ]
                or None,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _flows(args: NetworkPoliciesArgs, api_server: tuple[Elsewhere, Ports]) -> Iterator[Flow]:
    """The graph; docs/network.md shows it as a table."""
    spaces = args.namespaces
    litellm = _named("litellm", spaces.gateway)  # its migration Job's pod carries the same labels
    postgres = Workload("postgres", spaces.gateway, {"cnpg.io/cluster": ""})
    cnpg = _named("cloudnative-pg", spaces.cnpg)
    external_secrets = _named("external-secrets", spaces.external_secrets)
    external_secrets_webhook = _named("external-secrets-webhook", spaces.external_secrets)

    yield Flow(_clients(args.client_namespaces), litellm, _tcp(4000))
    yield Flow(litellm, postgres, _tcp(POSTGRES_PORT))
    yield Flow(postgres, postgres, _tcp(POSTGRES_PORT, INSTANCE_MANAGER_PORT))
    yield Flow(postgres, *api_server)
    yield Flow(cnpg, postgres, _tcp(POSTGRES_PORT, INSTANCE_MANAGER_PORT))
    yield Flow(cnpg, *api_server)
    yield Flow(external_secrets, *api_server)
    yield Flow(external_secrets, GOOGLE_APIS, _tcp(443))
    yield Flow(external_secrets, METADATA_SERVER, METADATA_PORTS)
    yield Flow(external_secrets_webhook, *api_server)
    yield Flow(_named("external-secrets-cert-controller", spaces.external_secrets), *api_server)
    # The control plane comes through its own addresses or through kube-system's konnectivity-agent.
    yield Flow(ANYONE, cnpg, _tcp(WEBHOOK_PORT))
    yield Flow(ANYONE, external_secrets_webhook, _tcp(WEBHOOK_PORT))

    if any(model.vllm for model in args.models):
        router = Workload("vllm-router", spaces.serving, {"environment": "router"})
        engine = Workload("vllm-engine", spaces.serving, {"environment": "engine"})
        yield Flow(litellm, router, _tcp(8000))
        yield Flow(router, engine, _tcp(8000))
        yield Flow(router, *api_server)  # finds the engines' pods
        yield Flow(engine, INTERNET, _tcp(443))  # downloads the weights
    if any(model.hosted for model in args.models):
        yield Flow(litellm, INTERNET, _tcp(443))
    for url in sorted({model.endpoint.url for model in args.models if model.endpoint}):
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        yield _to_host(litellm, parts.hostname or "", port)

    if args.tenants:
        yield Flow(_named("litellm-tenants", spaces.gateway), litellm, _tcp(4000))
    if args.shared_state.kind == "valkey":
        yield Flow(litellm, _named("valkey", spaces.gateway), _tcp(6379))
    if args.shared_state.host:
        yield _to_host(litellm, args.shared_state.host, args.shared_state.port)

    if args.object_store:
        plugin = _named("plugin-barman-cloud", spaces.cnpg)
        yield Flow(postgres, GOOGLE_APIS, _tcp(443))
        yield Flow(postgres, METADATA_SERVER, METADATA_PORTS)
        yield Flow(cnpg, plugin, _tcp(9090))
        yield Flow(plugin, *api_server)
    if spaces.cert_manager:
        webhook = Workload(
            "cert-manager-webhook", spaces.cert_manager, {"app.kubernetes.io/component": "webhook"}
        )
        yield Flow(Workload("cert-manager", spaces.cert_manager, {}), *api_server)
        yield Flow(ANYONE, webhook, _tcp(WEBHOOK_PORT))


def _named(name: str, namespace: pulumi.Input[str]) -> Workload:
    return Workload(name, namespace, {"app.kubernetes.io/name": name})


def _tcp(*ports: int) -> list[Port]:
    return [Port(port=port, protocol="TCP") for port in ports]


def _peers(end: Workload | Elsewhere) -> Peers | None:
    if isinstance(end, Elsewhere):
        return end.peers
    return [Peer(namespace_selector=_namespace(end.namespace), pod_selector=end.selector())]


def _namespace(name: pulumi.Input[str]) -> kubernetes.meta.v1.LabelSelectorArgs:
    return kubernetes.meta.v1.LabelSelectorArgs(match_labels={NAMESPACE_LABEL: name})


def _block(cidr: pulumi.Input[str], but: Sequence[str] | None = None) -> Peer:
    return Peer(ip_block=kubernetes.networking.v1.IPBlockArgs(cidr=cidr, except_=but))


def _address(address: str) -> Peer:
    return _block(str(ipaddress.ip_network(address)))


def _clients(namespaces: Sequence[str]) -> Elsewhere:
    if not namespaces:
        return Elsewhere([Peer(namespace_selector=kubernetes.meta.v1.LabelSelectorArgs())])
    return Elsewhere([Peer(namespace_selector=_namespace(namespace)) for namespace in namespaces])


def _to_host(source: Workload, host: str, port: int) -> Flow:
    """A flow to a host of the settings, as narrow as its name allows.

    A Service of this cluster leads to its namespace, on any port, as only the Service knows its pods' port;
    another name may lead anywhere.
    """
    if service := re.fullmatch(r"[^.]+\.([^.]+)\.svc(\.cluster\.local)?", host):
        return Flow(source, Elsewhere([Peer(namespace_selector=_namespace(service[1]))]), None)
    with suppress(ValueError):
        return Flow(source, Elsewhere([_address(host)]), _tcp(port))
    return Flow(source, Elsewhere([_block("0.0.0.0/0")]), _tcp(port))


def _api_server(name: str, parent: pulumi.Resource) -> tuple[Elsewhere, Ports]:
    """The control plane's address and port as pods reach it: the endpoints of the Service `kubernetes`.

    The cluster's own `endpoint` may be another one, such as the public address of a private cluster.
    """
    found = kubernetes.discovery.v1.EndpointSlice.get(
        f"{name}-api-server", "default/kubernetes", opts=pulumi.ResourceOptions(parent=parent)
    )
    peers = found.endpoints.apply(
        lambda endpoints: [_address(address) for endpoint in endpoints for address in endpoint.addresses]
    )
    ports = found.ports.apply(lambda ports: [Port(port=port.port, protocol="TCP") for port in ports])
    return Elsewhere(peers), ports


def _dns(service_addresses: pulumi.Input[str]) -> tuple[Elsewhere, Ports]:
    """Every resolver a GKE cluster can have; without Dataplane V2, NodeLocal DNSCache answers on a Service's address."""
    resolvers = kubernetes.meta.v1.LabelSelectorArgs(
        match_expressions=[
            kubernetes.meta.v1.LabelSelectorRequirementArgs(
                key="k8s-app", operator="In", values=["kube-dns", "node-local-dns"]
            )
        ]
    )
    peers = [
        Peer(namespace_selector=_namespace("kube-system"), pod_selector=resolvers),
        _block(service_addresses),
        _address("169.254.20.10"),  # NodeLocal DNSCache
        _address("169.254.169.254"),  # Cloud DNS
    ]
    return Elsewhere(peers), [Port(port=53, protocol=protocol) for protocol in ("UDP", "TCP")]


ANYONE = Elsewhere(None)
INTERNET = Elsewhere([_block("0.0.0.0/0", but=PRIVATE)])
GOOGLE_APIS = Elsewhere([_block("0.0.0.0/0")])
"""Public addresses, or a Private Service Connect address in the cluster's network."""
METADATA_SERVER = Elsewhere([_address("169.254.169.252"), _address("169.254.169.254")])
"""Workload Identity Federation's token source: port 988 of the first, with Dataplane V2 port 80 of the second,
https://cloud.google.com/kubernetes-engine/docs/how-to/network-policy."""
METADATA_PORTS = _tcp(80, 988)
