"""The JSON Schema of `Pulumi.<stack>.yaml`, by which editors complete keys and mark mistakes."""

from __future__ import annotations

from typing import Any, cast

from settings import PROJECT, Settings

Schema = dict[str, Any]


def stack_file_schema() -> Schema:
    """The schema of a stack file: this project's keys are closed, other namespaces' and Pulumi's are open.

    Only the program checks the rules between settings: no schema can express them.
    """
    model = settings_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack settings of llm-gateway",
        "type": "object",
        "properties": {
            "config": {
                "description": "The stack's configuration.",
                "type": "object",
                "properties": {f"{PROJECT}:{key}": value for key, value in model["properties"].items()},
                "required": [f"{PROJECT}:{key}" for key in model["required"]],
                "patternProperties": {f"^(?!{PROJECT}:)[^:]+:.+$": {}},
                "additionalProperties": False,
            }
        },
        "required": ["config"],
        "$defs": model["$defs"],
    }


def settings_schema() -> Schema:
    """Pydantic's schema of the settings, with keys as in the file and without what editors do not use."""
    return _tidy(Settings.model_json_schema(by_alias=True))


def _tidy(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_tidy(item) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    tidy: Schema = {
        # Under `properties` every key is a setting's name.
        key: {name: _tidy(field) for name, field in value.items()}
        if key in ("properties", "$defs")
        else _tidy(value)
        for key, value in cast(Schema, schema).items()
        if key not in ("title", "otherwise", "write")
    }
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    match tidy:
        case {"anyOf": [kind, {"type": "null"}], "default": None}:
            # In the file a key is left out, never null.
            return {key: value for key, value in tidy.items() if key not in ("anyOf", "default")} | kind
        case _:
            return tidy
