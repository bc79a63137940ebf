"""The Redis that replicas of the proxy share their counts through."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import StringConstraints

from settings.base import SecretReference, Section, Violation, repeated, rule, setting
from settings.tls import Certificates, Cidr, Host, address, service_namespace

TLS_PORTS = {6378: "Memorystore", 6380: "Azure's Redis"}
"""Ports at which a service answers to TLS alone."""
Node = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[1-9][0-9]{0,4}$")]


class SharedState(Section):
    """The Redis that replicas share TPM, RPM and budget counts through."""

    otherwise = "the proxy could not share its counts"

    kind: Literal["none", "valkey", "redis"] = setting(
        "none",
        about="none: each pod counts for itself; valkey: this stack runs one; redis: an existing Redis or Valkey, at `host` "
        "or, a cluster, at `nodes`.",
        otherwise="each pod would count limits on its own",
        write="kind: valkey",
    )
    host: Host | None = setting(
        None,
        about="Host name or address, for kind redis.",
        write="host: 10.0.0.3",
    )
    port: int = setting(6379, ge=1, le=65535, about="Port of `host`, for kind redis.")
    nodes: list[Node] = setting(
        default_factory=list,
        about="Nodes of a Redis cluster, <host>:<port> each, in place of host and port; one is enough, such as Memorystore's "
        "discovery endpoint. The others are found through it. A proxy does not start while none of them answers.",
        write='nodes: ["10.0.0.3:6379"]',
    )
    node_addresses: list[Cidr] = setting(
        default_factory=list,
        about="Ranges of the addresses of all of the cluster's nodes, which pods may then reach at any port; for Memorystore the "
        "subnet of its endpoints. Not needed where `nodes` are Services of this cluster.",
        otherwise="the NetworkPolicies would keep the proxy from the nodes that the cluster leads it to",
        write="nodeAddresses: [10.0.0.0/28]",
    )
    username: str | None = setting(
        None,
        pattern=r"^[!-~]{1,128}$",
        about="User name (ACL), for kind redis; unset means Redis' default user.",
        otherwise="the Redis would refuse the proxy",
        write="username: litellm",
    )
    password_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with the password, for kind redis, or `<id>/versions/<number>`; unset means none.",
        otherwise="the Redis would refuse the proxy",
        write="passwordSecret: redis-password",
    )
    tls: Literal["none", "verify-ca", "verify-full"] | None = setting(
        None,
        about="For kind redis. none: plain text; verify-ca: TLS, and the server's certificate must be signed by `ca`, whatever "
        "name is in it, as Memorystore's need; verify-full: the name or address must be in it, too. Unset means "
        "none, and is refused at the ports 6378 and 6380.",
        otherwise="it would not be clear who may read the counts on their way, or play the Redis",
        write="tls: verify-ca",
    )
    ca: Certificates | None = setting(
        None,
        about="Certificates (PEM) of the authorities that sign the server's; for verify-full unset means the public ones. "
        "They are no secret.",
        otherwise="no connection to the Redis would be made, and each pod would count limits on its own",
        write="ca: |, and below it, indented, what `gcloud redis instances describe` shows as serverCaCerts",
    )

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Host and port of the Redis, or of each of the nodes that the settings name."""
        named = [self.host] if self.host else []
        parts = [node.rpartition(":") for node in self.nodes]
        return [*((host, self.port) for host in named), *((host, int(port)) for host, _, port in parts)]

    @rule
    def redis_is_somewhere(self) -> Iterator[Violation]:
        if self.kind == "redis" and not (self.host or self.nodes):
            yield Violation("host", "kind redis needs a host", self.otherwise, "host: 10.0.0.3")
        if self.host and self.nodes:
            yield Violation(
                "nodes",
                "host is for one Redis, and nodes for a cluster",
                "the host would be ignored",
                "only one of them",
            )

    @rule
    def address_is_used(self) -> Iterator[Violation]:
        given = {
            "host": self.host,
            "nodes": self.nodes,
            "nodeAddresses": self.node_addresses,
            "username": self.username,
            "passwordSecret": self.password_secret,
            "tls": self.tls,
            "ca": self.ca,
        }
        ignored = [key for key, value in given.items() if value]
        if self.kind != "redis" and ignored:
            yield Violation(
                "kind",
                f"{' and '.join(ignored)}: for kind redis alone",
                "it would be ignored",
                "kind: redis",
            )

    @rule
    def ports_are_ports(self) -> Iterator[Violation]:
        for index, (_, port) in enumerate(self.servers):
            if port > 65535:
                yield Violation(
                    f"nodes[{index}]", f"{port} is no port", self.otherwise, 'nodes: ["10.0.0.3:6379"]'
                )
        for node in repeated(self.nodes):
            yield Violation(
                "nodes",
                f"{node} is there twice",
                "the proxy would start only while that one node answers",
                "each node once",
            )

    @rule
    def ports_of_tls_are_no_plain_text(self) -> Iterator[Violation]:
        for _, port in self.servers if self.tls is None else []:
            if port in TLS_PORTS:
                yield Violation(
                    "tls",
                    f"{port} is the port at which {TLS_PORTS[port]} answers to TLS alone, and tls is not set",
                    "the proxy would send plain text, get no answer, and each pod would count limits on its own",
                    "tls: verify-ca and the ca, tls: verify-full, or tls: none where it is plain text",
                )
                return

    @rule
    def tls_knows_whom_to_believe(self) -> Iterator[Violation]:
        if self.ca and self.tls not in ("verify-ca", "verify-full"):
            yield Violation(
                "ca",
                f"a ca, and tls: {self.tls or 'unset'}",
                "the connection would be plain text, and nobody's certificate looked at",
                "tls: verify-ca, or tls: verify-full, beside it",
            )
        if self.tls == "verify-ca" and not self.ca:
            yield Violation(
                "ca",
                "verify-ca without a ca",
                "whoever has any certificate of a public authority could play the Redis",
                "ca, with the certificates of the server's authority, or tls: verify-full",
            )
        if self.tls == "verify-full" and not self.ca and any(address(host) for host, _ in self.servers):
            yield Violation(
                "ca",
                "verify-full without a ca, and an address in place of a name",
                "no public authority signs for a private address: the proxy would refuse the Redis, and each pod count "
                "limits on its own",
                "ca, with the certificates of the server's authority",
            )

    @rule
    def nodes_are_in_their_ranges(self) -> Iterator[Violation]:
        if self.node_addresses and not self.nodes:
            yield Violation(
                "nodeAddresses", "there are no nodes", "they would be ignored", "nodes, or leave it out"
            )
        ranges = [ipaddress.IPv4Network(cidr) for cidr in self.node_addresses]
        for index, (host, _) in enumerate(self.servers if self.nodes and ranges else []):
            node = address(host)
            if node and not any(node in range_ for range_ in ranges):
                yield Violation(
                    f"nodes[{index}]",
                    f"{host} is in none of nodeAddresses",
                    "the NetworkPolicies would keep the proxy from the other nodes",
                    f"nodeAddresses with the range of {host} in it",
                )

    @property
    def nodes_are_services(self) -> bool:
        """Whether the nodes are Services of this cluster, so that a namespace says where all of them are."""
        return all(service_namespace(host) for host, _ in self.servers)
