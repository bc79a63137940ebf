"""What is to be validated: a stack's outputs, and the master key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.validate.commands import output
from tools.validate.errors import ValidateError

MASTER_KEY = "LITELLM_MASTER_KEY"


_PRIMARY = re.compile(r"([^.]+)-rw\.[^.]+\.svc\.cluster\.local")
"""The Service of a Cluster's primary."""


@dataclass(frozen=True)
class Installation:
    """The outputs that the checks read; docs/outputs.md has all of them."""

    models: Sequence[str]
    namespace: str
    database: str | None
    """Name of the CloudNativePG Cluster; None where the database is no such Cluster."""
    cluster: str
    location: str
    project: str
    master_key_secret: str
    """Secret Manager resource name, `projects/<project>/secrets/<id>`."""

    @classmethod
    def of(cls, outputs: dict[str, Any]) -> Installation:
        """The installation with these outputs. Raises ValidateError if one is missing."""
        try:
            return cls(
                outputs["modelAliases"],
                outputs["namespaces"]["gateway"],
                primary[1] if (primary := _PRIMARY.fullmatch(outputs["databaseHost"])) else None,
                outputs["cluster"]["name"],
                outputs["cluster"]["location"],
                outputs["cluster"]["project"],
                outputs["secretNames"]["masterKey"],
            )
        except (KeyError, TypeError) as missing:
            raise ValidateError(
                f"the stack has no output {missing}, so there is no gateway to validate. Run pulumi up first"
            ) from None


def installation(stack: str) -> Installation:
    """The installation of `stack`, by `pulumi` on PATH. Raises ValidateError."""
    return Installation.of(json.loads(output("pulumi", "stack", "output", "--json", "--stack", stack)))


def master_key(secret: str, file: Path | None) -> str:
    """The key in `file`, else the environment, else Secret Manager. Raises ValidateError if there is none."""
    if file:
        try:
            value = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ValidateError(f"--master-key-file {file} cannot be read: {error}") from None
    elif MASTER_KEY in os.environ:
        value = os.environ[MASTER_KEY]
    else:
        name = re.fullmatch(r"projects/([^/]+)/secrets/([^/]+)", secret)
        if not name:
            raise ValidateError(f"{secret!r} names no secret of Secret Manager: run pulumi up again")
        command = ["gcloud", "secrets", "versions", "access", "latest"]
        value = output(*command, "--project", name[1], "--secret", name[2])
    if not value.strip():
        raise ValidateError(
            f"the master key is empty, so every request would be refused: set {MASTER_KEY}, or correct the file"
        )
    return value.strip()
