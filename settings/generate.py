"""`python -m settings.generate` writes `stack.schema.json`, `docs/settings.md` and `docs/outputs.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import outputs
from settings import PROJECT
from settings.schema import Schema, settings_schema, stack_file_schema

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make docs` from the code: change it there. -->"


def documents() -> dict[str, str]:
    """The content of each generated file, by its path relative to the repository's root."""
    return {
        "stack.schema.json": json.dumps(stack_file_schema(), indent=2, ensure_ascii=False) + "\n",
        "docs/settings.md": settings_page(),
        "docs/outputs.md": outputs_page(),
    }


def settings_page() -> str:
    """A table per section: key, type, default, what it is."""
    schema = settings_schema()
    lines = [
        "# Settings",
        "",
        NOTE,
        "",
        f"The keys under `config` of `Pulumi.<stack>.yaml`, each top-level one written as `{PROJECT}:<key>`. "
        "A key with a default can be left out. "
        f"`pulumi new` writes a key by its path, `{PROJECT}:gcp.project`: such a key replaces what its section says. "
        "Unknown keys and combinations that cannot work are refused; the message gives the key, what would "
        "happen and what to write instead. The first line of a stack file names "
        "[`stack.schema.json`](../stack.schema.json), by which editors complete the keys.",
        "",
        *_section(schema, "", schema, ""),
    ]
    return "\n".join(lines).rstrip() + "\n"


def outputs_page() -> str:
    """A table of the stack's outputs."""
    rows = [(f"`{output.name}`", output.type, output.about) for output in outputs.contract()]
    lines = [
        "# Outputs",
        "",
        NOTE,
        "",
        "Other stacks read these by a StackReference and `require_output`. No output is ever removed, changes its "
        "type or becomes a secret. A secret's name is shown, never its value: read that in Secret Manager.",
        "",
        *_table(("output", "type", "what it is"), rows),
    ]
    return "\n".join(lines) + "\n"


def _section(root: Schema, key: str, section: Schema, about: str) -> Iterator[str]:
    """The table of a section's own keys, then its sections."""
    if key:
        yield from (f"## `{key}`", "", about, "")
    below = {name: _inner(root, field) for name, field in section["properties"].items()}
    rows = [
        (
            f"`{name}`",
            _type(field),
            "required" if name in section.get("required", []) else _default(field),
            field["description"],
        )
        for name, field in section["properties"].items()
        if below[name] is None
    ]
    if rows:
        yield from _table(("key", "type", "default", "what it is"), rows)
        yield ""
    for name, field in section["properties"].items():
        if inner := below[name]:
            whole = f"{key}.{name}" if key else name
            if field.get("type") == "array":
                whole += "[]"
            # pydantic leaves out a description that is the section's own.
            described = field.get("description", inner["description"])
            required = " Required." if name in section.get("required", []) else ""
            yield from _section(root, whole, inner, f"{described}{required}")


def _inner(root: Schema, field: Schema) -> Schema | None:
    """The section that a field holds, alone or in a list."""
    reference = field.get("$ref") or field.get("items", {}).get("$ref")
    return root["$defs"][reference.rpartition("/")[2]] if reference else None


def _type(field: Schema) -> str:
    match field:
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}s"
        case {"type": "object", "additionalProperties": True}:
            return "map"
        case {"type": "object", "additionalProperties": {"type": "array"}}:
            return "map of lists of strings"
        case {"type": "object"}:
            return "map of strings"
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"integer, {least} to {most}"
        case {"type": "integer", "minimum": least}:
            return f"integer, {least} or more"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"number, {least:g} to {most:g}"
        case {"type": "number", "exclusiveMinimum": least, "maximum": most}:
            return f"number over {least:g}, {most:g} at most"
        case {"type": "number", "exclusiveMinimum": least}:
            return f"number over {least:g}"
        case {"type": "number", "minimum": least}:
            return f"number, {least:g} or more"
        case _:
            return str(field["type"])


def _default(field: Schema) -> str:
    value = field.get("default")
    return "unset" if value in (None, [], {}) else f"`{json.dumps(value)}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, tuple("---" for _ in head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def main() -> None:
    """Write every generated file."""
    for name, content in documents().items():
        (ROOT / name).write_text(content)
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
