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

EDGES = [
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
    Edge("Cluster", "postgres-cluster", "ExternalSecret", "secret-sync-litellm-pg-app", "password synced"),
    Edge("Release", "litellm-release", "Cluster", "postgres-cluster", "database healthy"),
    Edge("Release", "litellm-release", "ExternalSecret", "secret-sync-litellm-secrets", "keys synced"),
    Edge("Release", "vllm-release", "NodePool", "gpu-pool-nodes", "engines can be scheduled"),
    Edge("Release", "vllm-release", "ExternalSecret", "secret-sync-vllm-api-key", "key synced"),
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
