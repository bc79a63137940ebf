"""The private cluster and its CPU nodes."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from cluster_settings import Settings
from vpc import PODS, SERVICES, Vpc

NODE_ROLE = "roles/container.defaultNodeServiceAccount"
"""The rights that GKE's own agents on a node need:
https://docs.cloud.google.com/kubernetes-engine/security/configure-node-service-accounts."""
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


class Gke(pulumi.ComponentResource):
    """A regional cluster whose nodes have no public addresses, with Workload Identity and Dataplane V2."""

    cluster: gcp.container.Cluster
    node_service_account: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        project: pulumi.Input[str],
        settings: Settings,
        vpc: Vpc,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("llmgateway:cluster:Gke", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        account = gcp.serviceaccount.Account(
            f"{name}-node-account",
            project=project,
            account_id=f"{settings.name[:24].rstrip('-')}-nodes",
            display_name=f"Nodes of the GKE cluster {settings.name}",
            opts=child,
        )
        self.node_service_account = account.email
        role = gcp.projects.IAMMember(
            f"{name}-node-role", project=project, role=NODE_ROLE, member=account.member, opts=child
        )
        self.cluster = gcp.container.Cluster(
            f"{name}-cluster",
            name=settings.name,
            project=project,
            location=settings.region,
            network=vpc.network.id,
            subnetwork=vpc.subnet.id,
            ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name=PODS, services_secondary_range_name=SERVICES
            ),
            private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=True,
                enable_private_endpoint=False,
                master_ipv4_cidr_block=str(settings.ranges.control_plane),
            ),
            master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
                cidr_blocks=[
                    gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(
                        display_name=network.name, cidr_block=str(network.cidr)
                    )
                    for network in settings.authorized_networks
                ]
            ),
            workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(
                workload_pool=f"{settings.gcp.project}.svc.id.goog"
            ),
            release_channel=gcp.container.ClusterReleaseChannelArgs(channel="REGULAR"),
            datapath_provider="ADVANCED_DATAPATH",  # enforces NetworkPolicies
            # GKE makes a first pool with every cluster; it uses this account, too, and is deleted at once.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=gcp.container.ClusterNodeConfigArgs(
                service_account=account.email, oauth_scopes=SCOPES
            ),
            deletion_protection=settings.deletion_protection,
            opts=pulumi.ResourceOptions(
                parent=self,
                # The engine refuses a destroy before the nodes are deleted, Google only afterwards.
                protect=settings.deletion_protection,
                depends_on=[role],  # GKE's agents on the nodes need it from the start
                # Google returns another pool's nodeConfig, and a changed one would replace the cluster.
                ignore_changes=["nodeConfig", "initialNodeCount"],
            ),
        )
        gcp.container.NodePool(
            f"{name}-nodes",
            name="cpu",
            project=project,
            location=settings.region,
            cluster=self.cluster.name,
            node_locations=settings.zones or None,
            initial_node_count=1,  # per zone
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=settings.nodes.min_count,
                total_max_node_count=settings.nodes.max_count,
                location_policy="BALANCED",
            ),
            management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type=settings.nodes.machine_type,
                image_type="COS_CONTAINERD",
                service_account=account.email,
                oauth_scopes=SCOPES,
                metadata={"disable-legacy-endpoints": "true"},
                shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
                    enable_secure_boot=True
                ),
                workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(
                    mode="GKE_METADATA"
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[vpc.nat],  # pods pull images as soon as there are nodes
                ignore_changes=["initialNodeCount", "nodeCount"],  # the autoscaler sets these
            ),
        )
        gcp.compute.Firewall(
            f"{name}-webhooks",
            name=f"{settings.name}-webhooks",
            project=project,
            network=vpc.network.id,
            direction="INGRESS",
            source_ranges=[self.cluster.private_cluster_config.master_ipv4_cidr_block],
            allows=[
                gcp.compute.FirewallAllowArgs(
                    protocol="tcp", ports=[str(port) for port in settings.webhook_ports]
                )
            ],
            opts=child,
        )
        self.register_outputs({})
