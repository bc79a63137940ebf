"""Google resources that the API keeps as they were given: a name, references, and what was asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.apis import is_enabled
from sandbox.google.cloud import Cloud, CloudError, project_number
from sandbox.google.resource import Json, Made, Resource, calling, not_emulated, one_of
from sandbox.plugins.sdk import input_names

_LINK = "https://www.googleapis.com/compute/v1/"


def require_api(cloud: Cloud, doing: str, project: str, api: str) -> None:
    """Raise SandboxError unless the project exists and its API, such as "compute", is enabled."""
    if not calling(doing, lambda: is_enabled(cloud, project, f"{api}.googleapis.com")):
        number = project_number(project)
        raise SandboxError(
            f"{doing}: googleapi: Error 403: {api}.googleapis.com has not been used in project {number} before or it is "
            f"disabled. Enable it by visiting https://console.developers.google.com/apis/api/{api}.googleapis.com/"
            f"overview?project={number} then retry., accessNotConfigured"
        )


class Stored(Resource):
    """A resource whose state is its inputs, and outputs that follow from them."""

    api: ClassVar[str]
    """The Google API it is part of."""
    store: ClassVar[str]
    """Its kind in the cloud store."""
    emulated: ClassVar[frozenset[str]]
    """The inputs that mean something here; any other is refused by name."""
    references: ClassVar[Mapping[str, str]] = {}
    """Inputs that name another resource: to its kind in the cloud store."""
    used_by: ClassVar[Mapping[str, str]] = {}
    """Kinds that keep this one from being deleted: to their input that names it."""
    outputs = ()
    defaults: ClassVar[Json] = {"deletionPolicy": "DELETE"}

    @abstractmethod
    def full_name(self, inputs: Json) -> str:
        """The resource's name in the store, which is its id too."""

    def refuse(self, spec: Json) -> None:
        """Raise SandboxError for what the API does not accept; references are there and in one form."""

    def computed(self, row: Json) -> Json:
        """The outputs that are no inputs."""
        return {}

    def row(self, spec: Json) -> Json:
        """What the store keeps."""
        return {"project": self.settings.need_project(spec), "spec": spec}

    def latency(self, inputs: Json) -> str | None:
        return None

    def normal(self, inputs: Json) -> Json:
        plain = super().normal(inputs)
        for key in self.references:
            if isinstance(plain.get(key), str):
                plain[key] = self.canonical(key, plain)
        return plain

    def canonical(self, key: str, inputs: Json) -> str:
        """A reference as the store has it."""
        return inputs[key].removeprefix(_LINK)

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        known = self.emulated | {"name", "project", "deletionPolicy"}
        yield from not_emulated(self.kind, inputs, *sorted(input_names("gcp", self.kind) - known))
        yield from one_of(inputs, "deletionPolicy", "DELETE", "ABANDON", "PREVENT")

    def create(self, inputs: Json, timeout: float) -> Made:
        doing = f"Error creating {self._word}"
        require_api(self.cloud, doing, self.settings.need_project(inputs), self.api)
        spec = self._accepted(doing, inputs)
        return self._made(
            calling(doing, lambda: self.cloud.create(self.store, self.full_name(spec), self.row(spec))),
            inputs,
        )

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        with suppress(CloudError):
            return self._made(self.cloud.get(self.store, resource_id), inputs)
        return None

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        doing = f"Error updating {self._word}"
        spec = self._accepted(doing, inputs)
        return self._made(
            calling(doing, lambda: self.cloud.change(self.store, resource_id, **self.row(spec))), inputs
        )

    def delete(self, resource_id: str, state: Json) -> None:
        if not self.may_delete(f"{self._word} {resource_id!r}", state):
            return
        for kind, key in self.used_by.items():
            for row in self.cloud.list(kind):
                if row.get("spec", {}).get(key) == resource_id:
                    raise SandboxError(
                        f"Error deleting {self._word}: googleapi: Error 400: The resource '{resource_id}' is already "
                        f"being used by '{row['name']}', resourceInUseByAnotherResource"
                    )
        with suppress(CloudError):
            self.cloud.delete(self.store, resource_id)

    @property
    def _word(self) -> str:
        return self.kind.rpartition(":")[2]

    def _accepted(self, doing: str, inputs: Json) -> Json:
        spec = self.normal(inputs)
        for key, kind in self.references.items():
            if key in spec:
                calling(doing, lambda kind=kind, name=spec[key]: self.cloud.get(kind, name))
        self.refuse(spec)
        return spec

    def _made(self, row: Json, inputs: Json) -> Made:
        state = {**row["spec"], **self.computed(row)}
        if "deletionPolicy" in self.defaults:
            state["deletionPolicy"] = inputs.get("deletionPolicy", self.settings.deletion_policy)
        return Made(row["name"], state)
