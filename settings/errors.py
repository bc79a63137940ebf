"""Error messages about the settings: what is wrong, what would happen, what to write instead."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar, cast

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.base import SECRET, Section, Violation, is_like_a_key

MOST = 40
"""Mistakes that a message lists."""

Location = tuple[int | str, ...]
S = TypeVar("S", bound=Section)


class SettingsError(Exception):
    """The stack file is wrong; the message lists every mistake. Nothing was registered."""

    def __init__(self, project: str, stack: str, mistakes: Sequence[Violation]) -> None:
        listed = "\n  ".join(
            f"{project}:{mistake.key}: {mistake.problem}.\n"
            f"    What would happen: {mistake.otherwise}.\n"
            f"    Write instead: {mistake.write}"
            for mistake in mistakes[:MOST]
        )
        if len(mistakes) > MOST:
            listed += f"\n  ... and {len(mistakes) - MOST} more, of which these may be the cause."
        super().__init__(
            f"Pulumi.{stack}.yaml: {len(mistakes)} wrong setting(s); nothing was touched.\n  {listed}"
        )
        self.mistakes = mistakes


def refused_settings(root: type[Section], errors: Iterable[ErrorDetails]) -> Iterator[Violation]:
    """Pydantic's errors as mistakes."""
    for error in errors:
        key, field, parent = _locate(root, error["loc"])
        if field is None or error["type"] == "extra_forbidden":
            yield Violation(
                _short(key),
                "no such key",
                "it would be ignored and a default used in its place",
                _instead(root, parent, str(error["loc"][-1])),
            )
        else:
            given = f"{error['msg']} (it is {_shown(error['input'], field)})"
            problem = "the key is missing" if error["type"] == "missing" else given
            yield Violation(key, problem, *_advice(parent, field))


def _instead(root: type[Section], parent: type[Section], name: str) -> str:
    """The key that was meant: one of the same section by its spelling, else one of that name elsewhere."""
    known = list(_fields(parent))
    by_lower = {key.lower(): key for key in known}
    if close := difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75):
        return by_lower[close[0]]
    elsewhere = [key for key in _paths(root) if key.rpartition(".")[2] == name][:3]
    listed = f"one of {', '.join(known)}"
    return f"{' or '.join(elsewhere)}, or {listed}" if elsewhere else listed


@cache
def _paths(section: type[Section], at: str = "") -> Sequence[str]:
    """Every key below a section, written as `models[].vllm.gpus`."""
    found: list[str] = []
    for name, field in _fields(section).items():
        key = _join(at, name)
        found.append(key)
        if inner := section_in(field.annotation):
            found += _paths(inner, f"{key}[]" if "list" in str(field.annotation) else key)
    return found


def _shown(value: Any, field: FieldInfo) -> str:
    """A refused value in a message: short, and never one that may be a key."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and (
        is_like_a_key(value) or SECRET in _marks(field.annotation, field.metadata)
    ):
        return "not shown, since it may be a key"
    return _short(json.dumps(value, default=str))


def _marks(annotation: Any, metadata: Sequence[Any]) -> Iterator[Any]:
    """What Annotated types say, of the field and inside of it."""
    yield from metadata
    for inner in typing.get_args(annotation):
        yield from _marks(inner, getattr(inner, "__metadata__", ()))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def readable(section: type[S], values: Mapping[str, Any], refused: Set[Location], at: Location = ()) -> S:
    """The section without the refused settings, for its rules: reading one of these raises AttributeError."""
    kept: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        key = to_camel(name)
        where = (*at, key)
        inner = section_in(field.annotation)
        if where in refused or (inner is None and any(other[: len(where)] == where for other in refused)):
            continue
        value = values.get(key)
        if key not in values:
            kept[name] = field.get_default(call_default_factory=True)
        elif inner is None or value is None:
            kept[name] = value
        elif not isinstance(value, list):
            kept[name] = readable(inner, value, refused, where)
        else:
            items = list(enumerate(cast(list[Mapping[str, Any]], value)))
            if not any((*where, index) in refused for index, _ in items):
                kept[name] = [readable(inner, item, refused, (*where, index)) for index, item in items]
    made = section.model_construct(**kept)
    for name in set(vars(made)) - set(kept):
        object.__delattr__(made, name)  # past `frozen`: model_construct put the default there
    return made


def broken_rules(section: Section, at: str = "") -> Iterator[Violation]:
    """The violations of all rules, those of inner sections first."""
    for name, value in section:
        key = _join(at, to_camel(name))
        if isinstance(value, Section):
            yield from broken_rules(value, key)
        elif isinstance(value, list):
            for index, item in enumerate(cast(list[object], value)):
                if isinstance(item, Section):
                    yield from broken_rules(item, f"{key}[{index}]")
    for broken in section.broken():
        yield replace(broken, key=_join(at, broken.key))


def _join(key: str, below: str) -> str:
    return f"{key}{'' if below.startswith('[') or not (key and below) else '.'}{below}"


def _locate(root: type[Section], location: Location) -> tuple[str, FieldInfo | None, type[Section]]:
    """The key as written in the file, its field if there is one, and the section it is in."""
    key, field, inside = "", None, root
    section: type[Section] | None = root
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
            continue
        key = _join(key, part)
        if section is not None:
            inside = section
            field = _fields(section).get(part, field)
            section = section_in(field.annotation) if field else None
    return key, field, inside


def _advice(section: type[Section], field: FieldInfo) -> tuple[str, str]:
    """What would happen were a wrong value of the field let through, and what to write instead."""
    hints = cast(dict[str, str], field.json_schema_extra)
    if not (write := hints["write"]):
        write = (
            f"{field.alias}: {field.default if isinstance(field.default, str) else json.dumps(field.default)}"
        )
    return hints["otherwise"] or section.otherwise, write


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {to_camel(name): field for name, field in section.model_fields.items()}


def section_in(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `list[Model]` or `Restore | None`."""
    if isinstance(annotation, types.GenericAlias | types.UnionType):
        return next(filter(None, map(section_in, typing.get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None
