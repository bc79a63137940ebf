"""A workload in a namespace of its own that calls the gateway and knows only the outputs of its stack."""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from caller import Caller, CallerArgs
from consumer_settings import load
from gateway import Gateway

stack = load()
gateway = Gateway(stack.gateway)

google = gcp.Provider("google", project=gateway.cluster.apply(lambda cluster: cluster["project"]))
gke = kubernetes.Provider(
    "gke",
    kubeconfig=gateway.kubeconfig(google),
    cluster_identifier=gateway.cluster.apply(
        lambda cluster: "projects/{project}/locations/{location}/clusters/{name}".format(**cluster)
    ),
)
namespace = kubernetes.core.v1.Namespace(
    "namespace",
    metadata=kubernetes.meta.v1.ObjectMetaArgs(
        name=stack.namespace, labels={"pod-security.kubernetes.io/enforce": "restricted"}
    ),
    opts=pulumi.ResourceOptions(provider=gke),
)
caller = Caller(
    "caller",
    CallerArgs(
        namespace=namespace.metadata.apply(lambda metadata: metadata.name or stack.namespace),
        gateway_url=gateway.url,
        model=gateway.model(stack.model),
        cluster=gateway.cluster,
        key_store=gateway.key_store,
        key_secret=gateway.virtual_key_secret(stack.virtual_key),
        every=stack.every_seconds,
    ),
    pulumi.ResourceOptions(providers=[gke]),
)

pulumi.export("namespace", stack.namespace)
pulumi.export("deployment", caller.deployment.metadata.apply(lambda metadata: metadata.name))
