"""The proof that an operator's admission webhook answers."""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pulumi
from kubernetes.client import ApiException
from kubernetes.config import new_client_from_config_dict
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from urllib3.exceptions import HTTPError

from components.cluster import ClusterHandle


def webhook_answers(
    name: str, cluster: ClusterHandle, namespace: pulumi.Input[str], probe: Mapping[str, Any], timeout: int
) -> pulumi.ResourceHook:
    """A hook that holds a gate back until a webhook admits or denies a server-side dry run of `probe`.

    A Release that is "deployed" does not mean that the API server reaches its webhook: certificates and
    endpoints follow, and the provider does not retry a refused connection.

    Args:
        name: the hook's name, unique in the program.
        cluster: where the webhook is.
        namespace: namespace of the dry run, where the kind of `probe` has one.
        probe: an object of a kind that the webhook guards; it is never made.
        timeout: seconds, after which the hook raises TimeoutError.
    """

    async def prove(_: pulumi.ResourceHookArgs) -> None:
        kubeconfig = await cluster.kubeconfig.future()
        where = await pulumi.Output.from_input(namespace).future()
        await asyncio.to_thread(_wait_for_answer, json.loads(kubeconfig or "{}"), where, probe, timeout)

    return pulumi.ResourceHook(name, prove)


def _wait_for_answer(
    kubeconfig: Mapping[str, Any], namespace: str | None, probe: Mapping[str, Any], timeout: int
) -> None:
    """Dry-run `probe` until the webhook admits or denies it, else raise TimeoutError with the last answer."""
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
