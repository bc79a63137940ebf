"""What the emulated Google resources have in common: their provider's settings, checks, the API's errors."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud, CloudError
from sandbox.plugins.values import UNKNOWN

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Settings:
    """The provider's configuration; a value that a preview does not know is absent."""

    project: str | None = None
    region: str | None = None
    zone: str | None = None
    deletion_policy: str = "DELETE"
    default_labels: dict[str, str] = field(default_factory=dict)
    attribution: bool = True

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """From plain provider inputs, in which all but strings are JSON text."""
        known = {key: value for key, value in config.items() if value is not UNKNOWN}
        return cls(
            project=known.get("project"),
            region=known.get("region"),
            zone=known.get("zone"),
            deletion_policy=known.get("deletionPolicy", "DELETE"),
            default_labels=_decoded(known.get("defaultLabels", {})),
            attribution=_decoded(known.get("addPulumiAttributionLabel", True)),
        )

    def need_project(self, inputs: Json) -> str:
        """The project of a resource; raises SandboxError when neither it nor the provider names one."""
        project = inputs.get("project") or self.project
        if not project:
            raise SandboxError("project: required field is not set")
        return project

    def need_location(self, inputs: Json) -> str:
        """A GKE resource's region or zone; raises SandboxError when neither it nor the provider names one."""
        location = inputs.get("location") or self.region or self.zone
        if not location:
            raise SandboxError(
                "Cannot determine location: set location in this resource, or set provider-level zone or region"
            )
        return location

    def all_labels(self, inputs: Json) -> dict[str, str]:
        """The labels of a resource: the provider's, then its own."""
        attribution = {"goog-pulumi-provisioned": "true"} if self.attribution else {}
        return {**attribution, **self.default_labels, **inputs.get("labels", {})}


@dataclass
class Made:
    """What a create, update or read leaves: the id, the outputs, and what is wrong with the resource."""

    id: str
    state: Json
    problem: str | None = None


class Resource(ABC):
    """One emulated resource type. Methods block; inputs are plain, and hold no unknowns but in `check`."""

    kind: ClassVar[str]
    required: ClassVar[tuple[str, ...]]
    force_new: ClassVar[tuple[str, ...]]
    """Dotted inputs whose change replaces the resource (ForceNew in the Terraform provider's schema)."""
    computed_inputs: ClassVar[tuple[str, ...]] = ()
    """Inputs that the API fills in: leaving one out later changes nothing (Optional and Computed)."""
    outputs: ClassVar[tuple[str, ...]]
    """Outputs that only the API knows."""
    secret_outputs: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Json] = {}
    auto_named: ClassVar[bool] = False

    def __init__(self, cloud: Cloud, settings: Settings) -> None:
        self.cloud = cloud
        self.settings = settings

    def latency(self, inputs: Json) -> str | None:
        """The kind of latency a create or update pays before it starts."""
        return "secret"

    def normal(self, inputs: Json) -> Json:
        """Inputs with the defaults spelled out and references in one form, for comparing."""
        project = {"project": self.settings.project} if self.settings.project else {}
        return {**project, **self.defaults, **inputs}

    @abstractmethod
    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        """What the real provider refuses before it calls the API."""

    @abstractmethod
    def create(self, inputs: Json, timeout: float) -> Made: ...

    @abstractmethod
    def read(self, resource_id: str, inputs: Json) -> Made | None:
        """The resource as it is now; None when it is gone. `inputs` is empty on import."""

    @abstractmethod
    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made: ...

    @abstractmethod
    def delete(self, resource_id: str, state: Json) -> None: ...

    def may_delete(self, what: str, state: Json) -> bool:
        """Whether the state's deletion policy is to delete, not abandon. Raises SandboxError for PREVENT."""
        policy = state.get("deletionPolicy", self.settings.deletion_policy)
        if policy == "PREVENT":
            raise SandboxError(
                f'cannot destroy {what} without setting deletionPolicy="DELETE" and running `pulumi up`'
            )
        return policy != "ABANDON"


def calling(doing: str, call: Callable[[], T]) -> T:
    """Run a call of the store; its CloudError becomes the provider's "<doing>: googleapi: Error 404: ..."."""
    try:
        return call()
    except CloudError as error:
        raise SandboxError(f"{doing}: googleapi: Error {error.status}: {error.message}") from error


def invalid(doing: str, message: str) -> SandboxError:
    """An argument that the API refuses."""
    return SandboxError(f"{doing}: googleapi: Error 400: {message}, badRequest")


def one_of(inputs: Json, path: str, *allowed: str) -> Iterator[CheckFailure]:
    """A failure unless the value at the dotted path is unset, unknown or one of `allowed`."""
    value = at(inputs, path)
    if value is not None and value is not UNKNOWN and value not in allowed:
        yield CheckFailure(path, f"expected {path} to be one of {list(allowed)}, got {value}")


def not_emulated(token: str, inputs: Json, *paths: str) -> Iterator[CheckFailure]:
    """A failure for every dotted path that is set although the sandbox would ignore it."""
    for path in paths:
        if at(inputs, path) not in (None, UNKNOWN):
            yield CheckFailure(
                path, f"the sandbox does not emulate {token}'s {path}; leave it out of a rehearsal here."
            )


def at(inputs: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none, UNKNOWN inside what is unknown."""
    for name in path.split("."):
        if inputs is UNKNOWN:
            return UNKNOWN
        inputs = inputs.get(name) if isinstance(inputs, Mapping) else None
    return inputs


def parsed(pattern: str, text: str, what: str) -> tuple[str, ...]:
    """The groups of an id or reference; raises SandboxError naming the wanted form."""
    match = re.fullmatch(re.sub(r"<\w+>", "([^/ ]+)", pattern), text)
    if not match:
        raise SandboxError(f"{what} {text!r} is not of the form {pattern}.")
    return match.groups()


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
