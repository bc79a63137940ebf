"""The proof that a Secret holds what its ExternalSecret asks for now."""

# The cluster's own client is untyped.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pulumi
from kubernetes.client import CustomObjectsApi
from kubernetes.config import new_client_from_config_dict

from components.cluster import ClusterHandle


def secret_synced(
    name: str, cluster: ClusterHandle, namespace: pulumi.Input[str], external_secret: str, timeout: int
) -> pulumi.ResourceHook:
    """A hook that holds a gate back until the operator has synced this generation of an ExternalSecret.

    Its condition Ready does not tell: it has no observedGeneration and stays True from the sync before, so
    that a wait for it passes while the Secret still holds the old value. `status.syncedResourceVersion`
    tells: it is `<generation>-<hash>`, written after the Secret (external-secrets,
    pkg/controllers/externalsecret). No pulumi.com/waitFor can compare two fields of an object, so a hook
    does.

    Args:
        name: the hook's name, unique in the program.
        cluster: where the ExternalSecret is.
        namespace: its namespace.
        external_secret: its name.
        timeout: seconds, after which the hook raises TimeoutError.
    """

    async def prove(_: pulumi.ResourceHookArgs) -> None:
        kubeconfig = await cluster.kubeconfig.future()
        where = await pulumi.Output.from_input(namespace).future()
        await asyncio.to_thread(
            _wait_for_sync, json.loads(kubeconfig or "{}"), where or "", external_secret, timeout
        )

    return pulumi.ResourceHook(name, prove)


def _wait_for_sync(kubeconfig: Mapping[str, Any], namespace: str, name: str, timeout: int) -> None:
    """Wait until the ExternalSecret's latest generation is synced, else raise TimeoutError with its conditions."""
    deadline = time.monotonic() + timeout
    with new_client_from_config_dict(dict(kubeconfig)) as api:
        while True:
            found: Any = CustomObjectsApi(api).get_namespaced_custom_object(
                "external-secrets.io", "v1", namespace, "externalsecrets", name
            )
            if synced(found):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
    conditions = found.get("status", {}).get("conditions", [])
    said = "; ".join(f"{condition.get('reason')}: {condition.get('message')}" for condition in conditions)
    raise TimeoutError(
        f"ExternalSecret {namespace}/{name} was not synced within {timeout} s: {said or 'it has no condition'}. "
        f"See `kubectl -n {namespace} describe externalsecret {name}`; raise llm-gateway:timeouts.secretSync if the "
        "operator is only slow."
    )


def synced(external_secret: Mapping[str, Any]) -> bool:
    """Does the Secret hold what this generation of the ExternalSecret asks for?"""
    status: Mapping[str, Any] = external_secret.get("status", {})
    generation = external_secret["metadata"]["generation"]
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )
    return ready and status.get("syncedResourceVersion", "").startswith(f"{generation}-")
