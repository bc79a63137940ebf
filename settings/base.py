"""What the sections are built from: field types, the base class, and fields that explain themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

SECRET = "the name of a secret"
"""Marks a type in whose place a key may have been pasted: no message repeats its value."""
_KEY = re.compile(
    r"""
    # A provider's prefix before what is no words: digits, small and capital letters, a long run of two of these, or a
    # very long one.
    (?<![A-Za-z0-9])(sk|pk|rk|gsk|xai|hf|r8|ghp|glpat|pplx|nvapi|fw|tgp)[-_]
      ( (?=[\w-]*[0-9])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{16,}
      | ([A-Za-z0-9]{1,40}[-_]){0,8}(
          (?=[A-Za-z0-9]*[0-9A-Z])(?=[A-Za-z0-9]*[0-9a-z])[A-Za-z0-9]{14,} | [A-Za-z0-9]{24,} ) )
    | AIza[\w-]{30,}
    | AKIA[A-Z0-9]{12,}
    # No prefix: a long run without the separators that a name of this length has.
    | (?=[A-Za-z0-9+/]*[0-9])(?=[A-Za-z0-9+/]*[A-Za-z])[A-Za-z0-9+/]{24,}
    """,
    re.VERBOSE | re.ASCII,
)


def is_like_a_key(text: str) -> bool:
    """Whether a text has a provider's prefix of keys, or a run of letters and digits that no name has."""
    return _KEY.search(text) is not None


def holds_a_key(text: str) -> bool:
    """Whether a part of it between slashes is like a key, which a URL's host and path are not as a whole."""
    host = re.match(r"https?://[^/]*", text)
    if host and "@" in host[0]:
        return True
    return any(is_like_a_key(part) for part in text.removeprefix(host[0] if host else "").split("/"))


def is_url(text: str) -> bool:
    """Whether it is the http or https URL of a host, without credentials, query or fragment."""
    found = re.fullmatch(r"https?://[A-Za-z0-9.-]+(:(?P<port>[1-9][0-9]{0,4}))?(/[^\s?#@]*)?", text)
    return found is not None and int(found["port"] or 0) <= 65535


def urls_in(values: Mapping[str, Any]) -> set[str]:
    """The values that are URLs of http or https."""
    return {
        value
        for value in values.values()
        if isinstance(value, str) and value.startswith(("http://", "https://"))
    }


def secret_and_version(reference: str) -> tuple[str, str]:
    """The id and the version of a secret made elsewhere; `latest` where the settings name no version."""
    secret_id, _, version = reference.partition("/versions/")
    return secret_id, version or "latest"


def _names_a_secret(name: str) -> str:
    if is_like_a_key(secret_and_version(name)[0]):
        raise PydanticCustomError(
            "key", "it looks like a key itself, not like the name of the secret that holds it"
        )
    return name


DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
ProjectId = Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+(-[a-z])?$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+-(ai[0-9]+)?[a-z]$")]
SecretReference = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}(/versions/[1-9][0-9]{0,5})?$"),
    AfterValidator(_names_a_secret),
    SECRET,
]
"""A secret made elsewhere: its id, or `<id>/versions/<number>`."""
DnsSubdomain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Cpu = Annotated[
    str, StringConstraints(pattern=r"^([1-9][0-9]{0,4}m?|0\.[1-9][0-9]?|[1-9][0-9]{0,2}\.[0-9]{1,2})$")
]
Bytes = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}(\.[0-9]{1,2})?[MGT]i?$")]
LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$")]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4096)]
Seconds = Annotated[int, Field(ge=10, le=7200)]


@dataclass(frozen=True)
class Violation:
    """A wrong setting or a broken rule; in a rule, `key` is relative to the rule's section."""

    key: str
    problem: str
    otherwise: str
    write: str


def rule(method: Callable[[Any], Iterator[Violation]]) -> Callable[[Any], Iterator[Violation]]:
    """Mark a method of a Section as a rule between its settings: it yields the violations."""
    method.__dict__["rule"] = True
    return method


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are frozen, keys are camelCase in the file."""

    # Built when it first reads settings: who imports these files for a table of facts does not wait for it.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        populate_by_name=False,
        defer_build=True,
    )
    otherwise: ClassVar[str] = "it could not be read"
    """What would happen were a wrong value let through, for the settings that say nothing of their own."""

    def broken(self) -> Iterator[Violation]:
        """The violations of this section's rules; a rule that reads a refused setting is passed over."""
        members = {name: member for kind in type(self).__mro__ for name, member in vars(kind).items()}
        for name, method in members.items():
            if not getattr(method, "rule", False):
                continue
            try:
                yield from list(getattr(self, name)())
            except AttributeError as missing:
                if not (isinstance(missing.obj, Section) and missing.name in type(missing.obj).model_fields):
                    raise


def broken_variables(
    plain: Mapping[str, str], secret: Mapping[str, str], taken: re.Pattern[str], whose: str
) -> Iterator[Violation]:
    """What is wrong with the environment variables of a section that has `environment` and `secretEnvironment`."""
    for key, given in (("environment", plain), ("secretEnvironment", secret)):
        for name in given:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or len(name) > 128:
                yield Violation(
                    f"{key}.{name}",
                    "it is no name of an environment variable",
                    "the API server would refuse the pod",
                    "letters, digits and _, no digit first",
                )
            elif taken.fullmatch(name):
                yield Violation(
                    f"{key}.{name}",
                    f"{whose} gets this one from the program, the chart or the image",
                    "one of the two would be ignored, or a promise of the settings ended",
                    "a setting that says the same, or leave it out",
                )
    for name in plain.keys() & secret.keys():
        yield Violation(
            f"environment.{name}",
            "secretEnvironment has it, too",
            "one of the two would be ignored",
            "one of them",
        )
    for name, value in plain.items():
        if holds_a_key(value):
            yield Violation(
                f"environment.{name}",
                "its value may be a key",
                "everyone who can read the stack file, the state or the pod could read it",
                f"secretEnvironment: {{{name}: the id of the secret that holds it}}",
            )
        elif value.startswith(("http://", "https://")) and not is_url(value):
            yield Violation(
                f"environment.{name}",
                "it is no URL",
                "its reader could not reach it",
                f"{name}: https://host.example.com",
            )


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def gibibytes(quantity: str) -> float:
    """A Kubernetes quantity such as `8Gi` or `500M`, in GiB."""
    units = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    number = quantity.rstrip("MGTi")
    return float(number) * units[quantity.removeprefix(number)] / 2**30


def setting(
    default: Any = ..., *, about: str, otherwise: str = "", write: str = "", **constraints: Any
) -> Any:
    """A settings field.

    Args:
        default: the default, or `...` for a required key.
        about: what the key is, with its unit.
        otherwise: what would happen were a wrong value let through; empty: what the section says.
        write: an example of a right value, as it stands in the YAML file; empty: the key with its default.
        **constraints: pydantic's `ge`, `le`, `min_length`, `default_factory`, ...
    """
    if "default_factory" not in constraints:
        constraints["default"] = default
    extra: dict[str, Any] = {"otherwise": otherwise, "write": write}
    return Field(description=about, json_schema_extra=extra, **constraints)


def section(of: type[Section]) -> Any:
    """A field that is a whole section with defaults of its own, described by the section's docstring."""
    about = " ".join((of.__doc__ or "").split())
    return setting(default_factory=of, about=about, otherwise=Section.otherwise, write="a mapping")
