"""GKE: Cluster on the emulated cloud. Its control plane is the sandbox's own, so there is one, and only once.

What it does not do: Autopilot, zonal clusters, routes-based networks, default pools (they are to be removed,
and never appear), private endpoints, add-ons, maintenance windows, versions; each is refused by name.
Authorized networks are stored: the sandbox's API server is reached from this machine only. A deleted
cluster's objects stay in the control plane, so that no second one can be made in the same sandbox. Behaviour
and wording: hashicorp/terraform-provider-google, google/services/container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from typing import ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.cluster.base_objects import zones_of
from sandbox.errors import SandboxError
from sandbox.google.cloud import CloudError
from sandbox.google.network import conflicting
from sandbox.google.resource import Json, Made, at, invalid, not_emulated, one_of
from sandbox.google.stored import Stored

_DOING = "Error creating Cluster"
_NESTED = {
    "ipAllocationPolicy": {"clusterSecondaryRangeName", "servicesSecondaryRangeName"},
    "nodeConfig": {"oauthScopes", "serviceAccount"},
    "privateClusterConfig": {"enablePrivateEndpoint", "enablePrivateNodes", "masterIpv4CidrBlock"},
}


def check_name(inputs: Json) -> Iterator[CheckFailure]:
    """A failure for a name that GKE does not let a cluster or a node pool have."""
    name = inputs.get("name")
    if isinstance(name, str) and not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name):
        yield CheckFailure(
            "name", f"{name!r} must be lowercase letters, digits and hyphens, at most 40 of them"
        )


class Cluster(Stored):
    """gcp:container/cluster:Cluster."""

    kind = "gcp:container/cluster:Cluster"
    api = "container"
    store = "cluster"
    emulated = frozenset(
        {
            "datapathProvider",
            "deletionProtection",
            "description",
            "initialNodeCount",
            "location",
            "masterAuthorizedNetworksConfig",
            "network",
            "networkingMode",
            "releaseChannel",
            "removeDefaultNodePool",
            "resourceLabels",
            "subnetwork",
            "workloadIdentityConfig",
            *_NESTED,
        }
    )
    references: ClassVar = {"network": "network", "subnetwork": "subnetwork"}
    required = (
        "network",
        "subnetwork",
        "ipAllocationPolicy",
        "privateClusterConfig",
        "workloadIdentityConfig",
    )
    force_new = (
        "datapathProvider",
        "description",
        "initialNodeCount",
        "ipAllocationPolicy",
        "location",
        "name",
        "network",
        "networkingMode",
        "nodeConfig",
        "privateClusterConfig",
        "project",
        "subnetwork",
    )
    computed_inputs = ("datapathProvider", "networkingMode", "nodeConfig", "releaseChannel")
    outputs = ("endpoint", "masterAuth", "nodeLocations", "selfLink", "servicesIpv4Cidr")
    defaults: ClassVar[Json] = {**Stored.defaults, "deletionProtection": True}
    auto_named = True

    def latency(self, inputs: Json) -> str | None:
        return "cluster"

    def full_name(self, inputs: Json) -> str:
        return f"projects/{inputs['project']}/locations/{inputs['location']}/clusters/{inputs['name']}"

    def canonical(self, key: str, inputs: Json) -> str:
        plain = super().canonical(key, inputs)
        if "/" in plain:
            return plain
        where = "global/networks" if key == "network" else f"regions/{inputs.get('location')}/subnetworks"
        return f"projects/{inputs.get('project')}/{where}/{plain}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        for section, known in _NESTED.items():
            given = inputs.get(section)
            names = given.keys() - known if isinstance(given, dict) else ()
            yield from not_emulated(self.kind, inputs, *(f"{section}.{name}" for name in sorted(names)))
        yield from check_name(inputs)
        yield from one_of(inputs, "datapathProvider", "LEGACY_DATAPATH", "ADVANCED_DATAPATH")
        yield from one_of(inputs, "networkingMode", "VPC_NATIVE")
        yield from one_of(
            inputs, "releaseChannel.channel", "UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"
        )
        if inputs.get("removeDefaultNodePool") is not True:
            yield CheckFailure(
                "removeDefaultNodePool", "the sandbox does not emulate default pools: set it to true."
            )
        if at(inputs, "privateClusterConfig.enablePrivateEndpoint") is True:
            yield from not_emulated(self.kind, inputs, "privateClusterConfig.enablePrivateEndpoint")

    def refuse(self, spec: Json) -> None:
        if not spec.get("initialNodeCount"):
            raise invalid(_DOING, "Cluster.initial_node_count must be greater than zero")
        pool = f"{spec['project']}.svc.id.goog"
        if at(spec, "workloadIdentityConfig.workloadPool") != pool:
            raise invalid(_DOING, f'Currently the only supported Identity Workload Pool is "{pool}"')
        subnet = self.cloud.get("subnetwork", spec["subnetwork"])["spec"]
        if subnet["network"] != spec["network"] or spec["location"] != subnet["region"]:
            raise invalid(
                _DOING,
                f"Subnetwork {spec['subnetwork']!r} is not in {spec['network']!r} in {spec['location']}",
            )
        names = {secondary["rangeName"] for secondary in subnet.get("secondaryIpRanges", [])}
        for key in ("clusterSecondaryRangeName", "servicesSecondaryRangeName"):
            wanted = spec["ipAllocationPolicy"].get(key)
            if wanted not in names:
                raise invalid(
                    _DOING, f'secondary range "{wanted}" does not exist in subnetwork {spec["subnetwork"]!r}'
                )
        private = spec["privateClusterConfig"]
        if private.get("enablePrivateNodes"):
            self._refuse_block(spec, private.get("masterIpv4CidrBlock", ""))

    def _refuse_block(self, spec: Json, block: str) -> None:
        try:
            network = IPv4Network(block)
        except ValueError as error:
            raise invalid(_DOING, f"Invalid master_ipv4_cidr_block {block!r}: {error}") from None
        if network.prefixlen != 28:
            raise invalid(_DOING, f"The private master IP range {block} must be a /28")
        if other := conflicting(self.cloud, spec["network"], network):
            raise invalid(_DOING, f"The master IP range {block} overlaps subnetwork '{other}'")

    def create(self, inputs: Json, timeout: float) -> Made:
        used = self.cloud.get("controlPlane", "sandbox").get("cluster")
        held = [row["name"] for row in self.cloud.list("cluster")] + ([used] if used else [])
        if held:
            raise SandboxError(
                f"this sandbox has one control plane, and {held[0]} has it, or had: choose a new folder with "
                "`python -m sandbox ... --home` for another cluster."
            )
        made = super().create(inputs, timeout)
        self.cloud.change("controlPlane", "sandbox", cluster=made.id)
        return made

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        with suppress(CloudError):
            if "spec" not in self.cloud.get(self.store, resource_id):
                raise SandboxError(
                    f"{resource_id} was there before any stack; the sandbox emulates it for lookups, not for an import."
                )
        return super().read(resource_id, inputs)

    def delete(self, resource_id: str, state: Json) -> None:
        if state.get("deletionProtection"):
            raise SandboxError(
                "cannot destroy cluster without setting deletionProtection=false and running `pulumi up`"
            )
        super().delete(resource_id, state)

    def row(self, spec: Json) -> Json:
        plane = self.cloud.get("controlPlane", "sandbox")
        subnet = self.cloud.get("subnetwork", spec["subnetwork"])["spec"]
        wanted = spec["ipAllocationPolicy"]["servicesSecondaryRangeName"]
        services = next(found for found in subnet["secondaryIpRanges"] if found["rangeName"] == wanted)
        return {
            **super().row(spec),
            "location": spec["location"],
            "clusterName": spec["name"],
            "endpoint": plane["endpoint"],
            "caCertificate": plane["caCertificate"],
            "services": services["ipCidrRange"],
        }

    def computed(self, row: Json) -> Json:
        return {
            "endpoint": row["endpoint"],
            "masterAuth": {"clusterCaCertificate": row["caCertificate"]},
            "nodeLocations": zones_of(row["spec"]["location"]),
            "selfLink": f"https://container.googleapis.com/v1/{row['name']}",
            "servicesIpv4Cidr": row["services"],
        }
