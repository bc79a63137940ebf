"""The check that operators which the cluster has serve what this stack makes, before anything is made."""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import ConfigException, new_client_from_config_dict
from urllib3.exceptions import HTTPError

from components.cluster import ClusterHandle
from settings import PROJECT, Settings


@dataclass(frozen=True)
class Needed:
    """What an operator must serve: CRDs, by name, at a version. `key` is the setting that says it is there."""

    key: str
    operator: str
    version: str
    crds: Sequence[str]


CNPG = Needed(
    "cnpg",
    "CloudNativePG",
    "v1",
    ("clusters.postgresql.cnpg.io", "scheduledbackups.postgresql.cnpg.io"),
)
BARMAN = Needed("cnpg", "CloudNativePG's barman-cloud plugin", "v1", ("objectstores.barmancloud.cnpg.io",))
EXTERNAL_SECRETS = Needed(
    "externalSecrets",
    "External Secrets",
    "v1",
    ("clustersecretstores.external-secrets.io", "externalsecrets.external-secrets.io"),
)
CERT_MANAGER = Needed(
    "certManager", "cert-manager", "v1", ("certificates.cert-manager.io", "issuers.cert-manager.io")
)


def needed(settings: Settings) -> list[Needed]:
    """What the cluster must have, because this stack does not install it."""
    backed_up = settings.postgres.backups.method == "objectStore"
    found = [] if settings.operators.external_secrets.install else [EXTERNAL_SECRETS]
    if not (settings.postgres.existing or settings.installs_cnpg):
        found += [CNPG, *([BARMAN] if backed_up else [])]
    elif backed_up and not settings.installs_cert_manager:
        found.append(CERT_MANAGER)
    return found


def served(cluster: ClusterHandle, wanted: Collection[Needed]) -> pulumi.Output[bool]:
    """Known once the cluster serves all of it; what may not be viewed is taken for served.

    Raises:
        pulumi.RunError: naming every operator that is not there, or serves other versions.
    """

    async def looked() -> bool:
        kubeconfig = await cluster.kubeconfig.future()
        if wanted and kubeconfig:
            crds = [crd for one in wanted for crd in one.crds]
            try:
                versions = await asyncio.to_thread(served_versions, json.loads(kubeconfig), crds)
            except (ApiException, HTTPError, ConfigException) as error:
                raise pulumi.RunError(
                    f"The cluster could not be asked which operators it has ({PROJECT}:operators): {error}. Nothing was touched."
                ) from error
            if said := list(missing(wanted, versions)):
                raise pulumi.RunError("\n".join([*said, "Nothing was touched."]))
        return True

    return pulumi.Output.from_input(looked())


def missing(wanted: Collection[Needed], versions: Mapping[str, Collection[str]]) -> Iterator[str]:
    """A refusal per operator that does not serve its CRDs; `versions` are those served, by CRD, none where it is absent."""
    for one in wanted:
        install = f"{PROJECT}:operators.{one.key}.install: false"
        absent = [crd for crd in one.crds if not versions[crd]]
        other = [crd for crd in one.crds if versions[crd] and one.version not in versions[crd]]
        if absent:
            yield (
                f"{install}: the cluster has no CRD {' and no '.join(absent)}, so no {one.operator}: nobody would act on what "
                f"this stack makes, and the `up` would fail half-way. Install {one.operator} first, or leave the setting out."
            )
        for crd in other:
            yield (
                f"{install}: the {one.operator} of the cluster serves {crd} as {', '.join(sorted(versions[crd]))}, and this "
                f"stack needs {one.version}: the API server would refuse its objects. Have {one.operator} brought to a release that "
                "serves it."
            )


def served_versions(kubeconfig: Mapping[str, Any], crds: Collection[str]) -> dict[str, list[str]]:
    """The versions of each CRD that the cluster serves; "v1" alone for what may not be viewed."""
    found: dict[str, list[str]] = {}
    with new_client_from_config_dict(dict(kubeconfig)) as api:
        for crd in crds:
            try:
                # Not ApiextensionsV1Api: each program would import its models for a tenth of a second.
                read: Any = CustomObjectsApi(api).get_cluster_custom_object(
                    "apiextensions.k8s.io", "v1", "customresourcedefinitions", crd
                )
                found[crd] = [version["name"] for version in read["spec"]["versions"] if version["served"]]
            except ApiException as error:
                if error.status not in (403, 404):
                    raise
                found[crd] = [] if error.status == 404 else ["v1"]
    return found
