"""Which settings of a gateway cannot be changed in place: what they name would be made anew, and the former deleted."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.cluster import ClusterHandle
from settings import Settings

Keys = Mapping[str, pulumi.Input[str]]
"""Values by key, as the stack file has them."""


def of_every_part(settings: Settings, cluster: ClusterHandle) -> Keys:
    """Those of what each gateway has.

    What Helm made cluster-wide belongs to the former namespace, and who no longer installs an operator would delete it.
    """
    operators, namespaces = settings.operators, settings.namespaces
    made = {
        "gateway": True,
        "serving": True,
        "cnpg": settings.installs_cnpg,
        "externalSecrets": operators.external_secrets.install,
    }
    keys: dict[str, pulumi.Input[str]] = {
        "gcp.project": settings.gcp.project,
        "secrets.prefix": settings.secrets.prefix,
        "secrets.store": settings.secrets.store,
        "cluster.project": cluster.project,
        "cluster.location": cluster.location,
        "cluster.name": cluster.name,
        **{f"namespaces.{part}": namespaces.names[part] for part in made if made[part]},
        "namespaces.existing": ", ".join(sorted(namespaces.existing)),
        "operators.externalSecrets.install": _written(operators.external_secrets.install),
    }
    if not settings.postgres.existing:
        keys["operators.cnpg.install"] = _written(operators.cnpg.install)
    return keys


def of_backups(settings: Settings) -> Keys:
    """Those of cert-manager, which the plugin for backups needs; empty where this stack has no such plugin."""
    if settings.postgres.backups.method != "objectStore" or not settings.installs_cnpg:
        return {}
    keys = {"operators.certManager.install": _written(settings.operators.cert_manager.install)}
    if settings.installs_cert_manager:
        keys["namespaces.certManager"] = settings.namespaces.cert_manager
    return keys


def _written(value: bool) -> str:
    return "true" if value else "false"
