"""The contract other stacks read; see `export`. Names stay, entries are only added."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pulumi
from pydantic.alias_generators import to_camel

import versions


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Stack outputs, camelCase in the stack. None holds a secret: secrets are named, never shown."""

    gateway_url: pulumi.Input[str]
    """Base URL of the OpenAI-compatible API inside the cluster."""
    namespaces: dict[str, pulumi.Input[str]]
    """Namespace of each part."""
    model_aliases: list[str]
    """Model names that clients can ask for."""
    secret_names: dict[str, pulumi.Input[str]]
    """Secret Manager resource name of each secret, `projects/<project>/secrets/<id>`."""
    database_host: pulumi.Input[str]
    """Host name of the database's primary inside the cluster, port 5432."""
    gpu_node_pool: pulumi.Input[str]
    """Name of the GPU node pool."""
    chart_versions: dict[str, str]
    """Version of each chart."""
    images: list[str]
    """Container images, `repository:tag`."""


def export(outputs: Outputs) -> None:
    """Export every field."""
    for field in fields(outputs):
        value: Any = getattr(outputs, field.name)
        pulumi.export(to_camel(field.name), value)


def chart_versions() -> dict[str, str]:
    """Chart name to version."""
    return {chart.name: chart.version for chart in versions.CHARTS}


def images() -> list[str]:
    """`repository:tag` of every image pinned in versions.py."""
    return [str(image) for image in versions.IMAGES]
