"""External Secrets' template engine v2, in part: text around `{{ .name }}` and a few functions.

It knows `{{ .name }}`, `{{ index . "name" }}` and `{{ "text" }}`, each piped through the functions below, and
the trim markers `{{-` and `-}}`. Control structures, variables and Sprig's other functions are refused by
name.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

FUNCTIONS: dict[str, Callable[[str], str]] = {
    "b64dec": lambda text: base64.b64decode(text).decode(),
    "b64enc": lambda text: base64.b64encode(text.encode()).decode(),
    "lower": str.lower,
    "quote": json.dumps,
    "toString": str,
    "trim": str.strip,
    "upper": str.upper,
    "urlquery": quote_plus,
}

_ACTION = re.compile(
    r"(?P<before>\s*)\{\{(?P<left>-\s)?(?P<body>.*?)(?P<right>\s-)?\}\}(?P<after>\s*)", re.DOTALL
)
_FIELD = re.compile(r"\.(?P<field>\w+)|index \. \"(?P<index>[^\"]+)\"|(?P<text>\"(?:[^\"\\]|\\.)*\")")


class TemplateError(Exception):
    """A template that cannot be rendered; worded as the operator words it."""


def render(key: str, template: str, values: Mapping[str, str]) -> str:
    """The template of `key` with the values put in. Raises TemplateError."""

    def put(action: re.Match[str]) -> str:
        before = "" if action["left"] else action["before"]
        after = "" if action["right"] else action["after"]
        line = template[: action.start("body")].count("\n") + 1
        return before + _evaluate(key, line, action["body"].strip(), values) + after

    return _ACTION.sub(put, template)


def _evaluate(key: str, line: int, body: str, values: Mapping[str, str]) -> str:
    operand, *functions = (part.strip() for part in body.split("|"))
    where = f"template: {key}:{line}"
    field = _FIELD.fullmatch(operand)
    if field is None:
        raise TemplateError(
            f"unable to parse template at key {key}: {where}: {{{{ {body} }}}} is not emulated by the sandbox, "
            f"which knows {{{{ .name }}}} piped through {', '.join(sorted(FUNCTIONS))}"
        )
    if field["text"]:
        result = json.loads(field["text"])
    else:
        name = field["field"] or field["index"]
        if name not in values:
            raise TemplateError(
                f'unable to execute template at key {key}: {where}: executing "{key}" at <{operand}>: '
                f'map has no entry for key "{name}"'
            )
        result = values[name]
    for function in functions:
        if function not in FUNCTIONS:
            raise TemplateError(
                f"unable to parse template at key {key}: {where}: function {json.dumps(function)} "
                f"is not emulated by the sandbox, which knows {', '.join(sorted(FUNCTIONS))}"
            )
        try:
            result = FUNCTIONS[function](result)
        except ValueError as error:
            raise TemplateError(f"unable to execute template at key {key}: {where}: {error}") from error
    return result
