"""Writes each contract chart's values.schema.json: `python -m sandbox.charts.schema`.

A schema refuses every key that the real chart does not read, and every value of another type. Its sources lie
in the chart's folder: values.yaml (keys with a default, which tells the type) and keys.txt, whose lines read

    path: type         a key without a default, or with one that does not tell its type:
                       bool int number string list map null any
    path: type|type    one of several types
    path!: type        required where its parent is given
    list[].key: type   a key of each item of a list
    path.*: any        path may hold keys that are not named

An empty map in values.yaml, or a `map` in keys.txt, may hold any keys.
"""

import json
from pathlib import Path
from typing import Any, cast

import yaml

CHARTS = Path(__file__).parent
TYPES = {
    "bool": "boolean",
    "int": "integer",
    "number": "number",
    "string": "string",
    "list": "array",
    "map": "object",
    "null": "null",
}

Schema = dict[str, Any]


def closed() -> Schema:
    """The schema of a map all of whose keys are known."""
    return {"type": "object", "properties": {}, "additionalProperties": False}


def of_default(value: object) -> Schema:
    """The schema that a default in values.yaml tells; {} (anything) for null."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
        case dict() if value:
            properties = {key: of_default(child) for key, child in cast(dict[str, object], value).items()}
            return closed() | {"properties": properties}
        case dict():
            return {"type": "object"}
        case _:
            return {}


def add_key(schema: Schema, line: str) -> None:
    """Adds one line of keys.txt to the schema of the chart's values."""
    path, types = line.split(": ")
    *parents, key = path.removesuffix("!").split(".")
    node = schema
    for parent in parents:
        node = node["properties"].setdefault(parent.removesuffix("[]"), closed())
        if parent.endswith("[]"):
            node["type"] = "array"
            node.pop("properties", None)
            node.pop("additionalProperties", None)
            node = node.setdefault("items", closed())
        elif "properties" not in node:
            node.update(closed())
    if key == "*":
        node["additionalProperties"] = True
        return
    names = [TYPES[name] for name in types.split("|") if name != "any"]
    node["properties"][key] = {"type": names[0] if len(names) == 1 else names} if names else {}
    if path.endswith("!"):
        node.setdefault("required", []).append(key)


def render(chart: Path) -> str:
    """The text of a chart's values.schema.json."""
    schema = of_default(yaml.safe_load((chart / "values.yaml").read_text()))
    for line in (chart / "keys.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            add_key(schema, line)
    schema["properties"]["global"] = schema["properties"].get("global", {"type": "object"})
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#"} | schema, indent=1) + "\n"


def charts() -> list[Path]:
    """The folders of the contract charts."""
    return sorted(path.parent for path in CHARTS.glob("*/Chart.yaml"))


if __name__ == "__main__":
    for folder in charts():
        (folder / "values.schema.json").write_text(render(folder))
