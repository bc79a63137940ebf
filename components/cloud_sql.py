"""The Cloud SQL Auth Proxy, by which LiteLLM reaches a database in Cloud SQL (docs/decisions/existing-services.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components.cluster import ClusterHandle
from components.image_source import ImageSource
from components.pod_security import RESTRICTED
from components.workload import named
from settings.cloud_sql import CloudSql
from versions import CLOUD_SQL_PROXY_IMAGE

NAME = "cloud-sql-proxy"
CONNECTOR = named(NAME)
PORT = 5432
INSTANCE_PORT = 3307
"""At which an instance answers connectors, https://cloud.google.com/sql/docs/postgres/sql-proxy."""
HEALTH_PORT = 9090
USER = 65532
"""The user `nonroot` of the image."""
ACTS_AS = "iam.gke.io/gcp-service-account"
"""Annotation by which GKE's metadata server gives a pod the token of a Google service account."""
ROLE = "roles/iam.workloadIdentityUser"
_DRAIN_SECONDS = 30


def connector_account(cluster: ClusterHandle) -> pulumi.Output[str]:
    """Its Kubernetes service account, named after the cluster: IAM knows those of a project's clusters by name alone."""
    return pulumi.Output.format("{0}-{1}-{2}", NAME, cluster.location, cluster.name)


@dataclass(frozen=True, kw_only=True)
class CloudSqlProxyArgs:
    """Arguments of CloudSqlProxy.

    `account` is its Kubernetes service account, and `member` the IAM member that it is. `variables` name the proxies on
    the way out. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    account: pulumi.Input[str]
    member: pulumi.Input[str]
    cloud_sql: CloudSql
    replicas: int
    variables: Mapping[str, pulumi.Input[str]]
    images: ImageSource
    timeout: int


class CloudSqlProxy(pulumi.ComponentResource):
    """Pods that act as the instance's Google service account, and a Service to them. Dependents wait for `ready`."""

    host: pulumi.Output[str]
    ready: pulumi.Resource

    def __init__(
        self, name: str, args: CloudSqlProxyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:cloud_sql:CloudSqlProxy", name, None, opts)
        timeouts = pulumi.CustomTimeouts(create=f"{args.timeout}s", update=f"{args.timeout}s")
        labels = {**CONNECTOR.labels, "app.kubernetes.io/instance": NAME}
        metadata = kubernetes.meta.v1.ObjectMetaArgs(name=NAME, namespace=args.namespace, labels=labels)
        selector = kubernetes.meta.v1.LabelSelectorArgs(match_labels=labels)
        owner = args.cloud_sql.service_account

        granted = gcp.serviceaccount.IAMMember(
            f"{name}-acts-as",
            service_account_id=f"projects/{args.cloud_sql.account_project}/serviceAccounts/{owner}",
            role=ROLE,
            member=args.member,
            opts=pulumi.ResourceOptions(parent=self),
        )
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=args.account, namespace=args.namespace, annotations={ACTS_AS: owner}
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        if args.replicas > 1:
            kubernetes.policy.v1.PodDisruptionBudget(
                f"{name}-disruptions",
                metadata=metadata,
                spec=kubernetes.policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=selector),
                opts=pulumi.ResourceOptions(parent=self),
            )
        pods = kubernetes.apps.v1.Deployment(
            f"{name}-pods",
            metadata=metadata,
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                # A new grant takes Google minutes, and a pod ends until it is in force.
                progress_deadline_seconds=args.timeout,
                strategy=kubernetes.apps.v1.DeploymentStrategyArgs(
                    type="RollingUpdate",
                    rolling_update=kubernetes.apps.v1.RollingUpdateDeploymentArgs(
                        max_surge=1, max_unavailable=0
                    ),
                ),
                selector=selector,
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=kubernetes.core.v1.PodSpecArgs(
                        service_account_name=account.metadata.name,
                        automount_service_account_token=False,
                        image_pull_secrets=args.images.references,
                        security_context=kubernetes.core.v1.PodSecurityContextArgs(
                            run_as_non_root=True, run_as_user=USER, run_as_group=USER
                        ),
                        termination_grace_period_seconds=_DRAIN_SECONDS + 15,
                        topology_spread_constraints=[
                            kubernetes.core.v1.TopologySpreadConstraintArgs(
                                max_skew=1,
                                topology_key="kubernetes.io/hostname",
                                when_unsatisfiable="ScheduleAnyway",
                                label_selector=selector,
                            )
                        ]
                        if args.replicas > 1
                        else None,
                        containers=[_container(args)],
                    ),
                ),
            ),
            # Without the grant it would start as nobody, and end at once.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[granted, *args.images.ready], custom_timeouts=timeouts
            ),
        )
        self.ready = kubernetes.core.v1.Service(
            f"{name}-service",
            metadata=metadata,
            spec=kubernetes.core.v1.ServiceSpecArgs(
                selector=labels,
                ports=[
                    kubernetes.core.v1.ServicePortArgs(name="postgres", port=PORT, target_port="postgres")
                ],
            ),
            # There is a pod to lead to, and it has reached the instance.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[pods], custom_timeouts=timeouts),
        )
        self.host = pulumi.Output.format("{0}.{1}.svc.cluster.local", NAME, args.namespace)
        self.register_outputs({"host": self.host})


def _container(args: CloudSqlProxyArgs) -> kubernetes.core.v1.ContainerArgs:
    def probe(path: str, period: int, failures: int = 3) -> kubernetes.core.v1.ProbeArgs:
        return kubernetes.core.v1.ProbeArgs(
            http_get=kubernetes.core.v1.HTTPGetActionArgs(path=path, port="health"),
            period_seconds=period,
            failure_threshold=failures,
        )

    return kubernetes.core.v1.ContainerArgs(
        name=NAME,
        image=str(args.images.at(CLOUD_SQL_PROXY_IMAGE)),
        image_pull_policy="IfNotPresent",
        args=[
            "--address=0.0.0.0",
            f"--port={PORT}",
            "--structured-logs",
            "--health-check",
            "--http-address=0.0.0.0",
            f"--http-port={HEALTH_PORT}",
            f"--max-sigterm-delay={_DRAIN_SECONDS}s",
            # It ends, and says why, where it may not or cannot reach the instance; LiteLLM would only say that it cannot.
            "--run-connection-test",
            *(["--private-ip"] if args.cloud_sql.private_ip else []),
            *(["--auto-iam-authn"] if args.cloud_sql.iam else []),
            args.cloud_sql.instance,
        ],
        env=[kubernetes.core.v1.EnvVarArgs(name=name, value=value) for name, value in args.variables.items()]
        or None,
        ports=[
            kubernetes.core.v1.ContainerPortArgs(name="postgres", container_port=PORT),
            kubernetes.core.v1.ContainerPortArgs(name="health", container_port=HEALTH_PORT),
        ],
        # What it said last is then in the pod's status.
        termination_message_policy="FallbackToLogsOnError",
        startup_probe=probe("/startup", 1, 60),
        readiness_probe=probe("/readiness", 5),
        liveness_probe=probe("/liveness", 20),
        resources=kubernetes.core.v1.ResourceRequirementsArgs(
            requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "256Mi"}
        ),
        security_context=RESTRICTED,
    )
