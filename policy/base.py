"""What policies are made from.

A policy's check yields what is wrong, its description says what must hold, its remedy what to write instead.
A policy tells the engine of each resource that it does not apply to, so that the engine counts only what was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

RANDOM_PASSWORD = "random:index/randomPassword:RandomPassword"
SECRET = "gcp:secretmanager/secret:Secret"
SECRET_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
GATEWAY = "llmgateway:llm_gateway:LlmGateway"


class Unknown:
    """Stands for a value that a preview cannot know; the `up` checks the value once it is known."""


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """A resource as a policy sees it.

    `props` are its inputs in a resource policy, its outputs in a stack policy. `needs` are the URNs that each
    property was made from; empty in a resource policy.
    """

    type: str
    name: str
    urn: str
    props: dict[str, Any]
    protect: bool
    ignore_changes: Sequence[str]
    needs: Mapping[str, Sequence[str]]


def in_production(resources: Iterable[Resource]) -> bool:
    """Whether a stack is production: it is, unless each gateway in it has `production: false` in its settings.

    The engine gives a pack in Python neither the stack's configuration nor its tags (pulumi_policy 1.21.0).
    """
    said = [resource.props.get("production") for resource in resources if resource.type == GATEWAY]
    return not said or any(production is not False for production in said)


def resource_policy(
    name: str,
    description: str,
    remedy: str,
    applies: Callable[[Resource], bool],
    check: Callable[[Resource], Iterable[str]],
) -> ResourceValidationPolicy:
    """A policy that checks the inputs of each resource it applies to, before the engine acts on them."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = view(args)
        if not applies(resource):
            args.not_applicable()
        for wrong in check(resource):
            report(violation(wrong, remedy), None)

    return ResourceValidationPolicy(
        name, description, validate, EnforcementLevel.MANDATORY, remediation_steps=remedy
    )


def stack_policy(
    name: str,
    description: str,
    remedy: str,
    applies: Callable[[Resource], bool],
    check: Callable[[Sequence[Resource]], Iterable[tuple[Resource, str]]],
    *,
    production: bool | None = None,
) -> StackValidationPolicy:
    """A policy that checks all resources at the end of a preview or an `up`, if it applies to one of them.

    `production` restricts it to stacks that are production, or that are not.
    """

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [view(resource) for resource in args.resources]
        if not any(map(applies, resources)) or production not in (None, in_production(resources)):
            args.not_applicable()
        for resource, wrong in check(resources):
            report(violation(wrong, remedy), resource.urn)

    return StackValidationPolicy(
        name, description, validate, EnforcementLevel.MANDATORY, remediation_steps=remedy
    )


def each(
    applies: Callable[[Resource], bool], check: Callable[[Resource], Iterable[str]]
) -> Callable[[Sequence[Resource]], Iterator[tuple[Resource, str]]]:
    """The check of a stack policy that looks at one resource after the other."""

    def every(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
        for resource in filter(applies, resources):
            yield from ((resource, wrong) for wrong in check(resource))

    return every


def violation(wrong: str, remedy: str) -> str:
    """The message below a policy's description."""
    return f"{wrong}\nWrite: {remedy}"


def view(given: ResourceValidationArgs | PolicyResource) -> Resource:
    """A resource with UNKNOWN for unknown values: the SDK would stop reading it at the first one."""
    needs = given.property_dependencies if isinstance(given, PolicyResource) else {}
    return Resource(
        type=given.resource_type,
        name=given.name,
        urn=given.urn,
        props=_plain(given.props),
        protect=given.opts.protect,
        ignore_changes=given.opts.ignore_changes,
        needs={name: [source.urn for source in sources] for name, sources in needs.items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _at(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, index) for index in range(len(value))]
    return value


def _at(container: Any, key: Any) -> Any:
    try:
        return _plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """`value` and everything in it, with paths such as `spec.containers[0].image`."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{path}[{index}]")


def in_kubernetes(resource: Resource) -> bool:
    """Whether a resource is an object or a Helm release in a cluster."""
    return resource.type.startswith("kubernetes:")
