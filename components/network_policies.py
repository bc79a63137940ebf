"""Who may talk to whom: every namespace denies by default, and exactly the graph is allowed.

Policies see pods, not Services: an address of a Service is translated to a pod's before a policy is asked
(https://cloud.google.com/kubernetes-engine/docs/how-to/fqdn-network-policies, limitations), so ports here are
the pods' own. Kubelet probes need no rule: traffic from the node a pod runs on is always allowed
(https://kubernetes.io/docs/concepts/services-networking/network-policies/).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes

from components import barman_plugin, cloud_sql, litellm, operators, postgres_cluster, tenants, valkey, vllm
from components.workload import Workload
from settings import Settings
from settings.base import urls_in
from settings.cloud_sql import SQL_ADMIN
from settings.egress import HUGGING_FACE, SECRETS, STORAGE, Egress
from settings.tls import service_namespace

Peer = kubernetes.networking.v1.NetworkPolicyPeerArgs
Port = kubernetes.networking.v1.NetworkPolicyPortArgs
Peers = pulumi.Input[Sequence[pulumi.Input[Peer]]]
Ports = pulumi.Input[Sequence[pulumi.Input[Port]]]

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label that the API server puts on every namespace: its name."""
PROVIDER = "https://provider.invalid"
"""Stands for each model provider, whose hosts only LiteLLM knows, and for Slack."""
PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
"""What is not the internet: RFC 1918, RFC 6598 and link-local addresses."""


@dataclass(frozen=True)
class Pods:
    """A workload where it runs."""

    workload: Workload
    namespace: pulumi.Output[str]

    def selector(self) -> kubernetes.meta.v1.LabelSelectorArgs:
        """Matches the pods in their namespace."""
        labels = self.workload.labels
        exists = [
            kubernetes.meta.v1.LabelSelectorRequirementArgs(key=key, operator="Exists")
            for key, value in labels.items()
            if not value
        ]
        exact = {key: value for key, value in labels.items() if value}
        return kubernetes.meta.v1.LabelSelectorArgs(
            match_labels=exact or None, match_expressions=exists or None
        )


@dataclass(frozen=True)
class Elsewhere:
    """An end that is no workload of this stack; peers None means anyone, from anywhere."""

    peers: Peers | None


@dataclass(frozen=True)
class Flow:
    """Connections that are allowed, from one end to the other; ports None means any port."""

    source: Pods | Elsewhere
    target: Pods | Elsewhere
    ports: Ports | None


def close(
    name: str,
    parent: pulumi.Resource,
    settings: Settings,
    service_addresses: pulumi.Input[str],
    namespaces: Mapping[str, pulumi.Output[str]],
) -> dict[str, pulumi.Output[str]]:
    """Make one NetworkPolicy per namespace that denies all but DNS, and one per workload that allows its flows.

    Args:
        name: prefix of their logical names.
        parent: the component that they are children of.
        settings: they say which workloads there are.
        service_addresses: range of the cluster's Services, CIDR.
        namespaces: names of the namespaces by part.

    Returns:
        The same names, each known once the policies of its namespace are made.
    """
    dns = _dns(service_addresses)
    flows = list(_flows(settings, namespaces, _api_server(name, parent)))
    ends = (end for flow in flows for end in (flow.source, flow.target))
    workloads = dict.fromkeys(end for end in ends if isinstance(end, Pods))
    closed: dict[str, pulumi.Output[str]] = {}
    for part, namespace in namespaces.items():
        everything = Pods(Workload("deny-by-default", {}), namespace)
        policies = [
            _policy(f"{name}-{part}-default", parent, everything, [Flow(everything, *dns)]),
            *(
                _policy(f"{name}-{pods.workload.name}", parent, pods, flows)
                for pods in workloads
                if pods.namespace is namespace
            ),
        ]
        # URNs are known in a preview, too, and carry the dependency.
        closed[part] = pulumi.Output.all(namespace, *(policy.urn for policy in policies)).apply(
            lambda all_: all_[0]
        )
    return closed


def _policy(
    name: str, parent: pulumi.Resource, pods: Pods, flows: Sequence[Flow]
) -> kubernetes.networking.v1.NetworkPolicy:
    return kubernetes.networking.v1.NetworkPolicy(
        name,
        metadata=kubernetes.meta.v1.ObjectMetaArgs(name=pods.workload.name, namespace=pods.namespace),
        spec=kubernetes.networking.v1.NetworkPolicySpecArgs(
            pod_selector=pods.selector(),
            policy_types=["Ingress", "Egress"],
            ingress=[
                kubernetes.networking.v1.NetworkPolicyIngressRuleArgs(
                    from_=_peers(flow.source), ports=flow.ports
                )
                for flow in flows
                if flow.target == pods
            ]
            or None,
            egress=[
                kubernetes.networking.v1.NetworkPolicyEgressRuleArgs(to=_peers(flow.target), ports=flow.ports)
                for flow in flows
                if flow.source == pods
            ]
            or None,
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _flows(
    settings: Settings, namespaces: Mapping[str, pulumi.Output[str]], api_server: tuple[Elsewhere, Ports]
) -> Iterator[Flow]:
    """The graph; docs/network.md shows it as a table."""

    def pods(workload: Workload, part: str) -> Pods:
        return Pods(workload, namespaces[part])

    proxy, egress = pods(litellm.PROXY, "gateway"), settings.egress
    admission = _tcp(operators.WEBHOOK_PORT)

    yield Flow(_clients(settings.network.client_namespaces), proxy, _tcp(litellm.PORT))
    if existing := settings.postgres.existing:
        if existing.cloud_sql:
            connector = pods(cloud_sql.CONNECTOR, "gateway")
            instance = NETWORKS if existing.cloud_sql.private_ip else INTERNET
            yield Flow(proxy, connector, _tcp(cloud_sql.PORT))
            yield _out(connector, SQL_ADMIN, egress, GOOGLE_APIS)
            yield Flow(connector, METADATA_SERVER, METADATA_PORTS)
            yield Flow(connector, instance, _tcp(cloud_sql.INSTANCE_PORT))
        elif existing.host:
            yield _to_host(proxy, existing.host, existing.port)
    else:
        database = pods(postgres_cluster.INSTANCES, "gateway")
        instances = _tcp(postgres_cluster.PORT, postgres_cluster.INSTANCE_MANAGER_PORT)
        yield Flow(proxy, database, _tcp(postgres_cluster.PORT))
        yield Flow(database, database, instances)
        yield Flow(database, *api_server)
        if settings.postgres.backups.method == "objectStore":
            yield _out(database, STORAGE, egress, GOOGLE_APIS)
            yield Flow(database, METADATA_SERVER, METADATA_PORTS)
        if settings.installs_cnpg:
            cnpg, plugin = pods(operators.CNPG, "cnpg"), pods(barman_plugin.PODS, "cnpg")
            yield Flow(cnpg, database, instances)
            yield Flow(cnpg, *api_server)
            # The control plane comes through its own addresses or through kube-system's konnectivity-agent.
            yield Flow(ANYONE, cnpg, admission)
            if settings.postgres.backups.method == "objectStore":
                yield Flow(cnpg, plugin, _tcp(barman_plugin.PORT))
                yield Flow(plugin, *api_server)
        else:
            theirs = Pods(operators.CNPG, pulumi.Output.from_input(settings.namespaces.cnpg))
            yield Flow(Elsewhere(_peers(theirs)), database, instances)
    if settings.operators.external_secrets.install:
        external_secrets = pods(operators.EXTERNAL_SECRETS, "external-secrets")
        webhook = pods(operators.EXTERNAL_SECRETS_WEBHOOK, "external-secrets")
        yield Flow(external_secrets, *api_server)
        yield _out(external_secrets, SECRETS, egress, GOOGLE_APIS)
        yield Flow(external_secrets, METADATA_SERVER, METADATA_PORTS)
        yield Flow(webhook, *api_server)
        yield Flow(pods(operators.EXTERNAL_SECRETS_CERT_CONTROLLER, "external-secrets"), *api_server)
        yield Flow(ANYONE, webhook, admission)

    if settings.self_hosted:
        router, engine = pods(vllm.ROUTER, "serving"), pods(vllm.ENGINE, "serving")
        yield Flow(proxy, router, _tcp(vllm.PORT))
        yield Flow(router, engine, _tcp(vllm.PORT))
        yield Flow(router, *api_server)  # finds the engines' pods
        if any(model.asks_hugging_face for model in settings.self_hosted.values()):
            yield _out(engine, HUGGING_FACE, egress, INTERNET)  # downloads the weights
        if settings.weight_buckets:
            yield _out(engine, STORAGE, egress, GOOGLE_APIS)
            yield Flow(engine, METADATA_SERVER, METADATA_PORTS)
        for model in settings.self_hosted.values():
            yield from (_to_url(engine, egress.by(url) or url) for url in sorted(urls_in(model.environment)))
    if any(model.hosted for model in settings.models) or settings.litellm.tells_slack:
        yield _out(proxy, PROVIDER, egress, INTERNET)
        google = any(model.provider in ("gemini", "vertex_ai") for model in settings.models)
        # Only LiteLLM knows its providers' hosts, and so which of them are among these; Google's are known to all.
        yield from (_to_host(proxy, host, 443) for host in egress.hosts_reached_directly(google))
    if settings.vertex_projects:
        yield Flow(proxy, METADATA_SERVER, METADATA_PORTS)
    for url in settings.litellm_urls:
        yield _to_url(proxy, egress.by(url) or url)

    shared_state = settings.litellm.shared_state
    if settings.declares_tenants:
        yield Flow(pods(tenants.RECONCILER, "gateway"), proxy, _tcp(litellm.PORT))
    if shared_state.kind == "valkey":
        yield Flow(proxy, pods(valkey.SERVER, "gateway"), _tcp(valkey.PORT))
    for host, port in shared_state.servers:
        yield _to_host(proxy, host, port)
    for cidr in shared_state.node_addresses:
        yield Flow(proxy, Elsewhere([_block(cidr)]), None)  # a node may answer at any port

    if "cert-manager" in namespaces:
        yield Flow(pods(operators.CERT_MANAGER, "cert-manager"), *api_server)
        yield Flow(ANYONE, pods(operators.CERT_MANAGER_WEBHOOK, "cert-manager"), admission)


def _tcp(*ports: int) -> list[Port]:
    return [Port(port=port, protocol="TCP") for port in ports]


def _peers(end: Pods | Elsewhere) -> Peers | None:
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


def _out(source: Pods, url: str, egress: Egress, directly: Elsewhere) -> Flow:
    """A flow to a host outside the cluster: to the proxy that is asked for it, or else directly."""
    if proxy := egress.by(url):
        return _to_url(source, proxy)
    return Flow(source, directly, _tcp(443))


def _to_url(source: Pods, url: str) -> Flow:
    parts = urlsplit(url)
    return _to_host(source, parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme])


def _to_host(source: Pods, host: str, port: int) -> Flow:
    """A flow to a host of the settings, as narrow as its name allows.

    A Service of this cluster leads to its namespace, on any port, as only the Service knows its pods' port;
    another name may lead anywhere.
    """
    if namespace := service_namespace(host):
        return Flow(source, Elsewhere([Peer(namespace_selector=_namespace(namespace))]), None)
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
    """Every resolver of a GKE cluster; without Dataplane V2, NodeLocal DNSCache has a Service's address."""
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
NETWORKS = Elsewhere([_block(cidr) for cidr in PRIVATE if not cidr.startswith("169.254.")])
"""Private networks: where a Cloud SQL instance is in them, no setting says."""
GOOGLE_APIS = Elsewhere([_block("0.0.0.0/0")])
"""Public addresses, or a Private Service Connect address in the cluster's network."""
METADATA_SERVER = Elsewhere([_address("169.254.169.252"), _address("169.254.169.254")])
"""Workload Identity Federation's token source: port 988 of the first, or 80 of the second (Dataplane V2),
https://cloud.google.com/kubernetes-engine/docs/how-to/network-policy."""
METADATA_PORTS = _tcp(80, 988)
