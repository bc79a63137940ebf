"""The arguments that `vllm serve` of the pinned version takes, read as its own parser does (vllm/utils/argparse_utils.py)."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

OPTIONS = Path(__file__).with_name("vllm-options.json")
"""Kinds by an option's spellings; `python -m sandbox.containers.vllm_options WHEEL` writes it."""
_NEEDS = {"enable_auto_tool_choice": "tool_call_parser", "enable_log_outputs": "enable_log_requests"}
"""Options that vLLM refuses without another one (`validate_parsed_serve_args`)."""
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kmgtKMGT])")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vllm serve`. It takes them abbreviated, too, as argparse does by default."""
    kinds: Mapping[str, str | list[str] | list[int]] = json.loads(OPTIONS.read_text())
    for spellings, kind in kinds.items():
        if isinstance(kind, list):
            parser.add_argument(*spellings.split(), type=type(kind[0]), choices=kind)
        elif kind.endswith(" or none"):
            read = _KINDS[kind.removesuffix(" or none")]["type"]
            parser.add_argument(*spellings.split(), type=_or_none(read))
        else:
            parser.add_argument(*spellings.split(), **_KINDS[kind])


def rewritten(words: Sequence[str]) -> list[str]:
    """What vLLM hands to argparse: dashes for underscores, `-O3` in full, and `--option.key value` as JSON at the end.

    Of that JSON the keys are left out, which the parser takes whatever they are.
    """
    plain: list[str] = []
    nested: dict[str, str] = {}
    rest = iter(enumerate(words))
    for index, word in rest:
        option, equals, value = word.partition("=")
        if word == "-O" and words[index + 1 : index + 2] in (["0"], ["1"], ["2"], ["3"]):
            plain.append("--optimization-level")
        elif word.startswith("-O") and word != "-O":
            plain += ["--optimization-level", word[2:].removeprefix("=")]
        elif word.startswith("-") and "." in option:
            name = option.partition(".")[0]
            nested[name.replace("_", "-") if name.startswith("--") else name] = "{}"
            if not equals:
                next(rest, None)
        else:
            plain.append(option.replace("_", "-") + equals + value if word.startswith("--") else word)
    return [*plain, *(word for pair in nested.items() for word in pair)]


def given(words: Sequence[str]) -> Mapping[str, Any]:
    """The values that the arguments set, by option, without dashes before it.

    Raises ValueError with argparse's words where vLLM would refuse.
    """
    values, unknown = _parser().parse_known_args(rewritten(words))
    if unknown:
        raise ValueError(f"unrecognized arguments: {' '.join(unknown)}")
    for option, needed in _NEEDS.items():
        if getattr(values, option, False) and not getattr(values, needed, None):
            raise ValueError(f"--{option} requires --{needed}".replace("_", "-"))
    return {name.replace("_", "-"): value for name, value in vars(values).items()}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def _parser() -> _Parser:
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="store_true")
    add_options(parser)
    return parser


def size(text: str) -> int:
    """A whole number, or one such as 1k for 1,000, 1.5k, and 1K for 1,024."""
    if match := _SIZE.fullmatch(text.strip()):
        number, unit = match.groups()
        power = "kmgt".index(unit.lower()) + 1
        return int(float(number) * 1000**power) if unit.islower() else int(number) * 1024**power
    return int(text)


def length(text: str) -> int:
    return -1 if text.strip().lower() in ("-1", "auto") else size(text)


def json_text(text: str) -> Any:
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    parts[::2] = [
        re.sub(rf"\b{_SIZE.pattern}\b", lambda number: str(size(number[0])), part) for part in parts[::2]
    ]
    return json.loads("".join(parts))


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def reads(text: str) -> Any:
        return None if text in ("", "None") else read(text)

    reads.__name__ = read.__name__
    return reads


_KINDS: Mapping[str, dict[str, Any]] = {
    "bool": {"action": argparse.BooleanOptionalAction},
    "flag": {"action": "store_true"},
    "float": {"type": float},
    "int": {"type": int},
    "ints": {"type": int, "nargs": "+"},
    "json": {"type": json_text},
    "length": {"type": length},
    "list": {"nargs": "+"},
    "optional": {"nargs": "?", "const": True},
    "size": {"type": size},
    "text": {},
}
