"""Looks up what Secret Manager holds already, never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp


@dataclass(frozen=True, kw_only=True)
class FoundSecret:
    """A Secret as Google has it. `name` is `projects/<number>/secrets/<id>`."""

    name: str
    annotations: Mapping[str, str]


def find_secrets(project: str, parent: pulumi.Resource) -> Mapping[str, FoundSecret]:
    """All Secrets of a project, by id. Needs secretmanager.secrets.list (roles/secretmanager.viewer)."""
    found = gcp.secretmanager.get_secrets(project=project, opts=pulumi.InvokeOptions(parent=parent))
    return {
        secret.secret_id: FoundSecret(name=secret.name, annotations=secret.effective_annotations)
        for secret in found.secrets
    }


def has_version(project: str, secret_id: str, version: str, parent: pulumi.Resource) -> bool:
    """Whether a Secret has a version, disabled and destroyed ones too. Raises the SDK's Exception but for a 404."""
    try:
        gcp.secretmanager.get_secret_version(
            project=project,
            secret=secret_id,
            version=version,
            fetch_secret_data=False,
            opts=pulumi.InvokeOptions(parent=parent),
        )
    except Exception as error:  # what the SDK raises for every answer of a provider
        if "Error 404" in str(error):
            return False
        raise
    return True


async def newest_version(project: str, secret_id: str, parent: pulumi.Resource) -> str | None:
    """The number of a Secret's newest version, whatever its state; None where it has none."""
    asked = {"project": project, "secret": secret_id, "fetchSecretData": False}
    token = "gcp:secretmanager/getSecretVersion:getSecretVersion"
    try:
        found = await pulumi.runtime.invoke_async(token, asked, pulumi.InvokeOptions(parent=parent))
    except Exception as error:  # what the SDK raises for every answer of a provider
        if "Error 404" in str(error):
            return None
        raise
    return found["version"]
