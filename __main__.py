"""The program: load the settings, make the providers and the gateway, export its outputs."""

import signal

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

import outputs
import settings
from components.cluster import kubernetes_provider, lookup_cluster
from components.llm_gateway import LlmGateway, LlmGatewayArgs

if __name__ == "__main__":
    # So Pulumi ends a program once an `up` has failed or was interrupted; Python would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

stack = settings.load()

google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack, google)
gke = kubernetes_provider("gke", cluster)
random_provider = random.Provider("random")

gateway = LlmGateway(
    "gateway",
    LlmGatewayArgs(settings=stack, cluster=cluster),
    pulumi.ResourceOptions(providers=[google, gke, random_provider]),
)
outputs.export(gateway.outputs)
