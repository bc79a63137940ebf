"""The text of a stack file as data: what YAML parsers let through, and mean otherwise than its author, is refused."""

# PyYAML has no types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 100_000
"""Values of a stack file with its aliases written out; a thousand keys with every setting are a fifth of that."""


class StackTextError(Exception):
    """The text is no stack file; the message says where, what would happen and what to write instead."""


class _Loader(yaml.SafeLoader):
    """Reads numbers as the engine does, which writes 0.00000005 as 5e-08: by YAML 1.1 that is a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read(content: bytes) -> Any:
    """The document in a YAML file. Raises StackTextError."""
    try:
        loader = _Loader(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise StackTextError(
            f"line {line} is not UTF-8, so its text could be read in several ways: save the file as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise StackTextError(_not_yaml(error)) from None
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Check().values(node, "", ())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise StackTextError(_not_yaml(error)) from None
    except RecursionError:
        raise StackTextError(
            "its mappings and lists are too deep to be read: no setting has more than six levels"
        ) from None
    except ValueError as error:
        raise StackTextError(f"it holds a number or date that does not exist ({str(error)[:80]})") from None
    finally:
        loader.dispose()


def _not_yaml(error: yaml.YAMLError) -> str:
    return f"it is not YAML, so there are no settings: {str(error)[:300]}"


class _Check:
    """Looks at a composed document, where equal keys and aliases still show."""

    def __init__(self) -> None:
        self.counted: dict[int, int] = {}

    def values(self, node: yaml.Node, path: str, above: tuple[int, ...]) -> int:
        """How many values the node stands for. Raises StackTextError."""
        here = f"{path or 'the top level'} (line {node.start_mark.line + 1})"
        if id(node) in above:
            raise StackTextError(
                f"{here} is an alias of what it is in, so it would never end: write the value itself"
            )
        if id(node) in self.counted:
            return self.counted[id(node)]
        total, below = 1, (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = _key(key, here)
                if name in seen:
                    raise StackTextError(
                        f"{path + '.' if path else ''}{name} is there twice, again in line {key.start_mark.line + 1}: "
                        "the last one would win without a word. Keep one of them"
                    )
                seen.add(name)
                total += self.values(value, f"{path}.{name}" if path else name, below)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                total += self.values(item, f"{path}[{index}]", below)
        if total > MOST_VALUES:
            raise StackTextError(
                f"{here} stands for more than {MOST_VALUES} values by its aliases: write the few that are meant"
            )
        self.counted[id(node)] = total
        return total


def _key(node: yaml.Node, here: str) -> str:
    text = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}
    if isinstance(node, yaml.ScalarNode) and node.tag in text:
        return node.value[:80]
    given = f"`{node.value[:40]}`" if isinstance(node, yaml.ScalarNode) else "a mapping or a list"
    raise StackTextError(
        f"line {node.start_mark.line + 1}: {given}, a key in {here}, is not text, and every key is: write it in quotes"
    )
