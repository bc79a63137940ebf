"""The proof that a database is never read with another salt than it was written with."""

# The cluster's own client is untyped.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import new_client_from_config_dict

from components.cluster import ClusterHandle

SALT = "llm-gateway/salt"
"""Annotation of a database's Cluster, or of EXISTING: the salt that its credentials are encrypted with, by name and version."""
EXISTING = "litellm-database"
"""ConfigMap that has the annotation for a database which is no Cluster."""


def salt_of_database(
    name: str, cluster: ClusterHandle, namespace: str, salt: pulumi.Output[str] | None
) -> pulumi.ResourceHook:
    """A hook that stops what would have pods read another salt than a database in the cluster was written with.

    The state cannot tell: what was deleted from it is made again, in another project or under another name too.
    So the database says it itself. The hook runs in previews as well, and reads no Secret.

    Args:
        name: the hook's name, unique in the program.
        cluster: where the database is.
        namespace: its namespace.
        salt: what pods would read, as SALT has it; None for one that would be made.
    """

    async def refuse(_: pulumi.ResourceHookArgs) -> None:
        kubeconfig = await cluster.kubeconfig.future()
        wanted = await salt.future() if salt else None
        if kubeconfig:
            databases = await asyncio.to_thread(_databases, json.loads(kubeconfig), namespace)
            if said := other_salt(databases, wanted, namespace):
                raise RuntimeError(said)

    return pulumi.ResourceHook(name, refuse, pulumi.ResourceHookOptions(on_dry_run=True))


def other_salt(databases: Mapping[str, str], wanted: str | None, namespace: str) -> str:
    """The refusal where a database of the namespace needs another salt than `wanted`; empty where none does.

    Args:
        databases: the salt of each database, by the name that kubectl has for what says it, <resource>/<name>.
        wanted: what pods would read; None for a salt that would be made.
        namespace: of the databases.
    """
    for database, salt in databases.items():
        if salt != wanted:
            return (
                f"The credentials in database {database.partition('/')[2]} are encrypted with {salt}; LiteLLM would get "
                f"{wanted or 'a new salt'} and could read none of them. Put gcp.project, secrets.prefix and owner back, "
                "or bring that version back at Google. To give the stored credentials up for good: kubectl annotate "
                f"--namespace {namespace} {database} {SALT}-"
            )
    return ""


def _databases(kubeconfig: Mapping[str, Any], namespace: str) -> dict[str, str]:
    with new_client_from_config_dict(dict(kubeconfig)) as api:
        clusters = CustomObjectsApi(api)
        try:
            found: Any = clusters.list_namespaced_custom_object(
                "postgresql.cnpg.io", "v1", namespace, "clusters"
            )
        except ApiException as error:
            if error.status != 404:
                raise
            found = {"items": []}  # no CloudNativePG yet
        # Not CoreV1Api: each program would import the models of pods and all else, two thirds of a second.
        request = api.param_serialize(
            "GET",
            f"/api/v1/namespaces/{namespace}/configmaps",
            query_params=[("fieldSelector", f"metadata.name={EXISTING}")],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer = api.call_api(*request)
        answer.read()
        known: Any = api.response_deserialize(answer, {"200": "object"}).data
    said = {
        f"clusters.postgresql.cnpg.io/{item['metadata']['name']}": item["metadata"].get("annotations", {})
        for item in found["items"]
    }
    said |= {
        f"configmaps/{item['metadata']['name']}": item["metadata"].get("annotations", {})
        for item in known["items"]
    }
    return {name: annotations[SALT] for name, annotations in said.items() if SALT in annotations}
