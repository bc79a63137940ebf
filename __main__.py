"""The composition root: load settings, build components, export outputs. What waits for what stands here."""

from collections.abc import Sequence
from functools import partial

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import outputs
import settings
from components import secret_sync
from components.backup_store import BackupStore, BackupStoreArgs, bucket_name, region_of
from components.barman_plugin import BarmanPlugin, BarmanPluginArgs
from components.cert_manager import CertManager, CertManagerArgs
from components.charts import ChartSource
from components.cluster import lookup_cluster
from components.cnpg_operator import CnpgOperator, CnpgOperatorArgs
from components.external_secrets_operator import (
    SERVICE_ACCOUNT,
    ExternalSecretsOperator,
    ExternalSecretsOperatorArgs,
)
from components.gateway_secrets import GatewaySecrets, GatewaySecretsArgs
from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.litellm import LiteLLM, LiteLLMArgs, Redis
from components.namespaces import Namespaces, NamespacesArgs
from components.network_policies import NetworkPolicies, NetworkPoliciesArgs
from components.postgres_cluster import PostgresCluster, PostgresClusterArgs
from components.secret_sync import SecretSync, SecretSyncArgs
from components.tenants import Tenants, TenantsArgs
from components.valkey import Valkey, ValkeyArgs
from components.vllm import Vllm, VllmArgs
from settings.gateway import REDIS_PASSWORD

stack = settings.load()
charts = ChartSource(stack.charts.mirror)

google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack.cluster, stack.gcp.project, google)
gke = kubernetes.Provider(
    "gke",
    kubeconfig=cluster.kubeconfig,
    cluster_identifier=cluster.id,
    upsert_existing_objects=stack.recover,
    # A lost state takes the name of its field managers with it: what they set could never be changed again.
    enable_patch_force=True,
)
entropy = random.Provider("entropy")
with_providers = pulumi.ResourceOptions(providers=[google, gke, entropy])

backups = stack.postgres.backups
object_store = backups.method == "objectStore"

namespaces = Namespaces(
    "namespaces",
    NamespacesArgs(
        gateway=stack.namespaces.gateway,
        serving=stack.namespaces.serving,
        cnpg=stack.namespaces.cnpg,
        external_secrets=stack.namespaces.external_secrets,
        cert_manager=stack.namespaces.cert_manager if object_store and backups.install_cert_manager else None,
    ),
    with_providers,
)
if stack.network.policies:
    # Whoever takes a namespace's name from here comes after its policies, and goes before them.
    namespaces = NetworkPolicies(
        "network",
        NetworkPoliciesArgs(
            namespaces=namespaces,
            service_addresses=cluster.service_addresses,
            client_namespaces=stack.network.client_namespaces,
            models=stack.models,
            shared_state=stack.litellm.shared_state,
            object_store=object_store,
            tenants=stack.declares_tenants,
        ),
        with_providers,
    )

secrets = GatewaySecrets(
    "secrets",
    GatewaySecretsArgs(
        project=stack.gcp.project,
        reader=pulumi.Output.format(
            "{0}/ns/{1}/sa/{2}",
            cluster.workload_identity_principals,
            stack.namespaces.external_secrets,
            SERVICE_ACCOUNT,
        ),
        replica_locations=stack.secrets.replica_locations,
        master_key_generation=stack.secrets.master_key_generation,
        database_password_generation=stack.secrets.database_password_generation,
        serves_models=bool(stack.self_hosted),
        vllm_api_key_generation=stack.secrets.vllm_api_key_generation,
        existing_vllm_api_key=stack.secrets.existing_vllm_api_key,
        runs_redis=stack.litellm.shared_state.kind == "valkey",
        existing=[*stack.litellm_keys.values(), *stack.hugging_face_tokens.values()],
        virtual_keys=stack.virtual_keys or [],
        adopt=stack.secrets.adopt,
        protect=stack.protect,
    ),
    with_providers,
)

external_secrets = ExternalSecretsOperator(
    "external-secrets",
    ExternalSecretsOperatorArgs(
        namespace=namespaces.external_secrets,
        charts=charts,
        kubeconfig=cluster.kubeconfig,
        project=stack.gcp.project,
        timeout=stack.timeouts.operator,
    ),
    with_providers,
)

cnpg = CnpgOperator(
    "cnpg",
    CnpgOperatorArgs(
        namespace=namespaces.cnpg,
        charts=charts,
        kubeconfig=cluster.kubeconfig,
        timeout=stack.timeouts.operator,
    ),
    with_providers,
)

synced = SecretSync(
    "secret-sync",
    SecretSyncArgs(
        project=stack.gcp.project,
        kubeconfig=cluster.kubeconfig,
        gateway_namespace=namespaces.gateway,
        serving_namespace=namespaces.serving,
        client_namespaces=stack.network.client_namespaces,
        secrets=secrets,
        litellm_keys=stack.litellm_keys,
        hugging_face_tokens=stack.hugging_face_tokens,
        operator_ready=external_secrets.ready,  # CRDs served, webhook answering
        timeout=stack.timeouts.secret_sync,
    ),
    with_providers,
)

backups_ready: Sequence[pulumi.Resource] = []
if object_store:
    plugin_needs = [cnpg.ready]  # the operator that it extends
    if namespaces.cert_manager:
        cert_manager = CertManager(
            "cert-manager",
            CertManagerArgs(
                namespace=namespaces.cert_manager,
                charts=charts,
                kubeconfig=cluster.kubeconfig,
                timeout=stack.timeouts.operator,
            ),
            with_providers,
        )
        plugin_needs.append(cert_manager.ready)  # CRDs served, webhook answering: its chart has Certificates
    barman_plugin = BarmanPlugin(
        "barman-plugin",
        BarmanPluginArgs(
            namespace=namespaces.cnpg, charts=charts, needs=plugin_needs, timeout=stack.timeouts.operator
        ),
        with_providers,
    )
    backup_store = BackupStore(
        "backups",
        BackupStoreArgs(
            project=stack.gcp.project,
            bucket=backups.bucket or cluster.name.apply(partial(bucket_name, stack.gcp.project)),
            location=backups.bucket_location or cluster.location.apply(region_of),
            adopted=backups.bucket if backups.adopt_bucket else None,
            writer=pulumi.Output.format(
                "{0}/ns/{1}/sa/{2}",
                cluster.workload_identity_principals,
                stack.namespaces.gateway,
                stack.postgres.name,  # CloudNativePG names the ServiceAccount after its Cluster
            ),
            namespace=namespaces.gateway,
            plugin_ready=barman_plugin.release,  # CRD served
            retention_days=backups.retention_days,
            protect=stack.protect,
        ),
        with_providers,
    )
    backups_ready = [barman_plugin.release, *backup_store.ready]  # IAM in force, store there to archive to

postgres = PostgresCluster(
    "postgres",
    PostgresClusterArgs(
        namespace=namespaces.gateway,
        owner=secret_sync.DATABASE_OWNER,
        credentials=secret_sync.DATABASE_SECRET,
        credentials_synced=synced.database.ready,  # initdb reads the owner's password once, at bootstrap
        operator_ready=cnpg.ready,  # CRDs served, webhook answering
        backups_ready=backups_ready,
        postgres=stack.postgres,
        protect=stack.protect,
        timeout=stack.timeouts.postgres,
    ),
    with_providers,
)

gpu_pool_name: pulumi.Input[str] = ""
vllm_url = None
if synced.vllm:
    gpu_pool = GpuNodePool(
        "gpu-pool",
        GpuNodePoolArgs(
            cluster=cluster.id,
            project=cluster.project,
            location=cluster.location,
            pool=stack.gpu_pool,
            protect=stack.protect,
            timeout=stack.timeouts.node_pool,
        ),
        with_providers,
    )
    gpu_pool_name = gpu_pool.node_pool.name
    vllm = Vllm(
        "vllm",
        VllmArgs(
            namespace=namespaces.serving,
            models=stack.self_hosted,
            node_pool=gpu_pool.node_pool,  # engines can be scheduled
            tolerations=gpu_pool.tolerations,
            node_selector_terms=gpu_pool.node_selector_terms,
            api_key_secret=secret_sync.VLLM_SECRET,
            api_key_versions=synced.vllm.versions,
            hugging_face_secret=secret_sync.HUGGING_FACE_SECRET,
            secrets_synced=synced.serving_ready,  # engines start only with their key and tokens
            charts=charts,
            timeout=stack.timeouts.vllm,
        ),
        with_providers,
    )
    vllm_url = vllm.url

redis = None
shared_state = stack.litellm.shared_state
if shared_state.kind == "valkey":
    valkey = Valkey(
        "valkey",
        ValkeyArgs(
            namespace=namespaces.gateway,
            password_secret=secret_sync.LITELLM_SECRET,
            password_key=REDIS_PASSWORD,
            password_synced=synced.litellm.ready,  # it starts only with its password
            timeout=stack.timeouts.valkey,
        ),
        with_providers,
    )
    redis = Redis(host=valkey.host, port=valkey.port, has_password=True, ready=[valkey.ready])
elif shared_state.host:
    redis = Redis(
        host=shared_state.host,
        port=shared_state.port,
        has_password=shared_state.password_secret is not None,
        ready=[],
    )

# Waits for the database and its secrets only: the gateway comes up while no GPU can be had.
litellm = LiteLLM(
    "litellm",
    LiteLLMArgs(
        namespace=namespaces.gateway,
        models=stack.models,
        vllm_url=vllm_url,
        redis=redis,  # what replicas count together
        database_host=postgres.host,
        database=postgres.database,
        database_secret=secret_sync.DATABASE_SECRET,
        database_ready=postgres.cluster,  # the migration connects at once
        secrets=secret_sync.LITELLM_SECRET,
        secrets_synced=synced.litellm.ready,  # pods start only with their keys
        secret_versions={
            secret_sync.LITELLM_SECRET: synced.litellm.versions,
            secret_sync.DATABASE_SECRET: synced.database.versions,
        },
        litellm=stack.litellm,
        charts=charts,
        timeout=stack.timeouts.litellm,
    ),
    with_providers,
)

if stack.declares_tenants:
    Tenants(
        "tenants",
        TenantsArgs(
            namespace=namespaces.gateway,
            url=litellm.url,
            proxy=litellm.release,  # its admin API answers
            managed_by=f"{pulumi.get_project()}/{pulumi.get_stack()}",
            teams=stack.teams or [],
            virtual_keys=stack.virtual_keys or [],
            master_key_secret=secret_sync.LITELLM_SECRET,
            master_key="PROXY_MASTER_KEY",
            key_values_secret=secret_sync.TENANT_KEYS_SECRET,
            key_values=synced.tenant_keys,  # a key is made with the value that applications read
            timeout=stack.timeouts.tenants,
        ),
        with_providers,
    )

outputs.export(
    outputs.Outputs(
        gateway_url=litellm.url,
        namespaces=stack.namespaces.model_dump(
            by_alias=True, exclude=None if namespaces.cert_manager else {"cert_manager"}
        ),
        model_aliases=[model.alias for model in stack.models],
        secret_names={
            "masterKey": secrets.master_key.name,
            "saltKey": secrets.salt_key.name,
            "databasePassword": secrets.database_password.name,
            **({"vllmApiKey": secrets.vllm_api_key.name} if secrets.vllm_api_key else {}),
            **({"redisPassword": secrets.redis_password.name} if secrets.redis_password else {}),
        },
        virtual_key_secrets={name: key.name for name, key in secrets.virtual_keys.items()},
        secret_store=secret_sync.STORE,
        cluster={"name": cluster.name, "location": cluster.location, "project": cluster.project},
        database_host=postgres.host,
        gpu_node_pool=gpu_pool_name,
        chart_versions=outputs.chart_versions(),
        images=outputs.images(),
    )
)
