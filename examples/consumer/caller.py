"""A workload that calls the gateway again and again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

IMAGE = "docker.io/curlimages/curl:8.14.1"
USER = 65534  # nobody; any user but root would do

# Each call reads the key from its file, where a rotated key appears; it is never on a command line.
SCRIPT = """\
while true; do
  printf 'header = "Authorization: Bearer %s"' "$(cat /key/key)" |
    curl --config - --silent --show-error --fail-with-body --max-time 60 --json "$REQUEST" "$URL" && touch /state/answered
  sleep "$EVERY"
done
"""


@dataclass(frozen=True, kw_only=True)
class CallerArgs:
    """Arguments of Caller.

    `cluster` and `key_store` are the gateway's outputs `cluster` and `virtualKeyStore`. `key_secret` is the
    virtual key's id in Secret Manager, `every` is in seconds.
    """

    namespace: pulumi.Input[str]
    gateway_url: pulumi.Input[str]
    model: pulumi.Input[str]
    cluster: pulumi.Output[Mapping[str, str]]
    key_store: pulumi.Output[Mapping[str, str]]
    key_secret: pulumi.Input[str]
    every: int


class Caller(pulumi.ComponentResource):
    """The virtual key from Secret Manager, and a Deployment that is ready while the gateway answers it.

    The store is the namespace's own. It reads as a service account of the namespace, to which the gateway's stack
    grants the keys that name the namespace among their `readers`, and nothing else.
    """

    deployment: kubernetes.apps.v1.Deployment

    def __init__(self, name: str, args: CallerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:consumer:Caller", name, None, opts)
        labels = {"app.kubernetes.io/name": name}

        reader = kubernetes.core.v1.ServiceAccount(
            f"{name}-key-reader",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=args.key_store.apply(lambda store: store["serviceAccount"]), namespace=args.namespace
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        store = kubernetes.apiextensions.CustomResource(
            f"{name}-store",
            api_version="external-secrets.io/v1",
            kind="SecretStore",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name="virtual-keys",
                namespace=args.namespace,
                annotations={"pulumi.com/waitFor": "condition=Ready"},
            ),
            spec={
                "provider": {
                    "gcpsm": {
                        "projectID": args.key_store.apply(lambda store: store["project"]),
                        "auth": {
                            "workloadIdentity": {
                                "clusterProjectID": args.cluster.apply(lambda cluster: cluster["project"]),
                                "clusterLocation": args.cluster.apply(lambda cluster: cluster["location"]),
                                "clusterName": args.cluster.apply(lambda cluster: cluster["name"]),
                                "serviceAccountRef": {"name": reader.metadata["name"]},
                            }
                        },
                    }
                }
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        key = kubernetes.apiextensions.CustomResource(
            f"{name}-key",
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=f"{name}-key",
                namespace=args.namespace,
                annotations={"pulumi.com/waitFor": "condition=Ready"},
            ),
            spec={
                "refreshInterval": "1m",
                "secretStoreRef": {"kind": "SecretStore", "name": "virtual-keys"},
                "target": {"name": f"{name}-key", "creationPolicy": "Owner"},
                "data": [{"secretKey": "key", "remoteRef": {"key": args.key_secret}}],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[store]),
        )
        request = pulumi.Output.from_input(args.model).apply(
            lambda model: json.dumps(
                {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Say hello."}]}
            )
        )
        environment = {
            "URL": pulumi.Output.format("{0}/v1/chat/completions", args.gateway_url),
            "REQUEST": request,
            "EVERY": str(args.every),
        }
        container = kubernetes.core.v1.ContainerArgs(
            name=name,
            image=IMAGE,
            command=["sh", "-c", SCRIPT],
            env=[
                kubernetes.core.v1.EnvVarArgs(name=name, value=value) for name, value in environment.items()
            ],
            volume_mounts=[
                kubernetes.core.v1.VolumeMountArgs(name="key", mount_path="/key", read_only=True),
                kubernetes.core.v1.VolumeMountArgs(name="state", mount_path="/state"),
            ],
            readiness_probe=kubernetes.core.v1.ProbeArgs(
                exec_=kubernetes.core.v1.ExecActionArgs(
                    command=["sh", "-c", 'test -n "$(find /state/answered -mmin -5)"']
                ),
                period_seconds=10,
            ),
            resources=kubernetes.core.v1.ResourceRequirementsArgs(
                requests={"cpu": "10m", "memory": "32Mi"}, limits={"memory": "32Mi"}
            ),
            security_context=kubernetes.core.v1.SecurityContextArgs(
                read_only_root_filesystem=True,
                allow_privilege_escalation=False,
                capabilities=kubernetes.core.v1.CapabilitiesArgs(drop=["ALL"]),
            ),
        )
        self.deployment = kubernetes.apps.v1.Deployment(
            f"{name}-deployment",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace, labels=labels),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels=labels),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=kubernetes.core.v1.PodSpecArgs(
                        automount_service_account_token=False,
                        termination_grace_period_seconds=1,
                        security_context=kubernetes.core.v1.PodSecurityContextArgs(
                            run_as_non_root=True,
                            run_as_user=USER,
                            run_as_group=USER,
                            seccomp_profile=kubernetes.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                        ),
                        containers=[container],
                        volumes=[
                            kubernetes.core.v1.VolumeArgs(
                                name="key",
                                secret=kubernetes.core.v1.SecretVolumeSourceArgs(secret_name=f"{name}-key"),
                            ),
                            kubernetes.core.v1.VolumeArgs(
                                name="state",
                                empty_dir=kubernetes.core.v1.EmptyDirVolumeSourceArgs(size_limit="1Mi"),
                            ),
                        ],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[key]
            ),  # the pod cannot start without the key's Secret
        )
        self.register_outputs({})
