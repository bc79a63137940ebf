"""LiteLLM's database where it exists: nothing of it is made, changed or deleted here."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.cloud_sql import CloudSqlProxy
from components.postgres_cluster import Database
from components.salt_gate import EXISTING, SALT
from components.secret_sync import SyncedSecret
from settings.postgres import Existing


@dataclass(frozen=True, kw_only=True)
class ExistingDatabaseArgs:
    """Arguments of ExistingDatabase.

    `credentials` is a basic-auth Secret, with which LiteLLM logs in. `salt` is the name and version of what encrypts
    the credentials that LiteLLM stores. `connector` leads to it, where it is in Cloud SQL.
    """

    namespace: pulumi.Input[str]
    credentials: SyncedSecret
    salt: pulumi.Input[str]
    existing: Existing
    connector: CloudSqlProxy | None


class ExistingDatabase(pulumi.ComponentResource):
    """Where the database is, and which salt its credentials are encrypted with: of both it says nothing itself."""

    database: Database

    def __init__(
        self, name: str, args: ExistingDatabaseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:existing_database:ExistingDatabase", name, None, opts)
        existing, connector = args.existing, args.connector
        known = kubernetes.core.v1.ConfigMap(
            f"{name}-known",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=EXISTING,
                namespace=args.namespace,
                # Annotations, not data: changed data would replace the ConfigMap.
                annotations={
                    SALT: args.salt,
                    "llm-gateway/database": existing.place,
                },
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.credentials.ready, *([connector.ready] if connector else [])],
            ),
        )
        host = connector.host if connector else pulumi.Output.from_input(str(existing.host))
        self.database = Database(
            host=host,
            name=existing.database,
            credentials=args.credentials,
            ready=known,
            existing=existing,
        )
        self.register_outputs({"host": host})
