"""A gate that opens when a Secret holds what its ExternalSecret asks for now."""

# The cluster's own client is untyped.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from kubernetes.client import CustomObjectsApi
from kubernetes.config import new_client_from_config_dict

from components.cluster import ClusterHandle


@dataclass(frozen=True, kw_only=True)
class SyncGateArgs:
    """Arguments of SyncGate.

    `external_secret` and its Secret are both named `secret_name`. `versions` names what it reads: each change of it is
    proven anew. `timeout` is in seconds.
    """

    cluster: ClusterHandle
    namespace: pulumi.Input[str]
    external_secret: kubernetes.apiextensions.CustomResource
    secret_name: str
    versions: pulumi.Input[str]
    timeout: int


class SyncGate(pulumi.ComponentResource):
    """A ConfigMap that is only made, or changed, once the operator has synced this generation of the ExternalSecret.

    Its condition Ready does not tell: it has no observedGeneration and stays True from the sync before, so that a
    wait for it passes while the Secret still holds the old value. `status.syncedResourceVersion` tells: it is
    `<generation>-<hash>`, written after the Secret (external-secrets, pkg/controllers/externalsecret). No
    pulumi.com/waitFor can compare two fields of an object, so a hook does. Dependents wait for `open`.
    """

    open: kubernetes.core.v1.ConfigMap

    def __init__(self, name: str, args: SyncGateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:sync_gate:SyncGate", name, None, opts)

        async def prove(_: pulumi.ResourceHookArgs) -> None:
            kubeconfig = await args.cluster.kubeconfig.future()
            namespace = await pulumi.Output.from_input(args.namespace).future()
            await asyncio.to_thread(
                _wait_for_sync,
                json.loads(kubeconfig or "{}"),
                namespace or "",
                args.secret_name,
                args.timeout,
            )

        hook = pulumi.ResourceHook(f"{name}-synced", prove)
        self.open = kubernetes.core.v1.ConfigMap(
            f"{name}-synced",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=f"{args.secret_name}-synced",
                namespace=args.namespace,
                # An annotation, not data: changed data would replace the ConfigMap.
                annotations={"llm-gateway/secret-versions": args.versions},
            ),
            data={"proven-by": f"syncedResourceVersion of ExternalSecret {args.secret_name}"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.external_secret],
                hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook]),
            ),
        )
        self.register_outputs({})


def _wait_for_sync(kubeconfig: Mapping[str, Any], namespace: str, name: str, timeout: int) -> None:
    """Wait until the ExternalSecret's latest generation is synced; raise TimeoutError with its last words otherwise."""
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
