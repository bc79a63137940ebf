"""External Secrets' template engine v2, in part: text around actions, `if` with `else`, and a few functions.

An action is a pipeline: `{{ .name }}`, `{{ index . "name" }}`, `{{ "text" }}`, a function with its arguments, or
such in parentheses, piped through the functions below; and there are the trim markers `{{-` and `-}}`. Variables,
`range`, `with`, `else if`, comparisons and Sprig's other functions are refused by name, in a branch that is not
taken, too. A value is true where it is not empty.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

# unicode.IsSpace of Go, which strings.TrimSpace asks; Python's str.strip takes \x1c to \x1f, too.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

Value = Any
Evaluate = Callable[[Mapping[str, str]], Value]


def _fail(message: str) -> str:
    raise ValueError(f"error calling fail: {message}")


def _regex_match(pattern: str, text: str) -> bool:
    """Go's `$` is the end of the text, Python's also the line end before it."""
    return bool(re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), text))


_OF_ONE: dict[str, Callable[[str], str]] = {
    "b64dec": lambda text: base64.b64decode(text).decode(),
    "b64enc": lambda text: base64.b64encode(text.encode()).decode(),
    "fail": _fail,
    "lower": str.lower,
    "quote": json.dumps,
    "toString": str,
    "trim": lambda text: text.strip(_SPACE),
    "upper": str.upper,
    "urlquery": quote_plus,
}
_OF_TWO: dict[str, Callable[[str, str], Value]] = {
    "regexMatch": _regex_match,
    "trimPrefix": lambda prefix, text: text.removeprefix(prefix),
}
FUNCTIONS: dict[str, Callable[..., Value]] = {**_OF_ONE, **_OF_TWO}

_ACTION = re.compile(r"(\s*\{\{-\s|\{\{)(.*?)(\s-\}\}\s*|\}\})", re.DOTALL)
_TOKEN = re.compile(r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\")|\.(?P<field>\w+)|(?P<word>\w+)|(?P<mark>[().|]))")


class TemplateError(Exception):
    """A template that cannot be rendered; worded as the operator words it."""


def render(key: str, template: str, values: Mapping[str, str]) -> str:
    """The template of `key` with the values put in. Raises TemplateError."""
    return _Parser(key, template).parse()(values)


class _Parser:
    def __init__(self, key: str, template: str) -> None:
        self._key = key
        self._pieces = self._split(template)

    def parse(self) -> Callable[[Mapping[str, str]], str]:
        body, end = self._block()
        if end:
            raise self._wrong("parse", 1, f"unexpected {{{{{end}}}}}")
        return body

    def _split(self, template: str) -> Iterator[tuple[str, int, bool]]:
        """Text and actions in order: the piece, its line, and whether it is an action."""
        position = 0
        for action in _ACTION.finditer(template):
            yield template[position : action.start()], 0, False
            yield action[2].strip(), template[: action.start(2)].count("\n") + 1, True
            position = action.end()
        yield template[position:], 0, False

    def _block(self) -> tuple[Callable[[Mapping[str, str]], str], str]:
        """What stands up to `else`, `end` or the end of the text, and which of them ended it."""
        parts: list[Evaluate] = []
        end = ""
        for piece, line, action in self._pieces:
            if piece in ("else", "end") and action:
                end = piece
                break
            if not action:
                parts.append(lambda _, piece=piece: piece)
            elif piece.startswith("if "):
                parts.append(self._if(piece, line))
            else:
                parts.append(self._pipeline(piece, line))
        return lambda values: "".join(_text(part(values)) for part in parts), end

    def _if(self, piece: str, line: int) -> Evaluate:
        asked = self._pipeline(piece.removeprefix("if "), line)
        then, end = self._block()
        otherwise: Evaluate = lambda _: ""  # noqa: E731
        if end == "else":
            otherwise, end = self._block()
        if end != "end":
            raise self._wrong("parse", line, "unexpected EOF")
        return lambda values: (then if asked(values) else otherwise)(values)

    def _pipeline(self, body: str, line: int) -> Evaluate:
        tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(body):
            token = _TOKEN.match(body, position)
            if token is None:
                raise self._not_emulated(body, line)
            tokens.append((token.lastgroup or "", token[token.lastgroup or ""]))
            position = token.end()
        found = self._commands(tokens, body, line)
        if tokens:
            raise self._not_emulated(body, line)
        return found

    def _commands(self, tokens: list[tuple[str, str]], body: str, line: int) -> Evaluate:
        """Commands joined by `|`, up to `)` or the end; takes their tokens away."""
        value: Evaluate | None = None
        while True:
            function, arguments = self._command(tokens, body, line)
            if value is not None:
                if function is None:
                    raise self._not_emulated(body, line)
                arguments.append(value)
            value = self._call(function, arguments, body, line)
            if not tokens or tokens[0][1] != "|":
                return value
            tokens.pop(0)

    def _command(
        self, tokens: list[tuple[str, str]], body: str, line: int
    ) -> tuple[str | None, list[Evaluate]]:
        function = tokens.pop(0)[1] if tokens and tokens[0][0] == "word" else None
        if function is not None and function not in {*FUNCTIONS, "index"}:
            if body.split()[0] == function and function in ("range", "with", "define", "template", "block"):
                raise self._not_emulated(body, line)
            raise self._wrong(
                "parse",
                line,
                f"function {json.dumps(function)} is not emulated by the sandbox, which knows "
                f"{', '.join(sorted(FUNCTIONS))}",
            )
        arguments: list[Evaluate] = []
        while tokens and tokens[0][1] not in ("|", ")"):
            kind, text = tokens.pop(0)
            if kind == "text":
                arguments.append(lambda _, text=text: json.loads(text))
            elif kind == "field":
                arguments.append(self._field(text, f".{text}", line))
            elif text == "(":
                arguments.append(self._commands(tokens, body, line))
                if not tokens or tokens.pop(0)[1] != ")":
                    raise self._not_emulated(body, line)
            elif text == ".":
                arguments.append(lambda values: values)
            else:
                raise self._not_emulated(body, line)
        if function is None and len(arguments) != 1:
            raise self._not_emulated(body, line)
        return function, arguments

    def _call(self, function: str | None, arguments: list[Evaluate], body: str, line: int) -> Evaluate:
        if function is None:
            return arguments[0]

        def call(values: Mapping[str, str]) -> Value:
            given = [argument(values) for argument in arguments]
            try:
                if function != "index":
                    return FUNCTIONS[function](*given)
                of, name = given
                return self._field(name, body, line)(of)
            except (AttributeError, TypeError, ValueError, re.error) as error:
                # text/template shows 20 characters of what it executes.
                shown = body if len(body) <= 20 else f"{body[:20]}..."
                raise self._wrong(
                    "execute", line, f"executing {json.dumps(self._key)} at <{shown}>: {error}"
                ) from error

        return call

    def _field(self, name: str, written: str, line: int) -> Evaluate:
        def field(values: Mapping[str, str]) -> str:
            if name not in values:
                raise self._wrong(
                    "execute",
                    line,
                    f'executing "{self._key}" at <{written}>: map has no entry for key "{name}"',
                )
            return values[name]

        return field

    def _not_emulated(self, body: str, line: int) -> TemplateError:
        return self._wrong(
            "parse",
            line,
            f"{{{{ {body} }}}} is not emulated by the sandbox, which knows pipelines of {{{{ .name }}}} and "
            f"{', '.join(sorted(FUNCTIONS))}",
        )

    def _wrong(self, step: str, line: int, cause: str) -> TemplateError:
        return TemplateError(
            f"unable to {step} template at key {self._key}: template: {self._key}:{line}: {cause}"
        )


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
