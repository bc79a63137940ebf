"""How values travel: checked as Prisma's engine does on their way in, typed as its client does on their way out."""

# Runs where litellm and prisma are installed, which is not where types are checked.
# pyright: reportMissingImports=false, reportUnknownParameterType=false

from __future__ import annotations

import datetime
import json
from typing import Any

from database.schema import Field
from prisma.engine.utils import handle_response_errors
from prisma.errors import PrismaError
from prisma.fields import Json


def failed(code: str, message: str) -> PrismaError:
    """The error that the client makes of the engine's, https://www.prisma.io/docs/orm/reference/error-reference."""
    meta = {"message": message, "argumentPath": [], "selectionPath": []}
    try:
        handle_response_errors(
            None,
            [{"error": message, "user_facing_error": {"error_code": code, "message": message, "meta": meta}}],
        )
    except PrismaError as error:
        return error


def encoded(field: Field, value: Any) -> Any:
    """The value as SQLite keeps it; raises PrismaError where the engine would refuse it."""
    if value is None:
        return None
    if field.array:
        if not isinstance(value, list):
            raise _refused(field, value)
        return json.dumps([_scalar(field, item) for item in value])
    return _scalar(field, value)


def _scalar(field: Field, value: Any) -> Any:
    match field.kind, value:
        case "Json", Json():
            return json.dumps(value.data)
        case "Json", str():
            try:
                return json.dumps(json.loads(value))
            except ValueError as error:
                raise _refused(field, value) from error
        case "DateTime", datetime.datetime():
            return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        case "DateTime", str():
            try:
                moment = datetime.datetime.fromisoformat(value)
            except ValueError as error:
                raise _refused(field, value) from error
            if moment.tzinfo is None:
                raise _refused(field, value)
            return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        case "Boolean", bool():
            return int(value)
        case (("Int" | "BigInt" | "Float"), bool()):
            raise _refused(field, value)
        case (("Int" | "BigInt"), int()):
            return value
        case "Float", int() | float():
            return float(value)
        case (("Int" | "BigInt" | "Float" | "Boolean" | "DateTime" | "Json"), _):
            raise _refused(field, value)
        case _, str():
            return str(value)
        case _:
            raise _refused(field, value)


def decoded(field: Field, value: Any) -> Any:
    """A column's value as the client gives it."""
    if field.kind == "DateTime" and isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    return value


def _refused(field: Field, value: Any) -> PrismaError:
    shape = f"{field.kind}{'[]' if field.array else ''}"
    return failed("P2023", f"Invalid argument value: `{value!r}` of {field.name} is no {shape}")
