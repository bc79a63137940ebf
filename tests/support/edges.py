"""Every ordering edge of the graph: dependent, dependency, and the fact that it stands for."""

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


def _edge(dependent: str, needs: str, fact: str) -> Edge:
    """Each end is a kind and a name, which is without the name of the gateway in front."""
    kind, name = dependent.split()
    needs_kind, needs_name = needs.split()
    return Edge(kind, f"gateway-{name}", needs_kind, f"gateway-{needs_name}", fact)


_SYNCED = {
    "litellm-secrets": ("litellm-master-key", "litellm-salt-key", "vllm-api-key"),
    "litellm-pg-app": ("litellm-db-password",),
    "vllm-api-key": ("vllm-api-key",),
}
_MADE = ("litellm-master-key", "litellm-salt-key", "litellm-db-password", "vllm-api-key")

_POLICIES = {
    "Release external-secrets-release": ("external-secrets-default", "external-secrets"),
    "Release cnpg-release": ("cnpg-default", "cloudnative-pg"),
    "Cluster postgres-cluster": ("gateway-default", "postgres"),
    "Release litellm-release": ("gateway-default", "litellm"),
    "Release vllm-release": ("serving-default", "vllm-engine", "vllm-router"),
}
_STORE = "ClusterSecretStore secret-sync-store"
_KEY = "secrets-litellm-key-search-app"


def _readable(target: str, secret: str) -> list[Edge]:
    """What an ExternalSecret needs of a secret in Secret Manager."""
    external_secret = f"ExternalSecret secret-sync-{target}"
    return [
        _edge(external_secret, f"SecretVersion secrets-{secret}", "version exists"),
        _edge(external_secret, f"SecretIamMember secrets-{secret}-reader", "IAM in force"),
    ]


EDGES = [
    *(
        _edge(dependent, f"NetworkPolicy namespaces-{policy}", "closed but for its flows")
        for dependent, policies in _POLICIES.items()
        for policy in policies
    ),
    _edge("Release litellm-release", "ServiceAccount litellm-account", "account exists"),
    _edge("Release vllm-release", "ServiceAccount vllm-account", "account exists"),
    _edge("Release external-secrets-release", "Namespace namespaces-external-secrets", "namespace exists"),
    _edge("ConfigMap external-secrets-webhook-open", "Release external-secrets-release", "operator deployed"),
    _edge(_STORE, "ConfigMap external-secrets-webhook-open", "webhook answers"),
    _edge(_STORE, "ServiceAccount secret-sync-reader", "what it reads as"),
    _edge("ServiceAccount secret-sync-reader", "Namespace namespaces-external-secrets", "namespace exists"),
    _edge("Release cnpg-release", "Namespace namespaces-cnpg", "namespace exists"),
    _edge("ConfigMap cnpg-webhook-open", "Release cnpg-release", "operator deployed"),
    _edge("Cluster postgres-cluster", "SecretVersion secrets-litellm-salt-key", "salt known"),
    _edge("Cluster postgres-cluster", "ConfigMap cnpg-webhook-open", "webhook answers"),
    _edge("Cluster postgres-cluster", "ConfigMap secret-sync-litellm-pg-app-synced", "password synced"),
    _edge("Release litellm-release", "Cluster postgres-cluster", "database healthy"),
    _edge("Release litellm-release", "ConfigMap secret-sync-litellm-secrets-synced", "keys synced"),
    _edge("Release vllm-release", "NodePool gpu-pool-nodes", "engines can be scheduled"),
    _edge("Release vllm-release", "ConfigMap secret-sync-vllm-api-key-synced", "key synced"),
    *(
        edge
        for target, secrets in _SYNCED.items()
        for edge in (
            _edge(
                f"ConfigMap secret-sync-{target}-synced",
                f"ExternalSecret secret-sync-{target}",
                "asked for and Ready",
            ),
            _edge(f"ExternalSecret secret-sync-{target}", _STORE, "store ready"),
            *(edge for secret in secrets for edge in _readable(target, secret)),
        )
    ),
    *(
        _edge(f"SecretVersion secrets-{secret}", f"{kind} secrets-{secret}", fact)
        for secret in _MADE
        for kind, fact in (("RandomPassword", "value made"), ("Secret", "secret exists"))
        if (kind, secret) != ("RandomPassword", "litellm-salt-key")
    ),
    *(
        _edge(f"Secret secrets-{secret}", f"RandomPassword secrets-{secret}", "value in the state")
        for secret in _MADE
        if secret != "litellm-salt-key"
    ),
]

TENANT_EDGES = [
    _edge(f"SecretVersion {_KEY}", f"RandomPassword {_KEY}", "value made"),
    _edge(f"Secret {_KEY}", f"RandomPassword {_KEY}", "value in the state"),
    *_readable("litellm-tenant-keys", "litellm-key-search-app"),
    _edge("Job tenants-reconcile", "Release litellm-release", "admin API answers"),
    _edge("Job tenants-reconcile", "ConfigMap secret-sync-litellm-tenant-keys-synced", "key values synced"),
    _edge("Job tenants-reconcile", "ConfigMap tenants-declared", "declaration and script"),
    _edge("Job tenants-reconcile", "NetworkPolicy namespaces-litellm-tenants", "closed but for its flows"),
]
"""What comes on top where teams and virtual keys are declared, as in both stacks of this repository."""

VALKEY_EDGES = [
    _edge("Deployment valkey-server", "ConfigMap secret-sync-litellm-secrets-synced", "password synced"),
    _edge("Service valkey-service", "Deployment valkey-server", "there is a pod to lead to"),
    _edge("Release litellm-release", "Service valkey-service", "replicas count together"),
    *_readable("litellm-secrets", "litellm-redis-password"),
]
"""What comes on top where replicas share their counts through Valkey."""

_PLUGIN = "Release barman-plugin-release"
PROD_EDGES = [
    *VALKEY_EDGES,
    _edge(
        "SecretVersion secrets-example-llm-vault.llm-gateway-prod-salt-salt-copy",
        "SecretVersion secrets-litellm-salt-key",
        "value known",
    ),
    _edge("Release cert-manager-release", "Namespace namespaces-cert-manager", "namespace exists"),
    _edge("ConfigMap cert-manager-webhook-open", "Release cert-manager-release", "cert-manager deployed"),
    _edge(_PLUGIN, "ConfigMap cert-manager-webhook-open", "webhook answers: the chart has Certificates"),
    _edge(_PLUGIN, "ConfigMap cnpg-webhook-open", "the operator it extends"),
    _edge("ObjectStore backups-object-store", _PLUGIN, "CRD served"),
    _edge("BucketIAMMember backups-litellm-pg-objects", "Bucket backups-bucket", "bucket exists"),
    _edge("BucketIAMMember backups-litellm-pg-lookup", "Bucket backups-bucket", "bucket exists"),
    _edge("Cluster postgres-cluster", _PLUGIN, "plugin answers"),
    _edge("Cluster postgres-cluster", "ObjectStore backups-object-store", "store to archive to"),
    _edge("Cluster postgres-cluster", "BucketIAMMember backups-litellm-pg-objects", "IAM in force"),
    _edge("Cluster postgres-cluster", "BucketIAMMember backups-litellm-pg-lookup", "IAM in force"),
    _edge("ScheduledBackup postgres-schedule", "Cluster postgres-cluster", "database healthy"),
]
"""What comes on top where, in addition, the database is backed up."""

EXISTING_EDGES = [
    _edge("ConfigMap database-known", "ConfigMap secret-sync-litellm-pg-app-synced", "password synced"),
    _edge("ConfigMap database-known", "SecretVersion secrets-litellm-salt-key", "salt known"),
    _edge(
        "Release litellm-release", "ConfigMap database-known", "how to log in, and with which salt, is known"
    ),
    _edge("Release litellm-release", "ConfigMap litellm-authorities", "authority to believe"),
    _edge(
        "ExternalSecret secret-sync-litellm-pg-app",
        "SecretIamMember secrets-cloudsql-litellm-reader",
        "IAM in force",
    ),
]
"""What there is in place of CloudNativePG where the database exists."""
