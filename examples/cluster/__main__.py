"""A private GKE cluster for the gateway, whose setting `cluster.stack` reads this stack's outputs."""

import pulumi
import pulumi_gcp as gcp

from cluster_settings import load
from gke import Gke
from vpc import Vpc

APIS = ("cloudresourcemanager", "compute", "container", "iam", "iamcredentials", "secretmanager")

stack = load()

google = gcp.Provider("google", project=stack.gcp.project)
apis = [
    gcp.projects.Service(
        f"api-{name}",
        project=stack.gcp.project,
        service=f"{name}.googleapis.com",
        disable_on_destroy=False,  # others in the project may use it
        opts=pulumi.ResourceOptions(provider=google),
    )
    for name in APIS
]
# From here on, what uses `project` is created after the APIs are enabled; URNs are known in a preview, too.
project = pulumi.Output.all(*(api.urn for api in apis)).apply(lambda _: stack.gcp.project)
with_providers = pulumi.ResourceOptions(providers=[google])

vpc = Vpc("vpc", project, stack, with_providers)
gke = Gke("gke", project, stack, vpc, with_providers)

pulumi.export("clusterName", gke.cluster.name)
pulumi.export("clusterLocation", gke.cluster.location)
pulumi.export("clusterProject", project)
pulumi.export("nodeServiceAccount", gke.node_service_account)
