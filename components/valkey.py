"""The Valkey that LiteLLM's replicas share their counts through."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.gateway_secrets import StoredSecret
from components.image_source import ImageSource
from components.pod_security import RESTRICTED
from components.secret_sync import SyncedSecret
from components.workload import named
from settings.litellm import REDIS_PASSWORD
from versions import VALKEY_IMAGE

SERVICE = "valkey"
SERVER = named("valkey")
PORT = 6379
USER = 999
"""The user `valkey` of the image."""


# The password comes by the standard input: what lists processes, on the node too, shows a process's arguments.
# Below the memory limit, the counts longest unused go, rather than the pod with all of them.
_START = f"""\
exec valkey-server --save '' --appendonly no --maxmemory 192mb --maxmemory-policy allkeys-lru - <<END
requirepass "${REDIS_PASSWORD}"
END
"""


@dataclass(frozen=True, kw_only=True)
class ValkeyArgs:
    """Arguments of Valkey.

    `password` is in Secret Manager, and `secret` holds it under REDIS_PASSWORD. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    password: StoredSecret
    secret: SyncedSecret
    images: ImageSource
    timeout: int


class Valkey(pulumi.ComponentResource):
    """One Valkey, in memory only: what it holds are counts of a minute or of a budget's period so far.

    Lost with its pod, they start anew; spend itself is in the database. Dependents wait for `ready`.
    """

    host: pulumi.Output[str]
    ready: pulumi.Resource

    def __init__(self, name: str, args: ValkeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:valkey:Valkey", name, None, opts)
        timeouts = pulumi.CustomTimeouts(create=f"{args.timeout}s", update=f"{args.timeout}s")
        labels = {**SERVER.labels, "app.kubernetes.io/instance": SERVICE}
        metadata = kubernetes.meta.v1.ObjectMetaArgs(name=SERVICE, namespace=args.namespace, labels=labels)

        server = kubernetes.apps.v1.Deployment(
            f"{name}-server",
            metadata=metadata,
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=1,
                # Two at once would each hold a part of the counts.
                strategy=kubernetes.apps.v1.DeploymentStrategyArgs(type="Recreate"),
                selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels=labels),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(
                        labels=labels,
                        # The pod reads its password when it starts: another one restarts it, as it does the proxies.
                        annotations={"llm-gateway/password-version": args.password.version},
                    ),
                    spec=kubernetes.core.v1.PodSpecArgs(
                        automount_service_account_token=False,
                        image_pull_secrets=args.images.references,
                        security_context=kubernetes.core.v1.PodSecurityContextArgs(
                            run_as_non_root=True, run_as_user=USER, run_as_group=USER
                        ),
                        containers=[_container(args)],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[args.secret.ready, *args.images.ready], custom_timeouts=timeouts
            ),
        )
        self.ready = kubernetes.core.v1.Service(
            f"{name}-service",
            metadata=metadata,
            spec=kubernetes.core.v1.ServiceSpecArgs(
                selector=labels,
                ports=[
                    kubernetes.core.v1.ServicePortArgs(name="valkey", port=PORT, target_port="valkey"),
                ],
            ),
            # There is a pod to lead to.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[server], custom_timeouts=timeouts),
        )
        self.host = pulumi.Output.format("{0}.{1}.svc.cluster.local", SERVICE, args.namespace)
        self.register_outputs({"host": self.host})


def _container(args: ValkeyArgs) -> kubernetes.core.v1.ContainerArgs:
    probe = kubernetes.core.v1.ProbeArgs(
        tcp_socket=kubernetes.core.v1.TCPSocketActionArgs(port="valkey"), period_seconds=5
    )
    return kubernetes.core.v1.ContainerArgs(
        name="valkey",
        image=str(args.images.at(VALKEY_IMAGE)),
        image_pull_policy="IfNotPresent",
        command=["sh", "-ec", _START],
        env=[
            kubernetes.core.v1.EnvVarArgs(
                name=REDIS_PASSWORD,
                value_from=kubernetes.core.v1.EnvVarSourceArgs(
                    secret_key_ref=kubernetes.core.v1.SecretKeySelectorArgs(
                        name=args.secret.name, key=REDIS_PASSWORD
                    )
                ),
            )
        ],
        ports=[kubernetes.core.v1.ContainerPortArgs(name="valkey", container_port=PORT)],
        readiness_probe=probe,
        liveness_probe=probe,
        resources=kubernetes.core.v1.ResourceRequirementsArgs(
            requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "256Mi"}
        ),
        security_context=RESTRICTED,
    )
