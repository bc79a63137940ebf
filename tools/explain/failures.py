"""Which resources an `up` failed at, read from its event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.review.events import STACK, Operation

PROVIDER = "pulumi:providers:kubernetes"


@dataclass(frozen=True)
class Failure:
    """A resource that failed: its inputs, as the engine masked them, and what the engine said about it."""

    name: str
    type: str
    inputs: dict[str, Any]
    message: str

    @property
    def kind(self) -> str:
        """The last part of its type, such as "Release"."""
        return self.type.rpartition(":")[2]

    @property
    def where(self) -> tuple[str, str]:
        """Namespace and name of the object, or of the Release."""
        metadata = self.inputs if self.kind == "Release" else self.inputs.get("metadata") or {}
        return metadata.get("namespace") or "", metadata.get("name") or ""


def failures(operation: Operation) -> list[Failure]:
    """The resources that failed, in the order in which the engine came to them."""
    said: dict[str, list[str]] = {}
    for diagnostic in operation.diagnostics:
        if diagnostic.severity == "error":
            said.setdefault(diagnostic.urn, []).append(diagnostic.message)
    return [
        Failure(step.name, step.type, step.inputs, "\n".join(said.get(step.urn, [])))
        for step in operation.steps
        # A hook that fails leaves an error at its resource, and no failed step.
        if step.failed or (step.urn in said and step.type != STACK and not step.component)
    ]


def kubeconfig(operation: Operation) -> str:
    """The kubeconfig of the stack's kubernetes provider; empty where the log has none."""
    found = [step.inputs.get("kubeconfig") for step in operation.steps if step.type == PROVIDER]
    return next((text for text in found if isinstance(text, str) and text.startswith("{")), "")
