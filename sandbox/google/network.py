"""Compute Engine's networks: Network, Subnetwork, Router, RouterNat and Firewall on the emulated cloud.

What they do not do: carry packets. Only firewall rules that let a private cluster's control plane in have an
effect, in firewall.py. The id of a RouterNat is not Google's. Quotas, IPv6, automatic subnets, peering, BGP,
NAT rules and addresses of one's own, rules that deny, targets and tags are refused by name; so is every other
input that is not in `emulated`. Behaviour and wording: hashicorp/terraform-provider-google,
google/services/compute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.google.cloud import Cloud, now
from sandbox.google.resource import Json, invalid, one_of
from sandbox.google.stored import Stored

_NAME = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_PORTS = re.compile(r"(\d{1,5})(-(\d{1,5}))?")


def ranges_of(subnet: Json) -> Iterator[IPv4Network]:
    """Every address range of a subnetwork's row."""
    yield IPv4Network(subnet["spec"]["ipCidrRange"])
    for secondary in subnet["spec"].get("secondaryIpRanges", []):
        yield IPv4Network(secondary["ipCidrRange"])


def conflicting(cloud: Cloud, network: str, cidr: IPv4Network, but: str = "") -> str | None:
    """The subnetwork of a network, other than `but`, that has some of these addresses."""
    for row in cloud.list("subnetwork"):
        if (
            row["spec"]["network"] == network
            and row["name"] != but
            and any(map(cidr.overlaps, ranges_of(row)))
        ):
            return row["name"]
    return None


class _Compute(Stored):
    api = "compute"
    required = ()
    auto_named = True
    references: ClassVar = {"network": "network"}

    def canonical(self, key: str, inputs: Json) -> str:
        plain = super().canonical(key, inputs)
        return plain if "/" in plain else f"projects/{inputs.get('project')}/global/networks/{plain}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        name = inputs.get("name")
        if isinstance(name, str) and not re.fullmatch(_NAME, name):
            yield CheckFailure("name", f'"name" ({name!r}) doesn\'t match regexp "^(?:{_NAME})$"')

    def computed(self, row: Json) -> Json:
        return {"selfLink": f"https://www.googleapis.com/compute/v1/{row['name']}"}

    def row(self, spec: Json) -> Json:
        return {"creationTimestamp": now(), **super().row(spec)}


class Network(_Compute):
    """gcp:compute/network:Network."""

    kind = "gcp:compute/network:Network"
    store = "network"
    emulated = frozenset({"autoCreateSubnetworks", "description", "routingMode"})
    references: ClassVar = {}
    used_by: ClassVar = dict.fromkeys(("subnetwork", "router", "firewall", "cluster"), "network")
    force_new = ("name", "project", "autoCreateSubnetworks", "description")
    computed_inputs = ("routingMode",)
    outputs = ("gatewayIpv4", "networkId", "numericId", "selfLink")
    defaults: ClassVar[Json] = {**Stored.defaults, "autoCreateSubnetworks": True}

    def full_name(self, inputs: Json) -> str:
        return f"projects/{inputs['project']}/global/networks/{inputs['name']}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        yield from one_of(inputs, "routingMode", "REGIONAL", "GLOBAL")
        if inputs.get("autoCreateSubnetworks", True) is True:
            yield CheckFailure(
                "autoCreateSubnetworks",
                "the sandbox does not emulate networks that make their own subnetworks: set it to false.",
            )

    def computed(self, row: Json) -> Json:
        mode = {"routingMode": row["spec"].get("routingMode", "REGIONAL")}
        return {**super().computed(row), "gatewayIpv4": "", "networkId": "0", "numericId": "0", **mode}


class _Regional(_Compute):
    collection: ClassVar[str]

    def normal(self, inputs: Json) -> Json:
        region = {"region": self.settings.region} if self.settings.region else {}
        return super().normal({**region, **inputs})

    def full_name(self, inputs: Json) -> str:
        if "region" not in inputs:
            raise invalid(f"Error creating {self.kind}", "region: required field is not set")
        return f"projects/{inputs['project']}/regions/{inputs['region']}/{self.collection}/{inputs['name']}"


class Subnetwork(_Regional):
    """gcp:compute/subnetwork:Subnetwork."""

    kind = "gcp:compute/subnetwork:Subnetwork"
    store = "subnetwork"
    collection = "subnetworks"
    emulated = frozenset(
        {"description", "ipCidrRange", "network", "privateIpGoogleAccess", "region", "secondaryIpRanges"}
    )
    used_by: ClassVar = {"cluster": "subnetwork"}
    required = ("network", "ipCidrRange")
    # Widening ipCidrRange in place is not emulated: here any change of it replaces.
    force_new = ("name", "project", "region", "network", "description", "ipCidrRange")
    outputs = ("creationTimestamp", "gatewayAddress", "selfLink")

    def refuse(self, spec: Json) -> None:
        doing, own = "Error creating Subnetwork", self.full_name(spec)
        found: list[IPv4Network] = []
        for cidr in (part["ipCidrRange"] for part in [spec, *spec.get("secondaryIpRanges", [])]):
            try:
                network = IPv4Network(cidr)
            except ValueError as error:
                raise invalid(doing, f"Invalid value for field 'ipCidrRange': '{cidr}'. {error}") from None
            other = conflicting(self.cloud, spec["network"], network, own)
            if other or any(map(network.overlaps, found)):
                raise invalid(
                    doing, f"Invalid IPCidrRange: {cidr} conflicts with existing subnetwork '{other or own}'"
                )
            found.append(network)

    def computed(self, row: Json) -> Json:
        gateway = str(IPv4Network(row["spec"]["ipCidrRange"])[1])
        made = {"creationTimestamp": row["creationTimestamp"], "gatewayAddress": gateway}
        return {**super().computed(row), **made}


class Router(_Regional):
    """gcp:compute/router:Router."""

    kind = "gcp:compute/router:Router"
    store = "router"
    collection = "routers"
    emulated = frozenset({"description", "network", "region"})
    required = ("network",)
    force_new = ("name", "project", "region", "network")
    outputs = ("creationTimestamp", "selfLink")

    def computed(self, row: Json) -> Json:
        return {**super().computed(row), "creationTimestamp": row["creationTimestamp"]}


class RouterNat(_Regional):
    """gcp:compute/routerNat:RouterNat."""

    kind = "gcp:compute/routerNat:RouterNat"
    store = "routerNat"
    emulated = frozenset({"natIpAllocateOption", "region", "router", "sourceSubnetworkIpRangesToNat"})
    references: ClassVar = {"router": "router"}
    required = ("router", "sourceSubnetworkIpRangesToNat")
    force_new = ("name", "project", "region", "router")

    def canonical(self, key: str, inputs: Json) -> str:
        plain: str = inputs[key].rpartition("/")[2]
        return f"projects/{inputs.get('project')}/regions/{inputs.get('region')}/routers/{plain}"

    def full_name(self, inputs: Json) -> str:
        # The store takes what hangs below a router away with it, as Compute Engine does.
        return f"{inputs['router']}/{inputs['name']}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        yield from one_of(inputs, "natIpAllocateOption", "AUTO_ONLY")
        yield from one_of(
            inputs,
            "sourceSubnetworkIpRangesToNat",
            "ALL_SUBNETWORKS_ALL_IP_RANGES",
            "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES",
        )

    def computed(self, row: Json) -> Json:
        return {"router": row["spec"]["router"].rpartition("/")[2]}


class Firewall(_Compute):
    """gcp:compute/firewall:Firewall."""

    kind = "gcp:compute/firewall:Firewall"
    store = "firewall"
    emulated = frozenset(
        {"allows", "description", "direction", "disabled", "network", "priority", "sourceRanges"}
    )
    required = ("network",)
    force_new = ("name", "project", "network", "direction")
    computed_inputs = ("direction",)
    outputs = ("creationTimestamp", "selfLink")
    defaults: ClassVar[Json] = {**Stored.defaults, "direction": "INGRESS", "priority": 1000}

    def full_name(self, inputs: Json) -> str:
        return f"projects/{inputs['project']}/global/firewalls/{inputs['name']}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        yield from one_of(inputs, "direction", "INGRESS")
        if not inputs.get("allows"):
            yield CheckFailure("allows", "one of `allows,denies` must be specified")
        if not inputs.get("sourceRanges"):
            yield CheckFailure(
                "sourceRanges", "one of sourceTags, sourceRanges or sourceServiceAccounts is required"
            )

    def refuse(self, spec: Json) -> None:
        doing = "Error creating Firewall"
        for cidr in spec["sourceRanges"]:
            try:
                IPv4Network(cidr)
            except ValueError as error:
                raise invalid(
                    doing, f"Invalid value for field 'resource.sourceRanges': '{cidr}'. {error}"
                ) from None
        for port in (port for allow in spec["allows"] for port in allow.get("ports", [])):
            match = _PORTS.fullmatch(port)
            if not match or not int(match[1]) <= int(match[3] or match[1]) <= 65535:
                raise invalid(doing, f"Invalid value for field 'resource.allowed[0].ports[0]': '{port}'.")

    def computed(self, row: Json) -> Json:
        return {**super().computed(row), "creationTimestamp": row["creationTimestamp"]}
