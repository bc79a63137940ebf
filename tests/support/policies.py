"""Says what NetworkPolicies allow, as
https://kubernetes.io/docs/concepts/services-networking/network-policies/ has it.

An address block matches pods by their address, as it does without Dataplane V2: whoever is denied here is
denied on every cluster. What it does not know: named ports, port ranges, and namespaces' labels other than
their name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """One end of a connection; no namespace means that it is no pod."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policies:
    """The NetworkPolicies of a cluster."""

    objects: list[dict[str, Any]]

    def allow(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to `target`."""
        return self._passes("Egress", source, target, port, protocol) and self._passes(
            "Ingress", target, source, port, protocol
        )

    def selecting(self, pod: End) -> list[str]:
        """The names of the policies that hold for a pod."""
        return [policy["metadata"]["name"] for policy in self._of(pod)]

    def _of(self, pod: End) -> Iterator[dict[str, Any]]:
        for policy in self.objects:
            in_namespace = policy["metadata"]["namespace"] == pod.namespace
            if in_namespace and matches(policy["spec"]["podSelector"], pod.labels):
                yield policy

    def _passes(
        self, way: Literal["Ingress", "Egress"], pod: End, other: End, port: int, protocol: str
    ) -> bool:
        specs = [policy["spec"] for policy in self._of(pod) if way in policy["spec"]["policyTypes"]]
        rules = [rule for spec in specs for rule in spec.get(way.lower(), [])]
        side = {"Ingress": "from", "Egress": "to"}[way]
        return not specs or any(
            _any_peer(rule.get(side), other) and _any_port(rule.get("ports"), port, protocol)
            for rule in rules
        )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches. Raises KeyError for an operator that it does not know."""
    operators = {"In": lambda value, values: value in values, "Exists": lambda value, _: value is not None}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[wanted["operator"]](labels.get(wanted["key"]), wanted.get("values", []))
        for wanted in selector.get("matchExpressions", [])
    )


def _any_port(ports: Iterable[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(allowed["port"] == port and allowed["protocol"] == protocol for allowed in ports)


def _any_peer(peers: Iterable[Mapping[str, Any]] | None, end: End) -> bool:
    return not peers or any(_is_peer(peer, end) for peer in peers)


def _is_peer(peer: Mapping[str, Any], end: End) -> bool:
    if block := peer.get("ipBlock"):
        inside = [ip_address(end.address) in ip_network(cidr) for cidr in block.get("except", [])]
        return ip_address(end.address) in ip_network(block["cidr"]) and not any(inside)
    return (
        end.namespace != ""
        and matches(peer["namespaceSelector"], {NAMESPACE_LABEL: end.namespace})
        and matches(peer.get("podSelector", {}), end.labels)
    )
