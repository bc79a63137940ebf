"""The program: load the settings, make the providers and the gateway, export its outputs."""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import outputs
import settings
from components.cluster import lookup_cluster
from components.llm_gateway import LlmGateway, LlmGatewayArgs

stack = settings.load()

google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack.cluster, stack.gcp.project, google)
gke = kubernetes.Provider(
    "gke",
    kubeconfig=cluster.kubeconfig,
    cluster_identifier=cluster.id,
    upsert_existing_objects=stack.recover,
    # A lost state takes the name of its field managers with it: what they set could never be changed again.
    enable_patch_force=True,
)
random_provider = random.Provider("random")

gateway = LlmGateway(
    "gateway",
    LlmGatewayArgs(settings=stack, cluster=cluster),
    pulumi.ResourceOptions(providers=[google, gke, random_provider]),
)
outputs.export(gateway.outputs)
