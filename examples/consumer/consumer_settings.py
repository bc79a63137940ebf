"""The stack's settings, validated before anything is touched."""

from __future__ import annotations

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

PROJECT = "llm-gateway-consumer"
_LABEL = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"


class Settings(BaseModel):
    """README.md describes each key. Unknown keys are refused; keys are camelCase in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    gateway: str = Field(pattern=r"^[\w.-]+/[\w.-]+/[\w.-]+$")
    namespace: str = Field(pattern=_LABEL)
    virtual_key: str
    model: str | None = None
    every_seconds: int = Field(default=60, ge=1)


def load() -> Settings:
    """The current stack's settings. Raises pulumi.RunError with every mistake."""
    config = pulumi.runtime.config
    entries = {**config.get_config_env(), **config.CONFIG.get()}
    prefix = f"{PROJECT}:"
    own = {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}
    try:
        return Settings.model_validate(own)
    except ValidationError as failure:
        mistakes = "".join(
            f"\n  {prefix}{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"
            for error in failure.errors()
        )
        raise pulumi.RunError(
            f"Pulumi.{pulumi.get_stack()}.yaml has wrong settings; nothing was touched. README.md lists what each "
            f"may be.{mistakes}"
        ) from None
