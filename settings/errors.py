"""What is wrong with the settings, said so that it can be mended."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pulumi
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.base import Section


class SettingsError(pulumi.RunError):
    """The stack file is wrong; the message lists every mistake. Nothing was registered."""


def describe(root: type[Section], error: ErrorDetails) -> Iterator[str]:
    """The mistakes in one of pydantic's errors: key, problem, consequence and fix each."""
    key, field, parent = _locate(root, error["loc"])
    if error["type"] == "rules":
        for broken in error["ctx"]["broken"]:  # pyright: ignore[reportTypedDictNotRequiredAccess]
            yield _text(_join(key, broken.key), broken.problem, broken.otherwise, broken.write)
    elif error["type"] == "extra_forbidden":
        known = list(_fields(parent))
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        instead = close[0] if close else f"one of {', '.join(known)}"
        yield _text(key, "no such key", "it would be ignored and a default used in its place", instead)
    else:
        extra = field.json_schema_extra if field else None
        hints: dict[str, Any] = extra if isinstance(extra, dict) else {}
        problem = f"{error['msg']} (it is {json.dumps(error['input'], default=str)})"
        if error["type"] == "missing":
            problem = "the key is missing"
        yield _text(key, problem, hints["otherwise"], hints["write"])


def _text(key: str, problem: str, otherwise: str, write: str) -> str:
    return f"{key}: {problem}.\n    What would happen: {otherwise}.\n    Write instead: {write}"


def _join(key: str, below: str) -> str:
    return f"{key}{'' if below.startswith('[') or not (key and below) else '.'}{below}"


def _locate(
    root: type[Section], location: tuple[int | str, ...]
) -> tuple[str, FieldInfo | None, type[Section]]:
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
            section = _section_in(field.annotation) if field else None
    return key, field, inside


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {to_camel(name): field for name, field in section.model_fields.items()}


def _section_in(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `list[Model]` or `Restore | None`."""
    if isinstance(annotation, types.GenericAlias | types.UnionType):
        return next(filter(None, map(_section_in, typing.get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None
