"""The look at namespaces that somebody else made, before anything is made in them."""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException, new_client_from_config_dict
from urllib3.exceptions import HTTPError

from components.cluster import ClusterHandle
from settings import PROJECT
from settings.deployment import Namespaces

_ENFORCED = "pod-security.kubernetes.io/enforce"
_RUN_AS_ROOT = ("gateway", "serving")
"""Whose images run as root (docs/network.md)."""


def looked_at(cluster: ClusterHandle, namespaces: Namespaces) -> pulumi.Output[bool]:
    """Known once each existing namespace is there and takes the pods of its part; one that may not be viewed is taken for that.

    Raises:
        pulumi.RunError: naming every namespace that is not there, is being deleted, or refuses the pods.
    """

    async def looked() -> bool:
        kubeconfig = await cluster.kubeconfig.future()
        if namespaces.existing and kubeconfig:
            try:
                found = await asyncio.to_thread(read, json.loads(kubeconfig), namespaces)
            except (ApiException, HTTPError, ConfigException) as error:
                raise pulumi.RunError(
                    f"The cluster could not be asked for its namespaces ({PROJECT}:namespaces.existing): {error}. "
                    "Nothing was touched."
                ) from error
            if said := list(refusals(namespaces, found)):
                raise pulumi.RunError("\n".join([*said, "Nothing was touched."]))
        return True

    return pulumi.Output.from_input(looked())


def refusals(namespaces: Namespaces, found: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """A refusal per existing namespace that cannot be used; `found` has each as the cluster has it, by key, None if absent."""
    for key in namespaces.existing:
        name, live = namespaces.names[key], found[key]
        said = f"{PROJECT}:namespaces.existing: {key}"
        if live is None:
            yield (
                f"{said}: the cluster has no namespace {name}. Have it made first, correct {PROJECT}:namespaces.{key}, or leave "
                f"{key} out to have this stack make it."
            )
            continue
        metadata = live["metadata"]
        if metadata.get("deletionTimestamp"):
            yield f"{said}: the namespace {name} is being deleted, with all that would be made in it. Have it made anew."
        if key in _RUN_AS_ROOT and (metadata.get("labels") or {}).get(_ENFORCED) == "restricted":
            yield (
                f"{said}: the namespace {name} enforces the Pod Security Standard restricted, which refuses images that run as "
                f"root, as this part's do. Have it labelled {_ENFORCED}=baseline."
            )


def read(kubeconfig: Mapping[str, Any], namespaces: Namespaces) -> dict[str, Mapping[str, Any] | None]:
    """Each existing namespace by its key, None where the cluster has none."""
    with new_client_from_config_dict(dict(kubeconfig)) as api:
        return {key: _namespace(api, namespaces.names[key]) for key in namespaces.existing}


def _namespace(api: ApiClient, name: str) -> Mapping[str, Any] | None:
    """None where there is none; without labels where it may not be viewed."""
    # Not CoreV1Api: each program would import its models for a tenth of a second.
    asked: Any = api.param_serialize("GET", f"/api/v1/namespaces/{name}", auth_settings=["BearerToken"])
    answer: Any = api.call_api(*asked)
    body = answer.read()
    if answer.status == 404:
        return None
    if answer.status == 403:
        return {"metadata": {}}
    if answer.status >= 400:
        raise ApiException(status=answer.status, reason=body.decode(errors="replace")[:500])
    return json.loads(body)
