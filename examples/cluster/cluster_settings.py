"""The stack's settings, validated before anything is touched."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Annotated, Any

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

PROJECT = "llm-gateway-cluster"
Zone = Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """Unknown keys are refused; keys are camelCase in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Gcp(Section):
    project: str = Field(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")


class Ranges(Section):
    """Address ranges; they must overlap neither each other nor those of a connected network."""

    nodes: IPv4Network = IPv4Network("10.0.0.0/20")
    pods: IPv4Network = IPv4Network("10.4.0.0/14")
    services: IPv4Network = IPv4Network("10.8.0.0/20")
    control_plane: IPv4Network = IPv4Network("172.16.0.0/28")


class AuthorizedNetwork(Section):
    name: str
    cidr: IPv4Network


class Nodes(Section):
    """The CPU node pool; the counts are for all zones together."""

    machine_type: str = "e2-standard-4"
    min_count: int = Field(default=3, ge=1)
    max_count: int = Field(default=6, ge=1)


class Settings(Section):
    """README.md describes each key."""

    gcp: Gcp
    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")
    region: str = Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")
    zones: list[Zone] = []
    ranges: Ranges = Ranges()
    authorized_networks: list[AuthorizedNetwork] = []
    nodes: Nodes = Nodes()
    webhook_ports: list[Port] = Field(default=[10250], min_length=1)
    deletion_protection: bool = True


def load() -> Settings:
    """The current stack's settings. Raises pulumi.RunError with every mistake."""
    config = pulumi.runtime.config
    entries = {**config.get_config_env(), **config.CONFIG.get()}
    prefix = f"{PROJECT}:"
    own = {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}
    try:
        return Settings.model_validate({key: _decoded(value) for key, value in own.items()})
    except ValidationError as failure:
        mistakes = "".join(
            f"\n  {PROJECT}:{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"
            for error in failure.errors()
        )
        raise pulumi.RunError(
            f"Pulumi.{pulumi.get_stack()}.yaml has wrong settings; nothing was touched. README.md lists what each "
            f"may be.{mistakes}"
        ) from None


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
