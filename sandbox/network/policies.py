"""Says what NetworkPolicies allow, as
https://kubernetes.io/docs/concepts/services-networking/network-policies/ has it.

An address block matches pods by their address, as it does without Dataplane V2: whoever is denied here is denied on every
cluster. Traffic from a pod's own node, which is always allowed, is the caller's to let through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """One end of a connection; no namespace means that it is no pod. `ports` are a pod's, by name."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Policies:
    """The NetworkPolicies of a cluster, and its namespaces' labels; each has its name as one."""

    objects: list[dict[str, Any]]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def allow(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to `target`."""
        wanted = (target, port, protocol)
        return self._passes("Egress", source, target, wanted) and self._passes(
            "Ingress", target, source, wanted
        )

    def selecting(self, pod: End) -> list[str]:
        """The names of the policies that hold for a pod."""
        return [policy["metadata"]["name"] for policy in self._of(pod)]

    def _of(self, pod: End) -> Iterator[dict[str, Any]]:
        for policy in self.objects:
            in_namespace = policy["metadata"]["namespace"] == pod.namespace
            if in_namespace and matches(policy["spec"].get("podSelector", {}), pod.labels):
                yield policy

    def _passes(
        self, way: Literal["Ingress", "Egress"], pod: End, other: End, wanted: tuple[End, int, str]
    ) -> bool:
        policies = [policy for policy in self._of(pod) if way in _types(policy["spec"])]
        side = {"Ingress": "from", "Egress": "to"}[way]
        return not policies or any(
            self._any_peer(rule.get(side), other, policy["metadata"]["namespace"])
            and any_port(rule.get("ports"), *wanted)
            for policy in policies
            for rule in policy["spec"].get(way.lower(), [])
        )

    def _any_peer(self, peers: Iterable[Mapping[str, Any]] | None, end: End, namespace: str) -> bool:
        return not peers or any(self._is_peer(peer, end, namespace) for peer in peers)

    def _is_peer(self, peer: Mapping[str, Any], end: End, namespace: str) -> bool:
        if block := peer.get("ipBlock"):
            inside = [ip_address(end.address) in ip_network(cidr) for cidr in block.get("except", [])]
            return ip_address(end.address) in ip_network(block["cidr"]) and not any(inside)
        if not end.namespace or not matches(peer.get("podSelector", {}), end.labels):
            return False
        if "namespaceSelector" not in peer:
            return end.namespace == namespace
        labels = {**self.namespaces.get(end.namespace, {}), NAMESPACE_LABEL: end.namespace}
        return matches(peer["namespaceSelector"], labels)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches. Raises KeyError for an operator that it does not know."""
    operators = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "Exists": lambda value, _: value is not None,
        "DoesNotExist": lambda value, _: value is None,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[wanted["operator"]](labels.get(wanted["key"]), wanted.get("values", []))
        for wanted in selector.get("matchExpressions", [])
    )


def any_port(ports: Iterable[Mapping[str, Any]] | None, target: End, port: int, protocol: str) -> bool:
    """Whether a rule's ports, by number, range or the target pod's names, have this one in them."""
    return not ports or any(_is_port(allowed, target, port, protocol) for allowed in ports)


def _is_port(allowed: Mapping[str, Any], target: End, port: int, protocol: str) -> bool:
    if allowed.get("protocol", "TCP") != protocol:
        return False
    first = allowed.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return target.ports.get(first) == port
    return first <= port <= allowed.get("endPort", first)


def _types(spec: Mapping[str, Any]) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
