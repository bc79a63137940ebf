"""The program: load the settings, make the providers and the gateway, export its outputs."""

import signal

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import outputs
import settings
from components.cluster import lookup_cluster
from components.llm_gateway import LlmGateway, LlmGatewayArgs

if __name__ == "__main__":
    # So Pulumi ends a program once an `up` has failed or was interrupted; Python would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

stack = settings.load()

google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack, google)
gke = kubernetes.Provider(
    "gke",
    kubeconfig=cluster.kubeconfig,
    cluster_identifier=cluster.id,
    # Creates by server-side apply, so that a preview knows from the first update on what a dropped field leads to.
    # What a create may find there is looked at before: components/ownership.py.
    upsert_existing_objects=True,
    enable_patch_force=True,
)
random_provider = random.Provider("random")

gateway = LlmGateway(
    "gateway",
    LlmGatewayArgs(settings=stack, cluster=cluster),
    pulumi.ResourceOptions(providers=[google, gke, random_provider]),
)
outputs.export(gateway.outputs)
