"""The cluster's network: a subnet for nodes, pods and Services, and Cloud NAT for the private nodes."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from cluster_settings import Settings

PODS = "pods"
SERVICES = "services"


class Vpc(pulumi.ComponentResource):
    """A network with one subnet, and Cloud NAT, through which nodes pull images and model weights."""

    network: gcp.compute.Network
    subnet: gcp.compute.Subnetwork
    nat: gcp.compute.RouterNat

    def __init__(
        self, name: str, project: pulumi.Input[str], settings: Settings, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("llmgateway:cluster:Vpc", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        self.network = gcp.compute.Network(
            f"{name}-network",
            name=settings.name,
            project=project,
            auto_create_subnetworks=False,
            opts=child,
        )
        self.subnet = gcp.compute.Subnetwork(
            f"{name}-subnet",
            name=f"{settings.name}-nodes",
            project=project,
            region=settings.region,
            network=self.network.id,
            ip_cidr_range=str(settings.ranges.nodes),
            secondary_ip_ranges=[
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name=name, ip_cidr_range=str(cidr))
                for name, cidr in ((PODS, settings.ranges.pods), (SERVICES, settings.ranges.services))
            ],
            private_ip_google_access=True,
            opts=child,
        )
        router = gcp.compute.Router(
            f"{name}-router",
            name=settings.name,
            project=project,
            region=settings.region,
            network=self.network.id,
            opts=child,
        )
        self.nat = gcp.compute.RouterNat(
            f"{name}-nat",
            name=settings.name,
            project=project,
            region=settings.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            opts=child,
        )
        self.register_outputs({})
