"""What `recover` may take over: only what this stack's state does not have.

A program sees no state. With `recover` alone it has the Pulumi CLI, which started it, export the state.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from settings import PROJECT

_KUBERNETES = "kubernetes:"
_LISTED = 5


def exported() -> Sequence[Mapping[str, Any]]:
    """The resources of this stack's state, secrets encrypted. Raises pulumi.RunError where the CLI cannot export it."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    try:
        command = ["pulumi", "stack", "export", "--stack", stack]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        state: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or error
        raise pulumi.RunError(
            f"{PROJECT}:recover: the state could not be read, so `recover` might take over what it has already. "
            f"`pulumi stack export` must work where this runs. It says: {said}"
        ) from error
    deployment: dict[str, Any] = state.get("deployment") or {}
    return deployment.get("resources") or []


def only_what_is_lost(name: str, state: Sequence[Mapping[str, Any]]) -> pulumi.ResourceTransformation:
    """A transformation that has each create of a Kubernetes object refused where the state has it under another name.

    Args:
        name: unique in the program.
        state: the resources of the stack's state.

    Raises:
        pulumi.RunError: at once where the state holds what is still to be deleted or replaced.
    """
    if unfinished := sorted({_name(resource) for resource in state if _unfinished(resource)}):
        raise pulumi.RunError(
            f"{PROJECT}:recover: the state holds what is still to be deleted or replaced: "
            f"{', '.join(unfinished[:_LISTED])}{' and more' if len(unfinished) > _LISTED else ''}. `recover` would take "
            "the same objects over, and then they would be deleted. Finish that first, by `pulumi up` without `recover`. "
            "Nothing was touched."
        )
    owners = {
        found: resource["urn"]
        for resource in state
        if (found := _object(resource["type"], resource.get("inputs")))
    }

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        wanted = _object(args.type, args.new_inputs)
        owner = owners.get(wanted) if wanted else None
        if wanted and owner not in (None, args.urn):
            raise RuntimeError(
                f"{PROJECT}:recover: {' '.join(filter(None, wanted))} is in this stack's state, as {owner}. Taken over "
                "under another name, it would then be deleted under that one. Give the resource its former name, or an alias."
            )

    hook = pulumi.ResourceHook(
        f"{name}-only-what-is-lost", refuse, pulumi.ResourceHookOptions(on_dry_run=True)
    )
    hooks = pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_create=[hook]))

    def guard(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith(_KUBERNETES) or args.opts.id:
            return None
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, hooks))

    return guard


def _unfinished(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is still to be deleted or replaced; providers do not count, no object goes with one."""
    made = not resource["type"].startswith("pulumi:providers:")
    return made and bool(resource.get("delete") or resource.get("pendingReplacement"))


def _name(resource: Mapping[str, Any]) -> str:
    return resource["urn"].rpartition("::")[2]


def _object(kind: str, inputs: Mapping[str, Any] | None) -> tuple[str, str, str] | None:
    """Kind, namespace and name of an object or a Helm release; None for what is neither or has no name yet."""
    if not kind.startswith(_KUBERNETES) or not inputs:
        return None
    named: Mapping[str, Any] = inputs if kind.endswith(":Release") else inputs.get("metadata") or {}
    name = named.get("name")
    return (
        (kind.rpartition(":")[2], str(named.get("namespace") or ""), name) if isinstance(name, str) else None
    )
