"""Every ordering edge of the graph: (dependent kind and name, dependency kind and name, the fact it stands for)."""

from __future__ import annotations

from typing import NamedTuple


class Edge(NamedTuple):
    """`name` must not start before `needs` is complete, because of `fact`."""

    kind: str
    name: str
    needs_kind: str
    needs: str
    fact: str

    def __str__(self) -> str:
        return f"{self.name}<-{self.needs}:{self.fact}"


_SYNCED = {
    "litellm-secrets": ("litellm-master-key", "litellm-salt-key", "vllm-api-key"),
    "litellm-pg-app": ("litellm-db-password",),
    "vllm-api-key": ("vllm-api-key",),
}
_MADE = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")

_POLICIES = {
    ("Release", "external-secrets-release"): ("external-secrets-default", "external-secrets"),
    ("Release", "cnpg-release"): ("cnpg-default", "cloudnative-pg"),
    ("Cluster", "postgres-cluster"): ("gateway-default", "postgres"),
    ("Release", "litellm-release"): ("gateway-default", "litellm"),
    ("Release", "vllm-release"): ("serving-default", "vllm-engine", "vllm-router"),
}

EDGES = [
    *(
        Edge(*dependent, "NetworkPolicy", f"network-{policy}", "closed but for its flows")
        for dependent, policies in _POLICIES.items()
        for policy in policies
    ),
    Edge(
        "Release", "external-secrets-release", "Namespace", "namespaces-external-secrets", "namespace exists"
    ),
    Edge(
        "ConfigMap",
        "external-secrets-webhook-open",
        "Release",
        "external-secrets-release",
        "operator deployed",
    ),
    Edge(
        "ClusterSecretStore",
        "secret-sync-store",
        "ConfigMap",
        "external-secrets-webhook-open",
        "webhook answers",
    ),
    Edge("Release", "cnpg-release", "Namespace", "namespaces-cnpg", "namespace exists"),
    Edge("ConfigMap", "cnpg-webhook-open", "Release", "cnpg-release", "operator deployed"),
    Edge("Cluster", "postgres-cluster", "ConfigMap", "cnpg-webhook-open", "webhook answers"),
    Edge("Cluster", "postgres-cluster", "ConfigMap", "secret-sync-litellm-pg-app-synced", "password synced"),
    Edge("Release", "litellm-release", "Cluster", "postgres-cluster", "database healthy"),
    Edge("Release", "litellm-release", "ConfigMap", "secret-sync-litellm-secrets-synced", "keys synced"),
    Edge("Release", "vllm-release", "NodePool", "gpu-pool-nodes", "engines can be scheduled"),
    Edge("Release", "vllm-release", "ConfigMap", "secret-sync-vllm-api-key-synced", "key synced"),
    *(
        Edge(
            "ConfigMap",
            f"secret-sync-{target}-synced",
            "ExternalSecret",
            f"secret-sync-{target}",
            "asked for and Ready",
        )
        for target in _SYNCED
    ),
    *(
        Edge("ExternalSecret", f"secret-sync-{target}", kind, needs, fact)
        for target, sources in _SYNCED.items()
        for kind, needs, fact in (
            ("ClusterSecretStore", "secret-sync-store", "store ready"),
            *(("SecretVersion", f"secrets-{source}", "version exists") for source in sources),
            *(("SecretIamMember", f"secrets-{source}-reader", "IAM in force") for source in sources),
        )
    ),
    *(
        Edge("SecretVersion", f"secrets-{secret}", kind, f"secrets-{secret}", fact)
        for secret in _MADE
        for kind, fact in (("RandomBytes", "value made"), ("Secret", "secret exists"))
    ),
]

TENANT_EDGES = [
    Edge(
        "SecretVersion",
        "secrets-litellm-key-search-app",
        "RandomBytes",
        "secrets-litellm-key-search-app",
        "value made",
    ),
    *(
        Edge(
            "ExternalSecret",
            "secret-sync-litellm-tenant-keys",
            kind,
            f"secrets-litellm-key-search-app{part}",
            fact,
        )
        for kind, part, fact in (
            ("SecretVersion", "", "version exists"),
            ("SecretIamMember", "-reader", "IAM in force"),
        )
    ),
    Edge("Job", "tenants-reconcile", "Release", "litellm-release", "admin API answers"),
    Edge(
        "Job", "tenants-reconcile", "ConfigMap", "secret-sync-litellm-tenant-keys-synced", "key values synced"
    ),
    Edge("Job", "tenants-reconcile", "ConfigMap", "tenants-declared", "declaration and script"),
    Edge("Job", "tenants-reconcile", "NetworkPolicy", "network-litellm-tenants", "closed but for its flows"),
]
"""What comes on top where teams and virtual keys are declared, as in both stacks of this repository."""

VALKEY_EDGES = [
    Edge(
        "Deployment",
        "valkey-server",
        "ConfigMap",
        "secret-sync-litellm-secrets-synced",
        "password synced",
    ),
    Edge("Service", "valkey-service", "Deployment", "valkey-server", "there is a pod to lead to"),
    Edge("Release", "litellm-release", "Service", "valkey-service", "replicas count together"),
    *(
        Edge("ExternalSecret", "secret-sync-litellm-secrets", kind, f"secrets-{needs}", fact)
        for kind, needs, fact in (
            ("SecretVersion", "litellm-redis-password", "version exists"),
            ("SecretIamMember", "litellm-redis-password-reader", "IAM in force"),
        )
    ),
]
"""What comes on top where replicas share their counts through Valkey."""

PROD_EDGES = [
    *VALKEY_EDGES,
    Edge("Release", "cert-manager-release", "Namespace", "namespaces-cert-manager", "namespace exists"),
    Edge(
        "ConfigMap", "cert-manager-webhook-open", "Release", "cert-manager-release", "cert-manager deployed"
    ),
    Edge(
        "Release",
        "barman-plugin-release",
        "ConfigMap",
        "cert-manager-webhook-open",
        "webhook answers: the chart has Certificates",
    ),
    Edge("Release", "barman-plugin-release", "ConfigMap", "cnpg-webhook-open", "the operator it extends"),
    Edge("ObjectStore", "backups-object-store", "Release", "barman-plugin-release", "CRD served"),
    Edge("BucketIAMMember", "backups-objects", "Bucket", "backups-bucket", "bucket exists"),
    Edge("BucketIAMMember", "backups-lookup", "Bucket", "backups-bucket", "bucket exists"),
    Edge("Cluster", "postgres-cluster", "Release", "barman-plugin-release", "plugin answers"),
    Edge("Cluster", "postgres-cluster", "ObjectStore", "backups-object-store", "store to archive to"),
    Edge("Cluster", "postgres-cluster", "BucketIAMMember", "backups-objects", "IAM in force"),
    Edge("Cluster", "postgres-cluster", "BucketIAMMember", "backups-lookup", "IAM in force"),
    Edge("ScheduledBackup", "postgres-schedule", "Cluster", "postgres-cluster", "database healthy"),
]
"""What comes on top where, in addition, the database is backed up."""
