"""A gate that opens when an operator's admission webhook answers."""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from kubernetes.client import ApiException
from kubernetes.config import new_client_from_config_dict
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from urllib3.exceptions import HTTPError

from components.cluster import ClusterHandle


@dataclass(frozen=True, kw_only=True)
class WebhookGateArgs:
    """Arguments of WebhookGate.

    `release` is the operator's: each revision of it is proven anew. `probe` is an object of a kind that the webhook
    guards; it is only ever sent as a dry run, into `namespace`. `config_map` is the name of the ConfigMap there, `timeout`
    is in seconds.
    """

    cluster: ClusterHandle
    namespace: pulumi.Input[str]
    config_map: str
    release: kubernetes.helm.v3.Release
    probe: Mapping[str, Any]
    timeout: int


class WebhookGate(pulumi.ComponentResource):
    """A ConfigMap that is only made once a server-side dry run of `probe` got an answer from the webhook.

    A Release that is "deployed" does not mean that the API server reaches its webhook: certificates and
    endpoints follow, and the provider does not retry a refused connection. Dependents wait for `open`.
    """

    open: kubernetes.core.v1.ConfigMap

    def __init__(self, name: str, args: WebhookGateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:webhook_gate:WebhookGate", name, None, opts)

        async def prove(_: pulumi.ResourceHookArgs) -> None:
            kubeconfig = await args.cluster.kubeconfig.future()
            namespace = await pulumi.Output.from_input(args.namespace).future()
            await asyncio.to_thread(
                _wait_for_answer, json.loads(kubeconfig or "{}"), namespace, args.probe, args.timeout
            )

        hook = pulumi.ResourceHook(f"{name}-answers", prove)
        self.open = kubernetes.core.v1.ConfigMap(
            f"{name}-open",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=args.config_map,
                namespace=args.namespace,
                # An annotation, not data: changed data would replace the ConfigMap.
                annotations={"llm-gateway/release-revision": args.release.status.revision.apply(str)},
            ),
            data={"proven-by": f"dry run of {args.probe['apiVersion']} {args.probe['kind']}"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.release],
                hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook]),
            ),
        )
        self.register_outputs({})


def _wait_for_answer(
    kubeconfig: Mapping[str, Any], namespace: str | None, probe: Mapping[str, Any], timeout: int
) -> None:
    """Dry-run `probe` until the webhook admits or denies it; raise TimeoutError with its last words otherwise."""
    deadline = time.monotonic() + timeout
    last = "nothing was tried"
    with new_client_from_config_dict(dict(kubeconfig)) as api:
        while time.monotonic() < deadline:
            try:
                resource = DynamicClient(api).resources.get(
                    api_version=probe["apiVersion"], kind=probe["kind"]
                )
                resource.create(
                    body=probe, namespace=namespace if resource.namespaced else None, dry_run="All"
                )
                return
            except ResourceNotFoundError:
                last = f"{probe['apiVersion']} {probe['kind']} is not served yet"
            except ApiException as refusal:
                if refusal.status in (401, 403) and "admission webhook" not in str(refusal.body):
                    raise
                if "failed calling webhook" not in str(refusal.body) and refusal.status != 404:
                    return
                last = str(refusal.body)
            except HTTPError as unreachable:
                last = str(unreachable)
            time.sleep(1)
    raise TimeoutError(
        f"the webhook for {probe['kind']} did not answer within {timeout} s: {last}. "
        "On a private cluster, check that the control plane may reach the webhook's port; "
        "raise llm-gateway:timeouts.operator if the operator is only slow."
    )
