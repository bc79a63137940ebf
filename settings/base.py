"""What every section of the settings is built from: field types, the base class, and fields that explain themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
ProjectId = Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+(-[a-z])?$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
SecretId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?$")]
Seconds = Annotated[int, Field(ge=30, le=7200)]


@dataclass(frozen=True)
class Broken:
    """A rule between settings that does not hold: key (relative to its section), problem, consequence and fix."""

    key: str
    problem: str
    otherwise: str
    write: str


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are frozen, keys are camelCase in the file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=False
    )

    def rules(self) -> Iterator[Broken]:
        """Every rule between this section's settings that does not hold."""
        yield from ()

    @model_validator(mode="after")
    def _hold(self) -> Self:
        if broken := list(self.rules()):
            raise PydanticCustomError("rules", "rules are broken", {"broken": broken})
        return self


def setting(default: Any = ..., *, about: str, otherwise: str, write: str, **constraints: Any) -> Any:
    """A settings field.

    Args:
        default: the default, or `...` for a required key.
        about: what the key is, with its unit.
        otherwise: what would happen were a wrong value let through.
        write: an example of a right value, as it stands in the YAML file.
        **constraints: pydantic's `ge`, `le`, `min_length`, `default_factory`, ...
    """
    extra: dict[str, Any] = {"otherwise": otherwise, "write": write}
    if "default_factory" in constraints:
        return Field(description=about, json_schema_extra=extra, **constraints)
    return Field(default, description=about, json_schema_extra=extra, **constraints)


def section(of: type[Section], about: str) -> Any:
    """A field that is a whole section with defaults of its own."""
    return setting(
        default_factory=of, about=about, otherwise="the section could not be read", write="a mapping"
    )
