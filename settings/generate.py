"""`python -m settings.generate` writes `stack.schema.json`, the pages made from the code, and the README's part of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import outputs
from settings import PROJECT
from settings.prerequisites import (
    APIS,
    FEATURES,
    GITHUB_APIS,
    PROGRAMS,
    ROLES,
    STATE_APIS,
    STATE_ROLES,
    Api,
    CheckedApi,
)
from settings.schema import Schema, settings_schema, stack_file_schema

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make docs` from the code: change it there. -->"
README_BEGIN = "   <!-- prerequisites: made by `make docs` from settings/prerequisites.py -->\n"
README_END = "   <!-- end of prerequisites -->\n"


def documents() -> dict[str, str]:
    """The content of each generated file, by its path relative to the repository's root."""
    return {
        "stack.schema.json": json.dumps(stack_file_schema(), indent=2, ensure_ascii=False) + "\n",
        "docs/settings.md": settings_page(),
        "docs/outputs.md": outputs_page(),
        "docs/prerequisites.md": prerequisites_page(),
        "README.md": readme(),
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


def prerequisites_page() -> str:
    """What must be there before an `up`: a table for each of APIs, roles, cluster and machine."""
    lines = [
        "# Prerequisites",
        "",
        NOTE,
        "",
        "What `pulumi up` needs to find. The program looks at the cluster before it makes anything, and at each API that the last column "
        "calls looked up. Whether a role is enough, Google's provider cannot ask beforehand.",
        "",
        "## APIs",
        "",
        *_table(
            ("API", "enabled in", "needed for", "only with", "what misses it first"),
            [(f"`{api.name}`", api.project, api.why, api.when, _misses(api)) for api in APIS],
        ),
        "",
        "Those that are always needed:",
        "",
        "<!-- not run: needs Google Cloud -->",
        "```sh",
        f"gcloud services enable {' '.join(api.name for api in APIS if not api.when)} --project <project>",
        "```",
        "",
        f"The state in a bucket needs {_names(STATE_APIS)} too, and deployments from GitHub {_names(GITHUB_APIS)}.",
        "",
        "## Roles",
        "",
        *_table(
            ("role of whoever runs `pulumi up`", "on", "needed for", "only with", "enough for a preview"),
            [
                (
                    f"`{role.name}`",
                    role.on,
                    role.why,
                    role.when,
                    f"`{role.previews}`" if role.previews else "",
                )
                for role in (*ROLES, *STATE_ROLES)
            ],
        ),
        "",
        "[environments.md](environments.md#3-identities) gives them to accounts that GitHub deploys with.",
        "",
        "## The cluster",
        "",
        *_table(
            ("it has", "only with", "without it"),
            [(feature.name, feature.when, feature.otherwise) for feature in FEATURES],
        ),
        "",
        "## The machine",
        "",
        *_table(("program", "login"), list(PROGRAMS.items())),
    ]
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README with its part between the marks of prerequisites made anew."""
    apis = [(f"`{api.name.removesuffix('.googleapis.com')}`", api.when) for api in APIS]
    rows = [
        ("APIs", *_always_and_sometimes(apis)),
        ("roles", *_always_and_sometimes([(f"`{role.name}`", role.when) for role in ROLES])),
        ("cluster", *_always_and_sometimes([(feature.name, feature.when) for feature in FEATURES])),
        ("machine", ", ".join(PROGRAMS), ""),
    ]
    lines = [f"   {line}\n" for line in _table(("", "always", "with some settings"), rows)]
    before, begin, rest = (ROOT / "README.md").read_text().partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    return f"{before}{begin}{''.join(lines)}{end}{after}"


def _always_and_sometimes(items: list[tuple[str, str]]) -> tuple[str, str]:
    """Two cells: the names of what is always needed, and those of the rest by the settings that need them."""
    by_setting: dict[str, list[str]] = {}
    for name, when in items:
        by_setting.setdefault(when, []).append(name)
    always = ", ".join(by_setting.pop("", []))
    return always, "; ".join(f"{when}: {', '.join(names)}" for when, names in by_setting.items())


def _misses(api: Api) -> str:
    return f"it is looked up; else {api.otherwise}" if isinstance(api, CheckedApi) else api.first


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


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
