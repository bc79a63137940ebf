"""The gateway: what it is made of, and what waits for what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pulumi

import versions
from components import (
    cluster_wide,
    egress,
    existing_namespaces,
    fixed_settings,
    ownership,
    recovery,
    served,
    unmovable,
)
from components.backup_store import BackupStore, BackupStoreArgs
from components.barman_plugin import BarmanPlugin, BarmanPluginArgs
from components.cloud_sql import CloudSqlProxy, CloudSqlProxyArgs, connector_account
from components.cluster import ClusterHandle
from components.existing_database import ExistingDatabase, ExistingDatabaseArgs
from components.gateway_secrets import KEY_READER, GatewaySecrets, GatewaySecretsArgs
from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.image_source import ImageSource
from components.litellm import LiteLLM, LiteLLMArgs, proxy_account
from components.namespaces import Namespaces, NamespacesArgs
from components.operators import (
    CertManager,
    CnpgOperator,
    ExternalSecretsOperator,
    OperatorArgs,
)
from components.owner import owner_label, owner_of
from components.postgres_cluster import PostgresCluster, PostgresClusterArgs
from components.secret_sync import SecretSync, SecretSyncArgs, SyncedSecret, reader_account
from components.tenants import Tenants, TenantsArgs
from components.valkey import Valkey, ValkeyArgs
from components.vllm import Vllm, VllmArgs, engine_account
from outputs import Outputs
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class LlmGatewayArgs:
    """Arguments of LlmGateway: the settings as `settings.load` reads them, the cluster as `lookup_cluster` does."""

    settings: Settings
    cluster: ClusterHandle


class LlmGateway(pulumi.ComponentResource):
    """An OpenAI-compatible gateway on a GKE cluster.

    `opts` hands over its providers: gcp, kubernetes (for the cluster) and random. A program may hold several gateways. Those
    of one project or one cluster have names of their own by their settings (docs/shared-cluster.md). The component's name is
    part of the mark on what it makes (components/owner.py).

    The graph is read from the arguments: one that is a handle (a namespace's name, a synced Secret,
    `cnpg.ready`) is an edge, and the comment beside it says which fact the component waits for.
    """

    outputs: Outputs
    """What other programs build on; none of it is secret."""

    def __init__(self, name: str, args: LlmGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        owner = owner_of(settings, name)
        whose = (name, owner, args.cluster, settings.recover)
        looked_at = [ownership.marked(*whose), cluster_wide.looked_at(*whose)]
        if settings.recover:
            looked_at.append(recovery.only_what_is_lost(name, recovery.exported()))
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(transformations=looked_at))
        super().__init__("llmgateway:llm_gateway:LlmGateway", name, None, opts)
        charts, timeouts, protect = settings.charts, settings.timeouts, settings.protect
        backups = settings.postgres.backups
        child = pulumi.ResourceOptions(parent=self)

        # What is renamed is made anew.
        fixed = {
            part: keys
            for part, keys in (
                ("settings", unmovable.of_every_part(settings, args.cluster)),
                ("cert-manager", unmovable.of_backups(settings)),
            )
            if keys
        }

        @cache
        def unmoved() -> pulumi.Output[Any]:
            early = "no `up` of this stack came as far as its operators"
            return pulumi.Output.all(
                served.served(args.cluster, served.needed(settings)),
                existing_namespaces.looked_at(args.cluster, settings.namespaces),
                *(
                    fixed_settings.fix(f"{name}-fixed-{part}", keys, self, free_if=early)
                    for part, keys in fixed.items()
                ),
            )

        # It refuses what would make a second salt before anything is registered.
        secrets = GatewaySecrets(
            f"{name}-secrets",
            GatewaySecretsArgs(
                settings=settings,
                gateway=name,
                project=lambda: unmoved().apply(lambda _: settings.gcp.project),
                cluster=args.cluster,
                reader=args.cluster.member(
                    settings.namespaces.external_secrets
                    if settings.operators.external_secrets.install
                    else settings.namespaces.gateway,
                    reader_account(args.cluster),
                ),
            ),
            child,
        )
        cluster = args.cluster.once(unmoved())
        namespaces = Namespaces(
            f"{name}-namespaces",
            NamespacesArgs(settings=settings, unmoved=unmoved(), service_addresses=cluster.service_addresses),
            child,
        )

        def operator(namespace: pulumi.Output[str] | None, login: SyncedSecret | None = None) -> OperatorArgs:
            """Of an operator in this namespace of the stack's, or of one that the cluster has."""
            return OperatorArgs(
                namespace=namespace or namespaces.gateway,
                install=namespace is not None,
                cluster=cluster,
                charts=charts,
                images=ImageSource(images=settings.images, login=login),
                egress=settings.egress,
                timeout=timeouts.operator,
            )

        # It brings the login to the images' registries, and so has none itself.
        external_secrets = ExternalSecretsOperator(
            f"{name}-external-secrets", operator(namespaces.external_secrets), child
        )
        synced = SecretSync(
            f"{name}-secret-sync",
            SecretSyncArgs(
                settings=settings,
                cluster=cluster,
                gateway=namespaces.gateway,
                serving=namespaces.serving,
                operators={
                    part: namespace
                    for part, namespace in (
                        ("cnpg", namespaces.cnpg),
                        ("cert-manager", namespaces.cert_manager),
                    )
                    if namespace
                },
                reader=namespaces.external_secrets or namespaces.gateway,
                secrets=secrets,  # versions exist, IAM in force
                operator_ready=external_secrets.ready,  # CRDs served, webhook answering
            ),
            child,
        )

        def images(part: str) -> ImageSource:
            """Where the pods of a part get their images from; they wait for the login, where there is one."""
            return ImageSource(images=settings.images, login=synced.image_pull.get(part))

        # A database that exists needs none.
        cnpg = (
            None
            if settings.postgres.existing
            else CnpgOperator(f"{name}-cnpg", operator(namespaces.cnpg, synced.image_pull.get("cnpg")), child)
        )
        # CRDs served, webhook answering.
        database_needs: list[pulumi.Resource] = [cnpg.ready] if cnpg else []

        # From here on a move needs more than an `up`.
        fixed_settings.fix_for_good(
            f"{name}-settings-final",
            fixed["settings"],
            self,
            [external_secrets.ready, *database_needs],
        )

        if cnpg and backups.method == "objectStore":
            plugin_ready: pulumi.Resource = cnpg.ready  # where the cluster has both
            if namespaces.cnpg:
                plugin_needs = [cnpg.ready]  # the operator that it extends
                if namespaces.cert_manager:
                    cert_manager = CertManager(
                        f"{name}-cert-manager",
                        operator(namespaces.cert_manager, synced.image_pull.get("cert-manager")),
                        child,
                    )
                    # Webhook answering: the plugin's chart has Certificates.
                    plugin_needs.append(cert_manager.ready)
                    fixed_settings.fix_for_good(
                        f"{name}-cert-manager-final", fixed["cert-manager"], self, [cert_manager.ready]
                    )
                plugin = BarmanPlugin(
                    f"{name}-barman-plugin",
                    BarmanPluginArgs(
                        namespace=namespaces.cnpg,
                        charts=charts,
                        images=images("cnpg"),
                        needs=plugin_needs,
                        timeout=timeouts.operator,
                    ),
                    child,
                )
                plugin_ready = plugin.release
            store = BackupStore(
                f"{name}-backups",
                BackupStoreArgs(
                    project=settings.gcp.project,
                    owner=owner_label(owner),
                    cluster=cluster,
                    backups=backups,
                    egress=settings.egress,
                    # CloudNativePG names the ServiceAccount after its Cluster.
                    writers={
                        account: cluster.member(settings.namespaces.gateway, account)
                        for account in settings.postgres.clusters
                    },
                    namespace=namespaces.gateway,
                    plugin_ready=plugin_ready,  # CRD served
                    protect=protect,
                ),
                child,
            )
            # Plugin answers, IAM in force, store there to archive to.
            database_needs += [plugin_ready, *store.ready]

        if existing := settings.postgres.existing:
            connector = None
            if existing.cloud_sql:
                connects = connector_account(cluster)
                connector = CloudSqlProxy(
                    f"{name}-cloud-sql",
                    CloudSqlProxyArgs(
                        namespace=namespaces.gateway,
                        account=connects,
                        member=cluster.member(settings.namespaces.gateway, connects),
                        cloud_sql=existing.cloud_sql,
                        replicas=2 if settings.litellm.replicas > 1 else 1,
                        variables=egress.of_clients_in_go(settings.egress, cluster),
                        images=images("gateway"),
                        timeout=timeouts.postgres,
                    ),
                    child,
                )
            database = ExistingDatabase(
                f"{name}-database",
                ExistingDatabaseArgs(
                    namespace=namespaces.gateway,
                    salt=secrets.salt,
                    credentials=synced.database,  # with which LiteLLM logs in
                    existing=existing,
                    connector=connector,  # it answers
                ),
                child,
            ).database
        else:
            database = PostgresCluster(
                f"{name}-postgres",
                PostgresClusterArgs(
                    namespace=namespaces.gateway,
                    salt=secrets.salt,
                    credentials=synced.database,  # initdb reads the owner's password once, at bootstrap
                    needs=database_needs,
                    postgres=settings.postgres,
                    images=images("gateway"),
                    protect=protect,
                    timeout=timeouts.postgres,
                ),
                child,
            ).database

        gpu_pools: dict[str, GpuNodePool] = {}
        vllm = None
        if synced.vllm:
            gpu_pools = {
                pool.name: GpuNodePool(
                    f"{name}-gpu-pool" + ("" if pool is settings.gpu_pool else f"-{pool.name}"),
                    GpuNodePoolArgs(
                        cluster=cluster,
                        pool=pool,
                        key=key,
                        owner=owner_label(owner),
                        protect=protect,
                        timeout=timeouts.node_pool,
                    ),
                    child,
                )
                for key, pool in settings.pools.items()
            }
            engines = engine_account(cluster, bool(settings.weight_buckets))
            vllm = Vllm(
                f"{name}-vllm",
                VllmArgs(
                    namespace=namespaces.serving,
                    models=settings.self_hosted,
                    adapters=settings.adapters,
                    account=engines,
                    member=cluster.member(settings.namespaces.serving, engines),
                    buckets=settings.weight_buckets,
                    pooling=settings.pooling,
                    # Engines can be scheduled.
                    pools={
                        model_name: gpu_pools[settings.pool_of(model).name]
                        for model_name, model in settings.self_hosted.items()
                    },
                    api_key=synced.vllm,  # engines start only with their key,
                    hugging_face=synced.hugging_face,  # with the tokens that they download with,
                    environment=synced.engines,  # and with the secrets in their environments
                    egress=settings.egress,
                    charts=charts,
                    images=images("serving"),
                    timeout=timeouts.vllm,
                ),
                child,
            )

        valkey = None
        if secrets.redis_password:
            valkey = Valkey(
                f"{name}-valkey",
                ValkeyArgs(
                    namespace=namespaces.gateway,
                    password=secrets.redis_password,
                    secret=synced.litellm,  # it starts only with its password
                    images=images("gateway"),
                    timeout=timeouts.valkey,
                ),
                child,
            )

        account = proxy_account(cluster, bool(settings.vertex_projects))
        # Waits for the database and its secrets only: the gateway comes up while no GPU can be had.
        litellm = LiteLLM(
            f"{name}-litellm",
            LiteLLMArgs(
                namespace=namespaces.gateway,
                account=account,
                member=cluster.member(settings.namespaces.gateway, account),
                vertex_projects=settings.vertex_projects,
                models=settings.routes.served,
                groups=settings.routes.groups,
                vllm_url=vllm.url if vllm else None,
                valkey=valkey,  # what replicas count together
                database=database,  # the migration connects at once
                secret=synced.litellm,  # pods start only with their keys
                litellm=settings.litellm,
                egress=settings.egress,
                urls=settings.litellm_urls,
                charts=charts,
                images=images("gateway"),
                timeout=timeouts.litellm,
            ),
            child,
        )
        fixed_settings.recover_only_what_is_lost(
            f"{name}-complete", settings.recover, self, [litellm.release]
        )
        if settings.declares_tenants:
            Tenants(
                f"{name}-tenants",
                TenantsArgs(
                    namespace=namespaces.gateway,
                    proxy=litellm,  # its admin API answers
                    owner=owner,
                    teams=settings.teams or [],
                    virtual_keys=settings.virtual_keys or [],
                    secret=synced.litellm,
                    key_values=synced.tenant_keys,  # a key is made with the value that applications read
                    images=images("gateway"),
                    timeout=timeouts.tenants,
                ),
                child,
            )

        self.outputs = Outputs(
            gateway_url=litellm.url,
            namespaces=settings.namespaces.model_dump(
                by_alias=True,
                exclude={
                    part
                    for part in ("cnpg", "external_secrets", "cert_manager")
                    if getattr(namespaces, part) is None
                }
                | {"existing"},
            ),
            model_aliases=list(settings.routes.aliases),
            secret_names={
                use: secret.name
                for use, secret in (
                    ("masterKey", secrets.master_key),
                    ("saltKey", secrets.salt_key),
                    ("databasePassword", secrets.database_password),
                    ("vllmApiKey", secrets.vllm_api_key),
                    ("redisPassword", secrets.redis_password),
                )
                if secret
            },
            virtual_key_secrets={key: secret.name for key, secret in secrets.virtual_keys.items()},
            virtual_key_store={"project": settings.gcp.project, "serviceAccount": KEY_READER},
            cluster={"name": cluster.name, "location": cluster.location, "project": cluster.project},
            database_host=database.host,
            gpu_node_pool=next((pool.pool_name for pool in gpu_pools.values()), ""),
            images=[str(settings.images.at(image)) for image in versions.IMAGES],
        )
        # The policies read the second: they see no settings.
        self.register_outputs({"url": litellm.url, "production": settings.production})
