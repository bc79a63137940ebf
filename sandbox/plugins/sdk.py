"""Input names checked against the installed Pulumi SDKs: a misspelt one fails, as with the real provider.

Reads only what the generated SDKs carry: the tables in which they register their resources, and their input
types. It knows names and nesting, not required properties or value types.
"""

from __future__ import annotations

import collections.abc
import difflib
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pulumi import _types as sdk_types  # pyright: ignore[reportPrivateUsage]
from pulumi.provider.experimental.provider import CheckFailure
from pulumi.runtime import rpc


def input_names(package: str, token: str) -> set[str]:
    """The Pulumi names of a resource's, function's or provider's ("pulumi:providers:<package>") inputs.

    Raises LookupError where the installed SDK of the package does not know the token.
    """
    if token.rpartition(":")[2][0].islower() and not token.startswith("pulumi:providers:"):
        return _function_names(package, token)
    return set(_types(args_type(package, token)))


@cache
def args_type(package: str, token: str) -> type:
    """The SDK's class of a resource's or provider's arguments; raises LookupError for an unknown token."""
    root = importlib.import_module(f"pulumi_{package}")
    if token == f"pulumi:providers:{package}":
        resource: type = root.Provider
    else:
        module = rpc.get_resource_module(package, token.split(":")[1], "")
        table: Mapping[str, str] = module.mod_info["classes"] if module else {}  # type: ignore[attr-defined]
        if token not in table:
            raise LookupError(f"{token} is not a resource of the installed pulumi_{package}.")
        resource = getattr(importlib.import_module(module.mod_info["fqn"]), table[token])  # type: ignore[union-attr]
    members = vars(sys.modules[resource.__module__])
    name = resource.__name__
    return members.get(f"{name}InitArgs") or members[f"{name}Args"]


def check_inputs(package: str, token: str, inputs: Mapping[str, Any]) -> list[CheckFailure]:
    """A failure for every name in plain `inputs`, nested ones included, that the SDK does not have.

    Raises LookupError for an unknown token.
    """
    return [
        CheckFailure(
            path, f'{token} has no property "{path}"{_nearest(name, names)}; it would have no effect.'
        )
        for path, name, names in _unknown(inputs, args_type(package, token), "")
    ]


def check_names(token: str, inputs: Mapping[str, Any], names: set[str]) -> list[CheckFailure]:
    """A failure for every top-level name in `inputs` that is not one of `names`."""
    return [
        CheckFailure(
            name, f'{token} has no property "{name}"{_nearest(name, names)}; it would have no effect.'
        )
        for name in inputs
        if name not in names
    ]


def _nearest(name: str, names: collections.abc.Iterable[str]) -> str:
    match = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f' (did you mean "{match[0]}"?)' if match else ""


@cache
def _types(args: type) -> dict[str, Any]:
    return dict(sdk_types.input_type_types(args))


def _unknown(value: Any, args: type, path: str) -> Iterator[tuple[str, str, list[str]]]:
    """(path, name, valid names) of each name in `value` that the input type `args` lacks."""
    if not isinstance(value, dict):
        return
    types = _types(args)
    for name, item in value.items():
        where = f"{path}.{name}" if path else name
        if name not in types:
            yield where, name, list(types)
            continue
        nested, mapping = _nested(types[name])
        if nested is None:
            continue
        if isinstance(item, list):
            for index, element in enumerate(item):
                yield from _unknown(element, nested, f"{where}[{index}]")
        elif mapping and isinstance(item, dict):
            for key, element in item.items():
                yield from _unknown(element, nested, f"{where}.{key}")
        else:
            yield from _unknown(item, nested, where)


def _nested(hint: Any) -> tuple[type | None, bool]:
    """The input type inside a type hint, and whether it is the value type of a mapping."""
    if isinstance(hint, type) and sdk_types.is_input_type(hint):
        return hint, False
    for argument in typing.get_args(hint):
        nested, mapping = _nested(argument)
        if nested:
            return nested, mapping or typing.get_origin(hint) is collections.abc.Mapping
    return None, False


def _function_names(package: str, token: str) -> set[str]:
    _, module, name = token.split(":")
    owner = importlib.import_module(".".join([f"pulumi_{package}", *module.split("/")[:1]]))
    function = getattr(owner, re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: f"_{m[1].lower()}", name), None)
    if function is None:
        raise LookupError(f"{token} is not a function of the installed pulumi_{package}.")
    return {
        re.sub(r"_(\w)", lambda m: m[1].upper(), parameter)
        for parameter in inspect.signature(function).parameters
        if parameter != "opts"
    }
