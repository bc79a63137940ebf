"""The composition root: load settings, build components, export outputs. What waits for what stands here."""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import outputs
import settings
from components import secret_sync
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
from components.litellm import LiteLLM, LiteLLMArgs
from components.namespaces import Namespaces, NamespacesArgs
from components.postgres_cluster import PostgresCluster, PostgresClusterArgs
from components.secret_sync import SecretSync, SecretSyncArgs
from components.vllm import Vllm, VllmArgs

stack = settings.load()
charts = ChartSource(stack.charts.mirror)

google = gcp.Provider("google", project=stack.gcp.project)
cluster = lookup_cluster(stack.gcp.project, stack.cluster.name or "", stack.cluster.location or "", google)
gke = kubernetes.Provider("gke", kubeconfig=cluster.kubeconfig, cluster_identifier=cluster.id)
entropy = random.Provider("entropy")
in_stack = pulumi.ResourceOptions(providers=[google, gke, entropy])

namespaces = Namespaces(
    "namespaces",
    NamespacesArgs(
        gateway=stack.namespaces.gateway,
        serving=stack.namespaces.serving,
        cnpg=stack.namespaces.cnpg,
        external_secrets=stack.namespaces.external_secrets,
    ),
    in_stack,
)

gpu_pool = GpuNodePool(
    "gpu-pool",
    GpuNodePoolArgs(
        cluster=cluster.id,
        project=stack.gcp.project,
        location=stack.cluster.location or "",
        pool=stack.gpu_pool,
        timeout=stack.timeouts.node_pool,
    ),
    in_stack,
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
        existing_vllm_api_key=stack.secrets.existing_vllm_api_key,
    ),
    in_stack,
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
    in_stack,
)

cnpg = CnpgOperator(
    "cnpg",
    CnpgOperatorArgs(
        namespace=namespaces.cnpg,
        charts=charts,
        kubeconfig=cluster.kubeconfig,
        timeout=stack.timeouts.operator,
    ),
    in_stack,
)

synced = SecretSync(
    "secret-sync",
    SecretSyncArgs(
        project=stack.gcp.project,
        gateway_namespace=namespaces.gateway,
        serving_namespace=namespaces.serving,
        secrets=secrets,
        operator_ready=external_secrets.ready,  # CRDs served, webhook answering
        timeout=stack.timeouts.secret_sync,
    ),
    in_stack,
)

postgres = PostgresCluster(
    "postgres",
    PostgresClusterArgs(
        namespace=namespaces.gateway,
        owner=secret_sync.DATABASE_OWNER,
        credentials=secret_sync.DATABASE_SECRET,
        credentials_synced=synced.database,  # initdb reads the owner's password once, at bootstrap
        operator_ready=cnpg.ready,  # CRDs served, webhook answering
        postgres=stack.postgres,
        timeout=stack.timeouts.postgres,
    ),
    in_stack,
)

vllm = Vllm(
    "vllm",
    VllmArgs(
        namespace=namespaces.serving,
        models={model.alias: model.vllm for model in stack.models if model.vllm},
        node_pool=gpu_pool.node_pool,  # engines can be scheduled
        tolerations=gpu_pool.tolerations,
        node_selector_terms=gpu_pool.node_selector_terms,
        api_key_secret=secret_sync.VLLM_SECRET,
        api_key_synced=synced.vllm,  # engines start only with their key
        charts=charts,
        timeout=stack.timeouts.vllm,
    ),
    in_stack,
)

# Waits for the database and its secrets only: the gateway comes up while no GPU can be had.
litellm = LiteLLM(
    "litellm",
    LiteLLMArgs(
        namespace=namespaces.gateway,
        models=stack.models,
        vllm_url=vllm.url,
        database_host=postgres.host,
        database=postgres.database,
        database_secret=secret_sync.DATABASE_SECRET,
        database_ready=postgres.cluster,  # the migration connects at once
        secrets=secret_sync.LITELLM_SECRET,
        secrets_synced=synced.litellm,  # pods start only with their keys
        litellm=stack.litellm,
        charts=charts,
        timeout=stack.timeouts.litellm,
    ),
    in_stack,
)

outputs.export(
    outputs.Outputs(
        gateway_url=litellm.url,
        namespaces=stack.namespaces.model_dump(by_alias=True),
        model_aliases=[model.alias for model in stack.models],
        secret_names={
            "masterKey": secrets.master_key.name,
            "saltKey": secrets.salt_key.name,
            "databasePassword": secrets.database_password.name,
            "vllmApiKey": secrets.vllm_api_key.name,
        },
        database_host=postgres.host,
        gpu_node_pool=gpu_pool.node_pool.name,
        chart_versions=outputs.chart_versions(),
        images=outputs.images(),
    )
)
