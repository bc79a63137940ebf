"""Secret values go to Secret Manager, and through External Secrets to their readers, nowhere else."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Secret,
)

from policy.base import (
    RANDOM_PASSWORD,
    SECRET_VERSION,
    Resource,
    in_kubernetes,
    resource_policy,
    stack_policy,
    view,
    violation,
    walk,
)

_REMEDY = (
    "a SecretVersion that holds the value, an entry in an ExternalSecret, and a reference to its Kubernetes Secret: "
    "`secretKeyRef`, the chart's `...SecretName`, or `os.environ/NAME` in LiteLLM's configuration."
)
_RANDOM = "random:"
_BYTES = "random:index/randomBytes:RandomBytes"
# Where a random resource and a SecretVersion have their value; the engine encrypts these.
_VALUES = ("hex", "base64", "result", "bcryptHash", "secretData")
_STACK = "pulumi:pulumi:Stack"


def _may_hold_secrets(resource: Resource) -> bool:
    return resource.type == SECRET_VERSION or resource.type.startswith(_RANDOM) or _is_provider(resource)


def _is_provider(resource: Resource) -> bool:
    return resource.type.startswith("pulumi:providers:")


class _MarkedSecrets(ResourceValidationPolicy):
    """Looks for values that the engine marks as secret.

    The SDK shows these marks only to a remediation, which runs before the validation. It changes nothing here.
    """

    def __init__(self) -> None:
        super().__init__(
            "secret-values-in-secret-manager-only",
            "No resource but a SecretVersion takes a secret value: everyone who may view the namespace can read Helm "
            "values, ConfigMaps and environments.",
            enforcement_level=EnforcementLevel.REMEDIATE,
            remediation_steps=_REMEDY,
        )
        self._marked: dict[str, list[str]] = {}

    def remediate(self, args: ResourceValidationArgs) -> Awaitable[Mapping[str, Any]] | None:
        self._marked[args.urn] = list(_marked(args.props))
        return None

    def validate(self, args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        if _may_hold_secrets(view(args)):
            args.not_applicable()
        for path in self._marked.pop(args.urn, []):
            report_violation(violation(f"{path} of {args.name} is a secret value.", _REMEDY), None)


def _marked(value: Any, path: str = "") -> Iterator[str]:
    value = value["__target"] if isinstance(value, Mapping) and not isinstance(value, dict) else value
    if isinstance(value, Secret):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _marked(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _marked(inner, f"{path}[{index}]")


def _generated_elsewhere(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    forms = {
        form
        for resource in resources
        if _may_hold_secrets(resource)
        for name in _VALUES
        if isinstance(value := resource.props.get(name), str) and value
        for form in _forms(value)
    }
    for resource in resources:
        for name, needed in resource.needs.items():
            # The property's value may still be unknown; its sources are known.
            sources = {_type(urn) for urn in needed if _type(urn).startswith(_RANDOM)}
            if sources and not _may_hold_secrets(resource):
                yield resource, f"{name} of {resource.name} is made from a generated secret."
            for source in sources - {RANDOM_PASSWORD} if resource.type == SECRET_VERSION else ():
                yield resource, f"{name} of {resource.name} is the value of a {source}, which its id shows."
        for path, value in walk({"the name": resource.name, **resource.props}):
            if _may_hold_secrets(resource) and (path in _VALUES or _is_provider(resource)):
                continue
            if isinstance(value, str) and any(form in value for form in forms):
                where = "The stack output" if resource.type == _STACK else resource.name
                yield resource, f"{where} holds a generated secret in {path}."


def _forms(value: str) -> Iterator[str]:
    """A value as text, in hex, and as base64 at each of three offsets, without what else is encoded there."""
    raw = value.encode()
    yield value
    if len(raw) < 8:
        return  # found by chance
    yield raw.hex()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        yield encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _random_bytes(resource: Resource) -> Iterator[str]:
    if resource.type == _BYTES:
        yield f"{resource.name} is a RandomBytes: its id is its value in base64."


# Names a password, key or token; not a key in a Secret (`passwordKey`), nor a Secret (`...SecretName`).
_CREDENTIAL = re.compile(
    r"(pass(word|wd|phrase)|(api|master|salt|private|access|account|signing|encryption)[_-]?key|token|client[_-]?secret"
    r"|credentials|connection[_-]?string|database[_-]?url|requirepass)$",
    re.IGNORECASE,
)
# A reference instead of a value: LiteLLM's, the kubelet's, a template's; `none` for clients that want a key.
_REFERENCE = re.compile(r"|none|os\.environ/\w+|\$[({].*[)}]|\{\{.*\}\}", re.IGNORECASE | re.DOTALL)
_LOOKS_SECRET = re.compile(
    r"\bsk-[\w-]{16,}|\bhf_\w{20,}|\bgh[pousr]_\w{30,}|\bAIza[\w-]{30,}|\bAKIA[A-Z0-9]{16}\b|\bxox[abp]-[\w-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|\b[a-z][a-z0-9+.-]*://[^\s/:@$]*:[^\s/@$({]+@"
)
_LINE = re.compile(r"""^[ \t-]*["']?([\w.-]+)["']?[ \t]*[:=][ \t]*["']?([^\s"',#]*)""", re.MULTILINE)
# In code, what follows a name is an expression, not a value.
_CODE = (".py", ".sh")
_KUBERNETES_SECRET = "kubernetes:core/v1:Secret"


def _literals(resource: Resource) -> Iterator[str]:
    if resource.type == _KUBERNETES_SECRET:
        for name in ("data", "stringData"):
            if resource.props.get(name):
                yield f"{resource.name} is a Kubernetes Secret whose {name} the program writes itself."
        return
    for path, value in walk(resource.props):
        if _is_literal_credential(path, value):
            yield f"{path} of {resource.name} is a credential in plain text."


def _is_literal_credential(path: str, value: Any) -> bool:
    if isinstance(value, dict):
        # An entry of a container's environment.
        return _is_credential(str(value.get("name", "")), value.get("value"))
    if not isinstance(value, str):
        return False
    name = path.rpartition(".")[2]
    lines = _LINE.findall(value) if "\n" in value and not path.endswith(_CODE) else []
    return (
        bool(_LOOKS_SECRET.search(value))
        or _is_credential(name, value)
        or any(_is_credential(key, text) for key, text in lines)
    )


def _is_credential(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and "/" not in name  # an annotation about a Secret of that name
        and bool(_CREDENTIAL.search(name))
        and not _REFERENCE.fullmatch(value.strip())
    )


POLICIES = [
    _MarkedSecrets(),
    stack_policy(
        "generated-values-in-secret-manager-only",
        "Only SecretVersions take a value that the stack generates, and RandomPassword alone makes it: other random "
        "resources show it in their id. No stack output holds it: every `up` shows the outputs, and other stacks keep "
        "copies.",
        _REMEDY + " Export the Secret's name, not its value.",
        # A stack that adopted all of its values has no random resource, and holds them all the same.
        lambda resource: resource.type == SECRET_VERSION or resource.type.startswith(_RANDOM),
        _generated_elsewhere,
    ),
    resource_policy(
        "secret-values-not-in-ids",
        "No resource has a secret as its id: the engine encrypts no id, and shows it in previews, logs and comments.",
        "`RandomPassword(..., special=False)`: its id says nothing, and its result is encrypted.",
        lambda resource: resource.type.startswith(_RANDOM),
        _random_bytes,
    ),
    resource_policy(
        "no-literal-credentials",
        "No password, key or token is in the code or the settings: everyone who may read the repository, the state or "
        "the namespace could read it.",
        _REMEDY,
        in_kubernetes,
        _literals,
    ),
]
