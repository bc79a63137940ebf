"""The gateway in a program that makes its clients' namespaces, too; their pods reach the gateway alone."""

import signal
import sys
from pathlib import Path

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

sys.path.append(str(Path(__file__).parents[2]))  # the gateway's repository
import settings
from components.cluster import kubernetes_provider, lookup_cluster
from components.litellm import PORT, PROXY
from components.llm_gateway import LlmGateway, LlmGatewayArgs

if __name__ == "__main__":
    # So Pulumi ends a program once an `up` has failed or was interrupted; Python would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

stack = settings.load()
google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack, google)
gke = kubernetes_provider("gke", cluster)
gateway = LlmGateway(
    "llm",
    LlmGatewayArgs(settings=stack, cluster=cluster),
    pulumi.ResourceOptions(providers=[google, gke, random.Provider("random")]),
)

for name in stack.network.client_namespaces:
    namespace = kubernetes.core.v1.Namespace(
        name,
        metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        opts=pulumi.ResourceOptions(provider=gke),
    )
    in_gateway = {"kubernetes.io/metadata.name": gateway.outputs.namespaces["gateway"]}
    kubernetes.networking.v1.NetworkPolicy(
        f"{name}-calls-the-gateway",
        metadata={"name": "calls-the-gateway", "namespace": namespace.metadata["name"]},
        spec={
            "pod_selector": {},
            "policy_types": ["Ingress", "Egress"],
            "egress": [
                {
                    "to": [
                        {
                            "namespace_selector": {"match_labels": in_gateway},
                            "pod_selector": {"match_labels": PROXY.labels},
                        }
                    ],
                    "ports": [{"port": PORT, "protocol": "TCP"}],
                },
                {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            ],
        },
        opts=pulumi.ResourceOptions(provider=gke),
    )

pulumi.export("gatewayUrl", gateway.outputs.gateway_url)
