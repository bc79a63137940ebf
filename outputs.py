"""The contract other stacks read; see `export`. Names stay, entries are only added."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import pulumi
from pydantic.alias_generators import to_camel

import versions


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Stack outputs, camelCase in the stack. None holds a secret: secrets are named, never shown."""

    gateway_url: pulumi.Input[str] = field(
        metadata={"about": "Base URL of the OpenAI-compatible API inside the cluster."}
    )
    namespaces: dict[str, pulumi.Input[str]] = field(metadata={"about": "Namespace of each part."})
    model_aliases: list[str] = field(metadata={"about": "Model names that clients can ask for."})
    secret_names: dict[str, pulumi.Input[str]] = field(
        metadata={
            "about": "Secret Manager resource name of each secret, `projects/<project>/secrets/<id>`; "
            "those of absent parts are left out."
        }
    )
    virtual_key_secrets: dict[str, pulumi.Input[str]] = field(
        metadata={
            "about": "Secret Manager resource name of each virtual key's value, by the key's name; "
            "empty where none is declared."
        }
    )
    virtual_key_store: dict[str, str] = field(
        metadata={
            "about": "What a SecretStore of a namespace in virtualKeys[].readers names: `project` of the keys' secrets, "
            "`serviceAccount` that may read them there (docs/tenants.md)."
        }
    )
    cluster: dict[str, pulumi.Input[str]] = field(
        metadata={"about": "The GKE cluster: `name`, `location` and `project`."}
    )
    database_host: pulumi.Input[str] = field(
        metadata={
            "about": "Host of the database: its primary inside the cluster, port 5432, or `postgres.existing.host`."
        }
    )
    gpu_node_pool: pulumi.Input[str] = field(
        metadata={
            "about": "Name of the GPU node pool, the first where there are several; empty where no model is self-hosted."
        }
    )
    chart_versions: dict[str, str] = field(
        default_factory=lambda: {chart.name: chart.version for chart in versions.CHARTS},
        metadata={"about": "Version of each chart."},
    )
    images: list[str] = field(
        metadata={
            "about": "Container images, `repository:tag`, each where nodes pull it from (`images.mirrors`)."
        }
    )


@dataclass(frozen=True)
class Contract:
    """One output as it is promised: name in the stack, type, what it is."""

    name: str
    type: str
    about: str


_TYPES = {
    "str": "string",
    "pulumi.Input[str]": "string",
    "list[str]": "list of strings",
    "dict[str, str]": "map of strings",
    "dict[str, pulumi.Input[str]]": "map of strings",
}


def contract() -> list[Contract]:
    """Every output, in order."""
    return [
        Contract(to_camel(output.name), _TYPES[str(output.type)], output.metadata["about"])
        for output in fields(Outputs)
    ]


def export(outputs: Outputs) -> None:
    """Export every field."""
    for output in fields(outputs):
        value: Any = getattr(outputs, output.name)
        pulumi.export(to_camel(output.name), value)
