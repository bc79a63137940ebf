"""What a private cluster's control plane reaches on the cluster's nodes and pods.

GKE itself opens 443 and 10250, and nothing else without a firewall rule:
https://cloud.google.com/kubernetes-engine/docs/how-to/legacy/network-isolation#add_firewall_rules. What it
does not do: any other filter. A cluster whose network is not in the emulated cloud counts as one with public
nodes, which needs no rule. Stricter in one thing: a control plane behind konnectivity-agent would need no
rule either.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from sandbox.google.cloud import Cloud

_ALWAYS = (443, 10250)


def refusal(cloud: Cloud, port: int) -> str | None:
    """Why the control plane does not reach a port of a pod; None where it does."""
    for cluster in cloud.list("cluster"):
        spec = cluster.get("spec", {})
        private = spec.get("privateClusterConfig", {})
        if not private.get("enablePrivateNodes") or port in _ALWAYS:
            continue
        block = IPv4Network(private["masterIpv4CidrBlock"])
        rules = [row["spec"] for row in cloud.list("firewall") if row["spec"]["network"] == spec["network"]]
        if not any(_opens(rule, block, port) for rule in rules):
            return f"i/o timeout: no firewall rule lets {block}, the control plane of {cluster['name']}, reach port {port}"
    return None


def _opens(rule: dict[str, Any], block: IPv4Network, port: int) -> bool:
    return (
        not rule.get("disabled")
        and any(block.subnet_of(IPv4Network(cidr)) for cidr in rule["sourceRanges"])
        and any(_covers(allow, port) for allow in rule["allows"])
    )


def _covers(allow: dict[str, Any], port: int) -> bool:
    if allow["protocol"].lower() not in ("tcp", "6", "all"):
        return False
    ranges = [text.split("-") for text in allow.get("ports", ["0-65535"])]
    return any(int(bounds[0]) <= port <= int(bounds[-1]) for bounds in ranges)
