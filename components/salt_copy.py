"""The second copy of the salt: a version of a Secret in another project, which the stack can neither delete nor change."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components.secret_manager import has_version
from settings.secrets import SALT_COPY

_NUMBER = "1"


@dataclass(frozen=True, kw_only=True)
class SaltCopy:
    """Where the copy is to be. `secret` is `projects/<project>/secrets/<id>`, `name` the same with the number."""

    secret: str
    name: str
    made: bool
    """Whether it is there already."""


def find_copy(secret: str, parent: pulumi.Resource) -> SaltCopy:
    """Look up the Secret for the copy. Raises pulumi.RunError where it is not there, or may not be seen."""
    _, project, _, secret_id = secret.split("/")
    invoke = pulumi.InvokeOptions(parent=parent)
    try:
        found = gcp.secretmanager.get_secret(project=project, secret_id=secret_id, opts=invoke)
    except Exception as error:  # what the SDK raises for every answer of a provider
        raise pulumi.RunError(
            f"llm-gateway:secrets.saltCopy: {secret} could not be looked up. Somebody who does not deploy this stack makes it, "
            'once, as docs/operations.md says under "A second copy of the salt". Google\'s answer: '
            f"{str(error)[:300]}"
        ) from error
    return SaltCopy(secret=secret, name=found.name, made=has_version(project, secret_id, _NUMBER, parent))


def keep_copy(
    name: str, copy: SaltCopy, salt: gcp.secretmanager.SecretVersion, parent: pulumi.Resource
) -> None:
    """Register the copy: made once, then only compared.

    Raises:
        pulumi.RunError: once both values are known, where they differ.
    """
    _, project, _, secret_id = copy.secret.split("/")
    kept = gcp.secretmanager.SecretVersion(
        # The place is part of the name: with another one a copy is made there, and the former one is left.
        f"{name}-{project}.{secret_id}-{SALT_COPY}",
        secret=copy.secret,
        secret_data=None if copy.made else salt.secret_data,
        deletion_policy="ABANDON",
        opts=pulumi.ResourceOptions(
            parent=parent,
            retain_on_delete=True,
            ignore_changes=["*"],
            import_=f"{copy.name}/versions/{_NUMBER}" if copy.made else None,
        ),
    )

    def compare(values: list[str | None]) -> None:
        first, second = values
        if first and second and first != second:
            raise pulumi.RunError(
                f"{copy.secret}, version {_NUMBER}, is no copy of this stack's salt: the values differ. It may be another stack's. "
                "Name a Secret of this stack's own as llm-gateway:secrets.saltCopy."
            )

    pulumi.Output.all(salt.secret_data, kept.secret_data).apply(compare)
