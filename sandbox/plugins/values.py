"""Pulumi property values as plain Python, back again with their secrets, and differences of plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind
from pulumi.runtime import rpc

Path = tuple[str | int, ...]


class _Unknown:
    """What a preview cannot know yet."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __copy__(self) -> _Unknown:
        return self

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


def plain(value: PropertyValue) -> Any:
    """A property value without its secret marks: dict, list, str, bool, int, float, asset, None or UNKNOWN.

    Integral numbers become int; nulls inside mappings are dropped.
    """
    inner = value.value
    if isinstance(inner, Computed) or inner == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return plain_map(inner)
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    return inner


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """`plain` over a resource's properties."""
    return {key: plain(value) for key, value in values.items() if value.value is not None}


def has_unknown(value: Any) -> bool:
    """Whether a plain value is, or holds, UNKNOWN."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def property_value(value: Any, *like: PropertyValue | None) -> PropertyValue:
    """A plain value as a property value, secret wherever one of `like` is secret at the same place.

    A list whose counterpart has another length is secret as a whole if any element of the counterpart is.
    """
    models = [model for model in like if model is not None]
    secret = any(model.is_secret for model in models)
    inner: Any
    if value is UNKNOWN:
        inner = rpc.UNKNOWN
    elif isinstance(value, Mapping):
        inner = {
            key: property_value(item, *(_at(model, key) for model in models)) for key, item in value.items()
        }
    elif isinstance(value, list):
        secret = secret or any(model.contains_secret() and _length(model) != len(value) for model in models)
        inner = [property_value(item, *(_at(model, i) for model in models)) for i, item in enumerate(value)]
    else:
        inner = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return PropertyValue(inner, is_secret=secret)


def property_map(values: Mapping[str, Any], *like: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """Plain properties as property values, secret wherever one of `like` is secret at the same place."""
    return {key: property_value(value, *(model.get(key) for model in like)) for key, value in values.items()}


def _length(model: PropertyValue) -> int | None:
    return (
        len(model.value) if isinstance(model.value, Sequence) and not isinstance(model.value, str) else None
    )


def _at(model: PropertyValue, key: str | int) -> PropertyValue | None:
    inner: Any = model.value
    if isinstance(key, str):
        return inner.get(key) if isinstance(inner, Mapping) else None
    length = _length(model)
    return inner[key] if length is not None and key < length else None


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, PropertyDiffKind]]:
    """The places where two plain values differ, each as deep as both have a mapping or list there."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in new:
                yield (*path, key), PropertyDiffKind.DELETE
            elif key not in old:
                yield (*path, key), PropertyDiffKind.ADD
            else:
                yield from differences(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(new):
                yield (*path, index), PropertyDiffKind.DELETE
            elif index >= len(old):
                yield (*path, index), PropertyDiffKind.ADD
            else:
                yield from differences(old[index], new[index], (*path, index))
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, PropertyDiffKind.UPDATE


def path_text(path: Path) -> str:
    """A path as Pulumi writes it: spec.containers[0].image, metadata.labels["app.kubernetes.io/name"]."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif any(character in part for character in '."[]'):
            text += '["' + part.replace('"', '\\"') + '"]'
        else:
            text += f".{part}" if text else part
    return text


def detailed_diff(old: Any, new: Any, replaces: Callable[[Path], bool]) -> dict[str, PropertyDiff]:
    """The differences of two plain inputs, for the engine; `replaces` tells the places that replace."""
    replacing = {
        PropertyDiffKind.ADD: PropertyDiffKind.ADD_REPLACE,
        PropertyDiffKind.DELETE: PropertyDiffKind.DELETE_REPLACE,
        PropertyDiffKind.UPDATE: PropertyDiffKind.UPDATE_REPLACE,
    }
    return {
        path_text(path): PropertyDiff(replacing[kind] if replaces(path) else kind, input_diff=True)
        for path, kind in differences(old, new)
    }


def under(*prefixes: str) -> Callable[[Path], bool]:
    """A test for `detailed_diff`: is a place at, in or around a dotted prefix, list indexes left out?"""
    wanted = [tuple(prefix.split(".")) for prefix in prefixes]

    def matches(path: Path) -> bool:
        names = tuple(part for part in path if isinstance(part, str))
        return any(names[: len(prefix)] == prefix[: len(names)] for prefix in wanted)

    return matches
