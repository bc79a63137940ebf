"""LiteLLM's database."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from settings.data import Postgres
from versions import POSTGRES_IMAGE

CLUSTER = "litellm-pg"
DATABASE = "litellm"


@dataclass(frozen=True, kw_only=True)
class PostgresClusterArgs:
    """Arguments of PostgresCluster.

    `operator_ready` says that the operator's webhook answers, `credentials_synced` that the basic-auth Secret
    `credentials` of `owner` is in the cluster. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    owner: str
    credentials: str
    credentials_synced: pulumi.Resource
    operator_ready: pulumi.Resource
    postgres: Postgres
    timeout: int


class PostgresCluster(pulumi.ComponentResource):
    """A CloudNativePG Cluster, waited for until healthy. Dependents wait for `cluster`."""

    cluster: kubernetes.apiextensions.CustomResource
    host: pulumi.Output[str]
    """Host name of the primary inside the cluster, port 5432."""
    database: str

    def __init__(
        self, name: str, args: PostgresClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:postgres_cluster:PostgresCluster", name, None, opts)
        timeout = f"{args.timeout}s"

        self.cluster = kubernetes.apiextensions.CustomResource(
            f"{name}-cluster",
            api_version="postgresql.cnpg.io/v1",
            kind="Cluster",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=CLUSTER,
                namespace=args.namespace,
                annotations={"pulumi.com/waitFor": "condition=Ready"},
            ),
            spec={
                "instances": args.postgres.instances,
                "imageName": str(POSTGRES_IMAGE),
                "bootstrap": {
                    "initdb": {
                        "database": DATABASE,
                        "owner": args.owner,
                        "secret": {"name": args.credentials},
                    }
                },
                "storage": {
                    "size": args.postgres.storage_size,
                    "storageClass": args.postgres.storage_class,
                },
                "resources": {
                    "requests": {"cpu": args.postgres.cpu, "memory": args.postgres.memory},
                    "limits": {"memory": args.postgres.memory},
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.operator_ready, args.credentials_synced],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            ),
        )
        self.host = pulumi.Output.format("{0}-rw.{1}.svc.cluster.local", CLUSTER, args.namespace)
        self.database = DATABASE
        self.register_outputs({"host": self.host})
