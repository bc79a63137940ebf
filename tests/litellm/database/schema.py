"""Reads LiteLLM's own schema.prisma: models, fields, keys, defaults and relations.

Knows of the language what that file uses; any other default is refused by name.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCALARS = {"String", "Int", "BigInt", "Float", "Boolean", "DateTime", "Json"}
_FIELD = re.compile(r"^(\w+)\s+(\w+)(\[\]|\?)?(.*)$")
_RELATION = re.compile(r"fields: \[(\w+)\], references: \[(\w+)\]")


@dataclass(frozen=True)
class Field:
    """A column, or a relation where `kind` is another model's name."""

    name: str
    kind: str
    array: bool
    optional: bool
    attributes: str

    @property
    def default(self) -> str | None:
        """Text between the parentheses of @default; None where there is none."""
        found = re.search(r"@default\s*\(((?:[^()]|\(\))*)\)", self.attributes)
        return found.group(1) if found else None

    @property
    def column(self) -> str:
        """Name in the database, quoted."""
        found = re.search(r'@map\("(\w+)"\)', self.attributes)
        return f'"{found.group(1) if found else self.name}"'

    @property
    def generated(self) -> bool:
        return self.default == "autoincrement()"

    @property
    def relation(self) -> tuple[str, str] | None:
        """Own column and the other model's, on the side that holds the reference."""
        found = _RELATION.search(self.attributes)
        return (found.group(1), found.group(2)) if found else None

    @property
    def relation_name(self) -> str | None:
        found = re.search(r'@relation\("(\w+)"', self.attributes)
        return found.group(1) if found else None

    def initial(self) -> Any:
        """The value of a new row that gives none; raises NotImplementedError for a default not known here."""
        match self.default:
            case None if "@updatedAt" not in self.attributes:
                return [] if self.array else None
            case None | "now()":
                return datetime.datetime.now(datetime.UTC)
            case "uuid()" | "cuid()":
                return str(uuid.uuid4())
            case text if self.kind not in SCALARS:
                return text
            case text if text[0] in '"[-0123456789tf':
                return json.loads(text)
            case text:
                raise NotImplementedError(f"stand-in prisma: @default({text})")


@dataclass(frozen=True)
class Model:
    """A table: its columns by name, its relations by name, and sets of columns that are unique together."""

    name: str
    columns: dict[str, Field] = field(default_factory=dict)
    relations: dict[str, Field] = field(default_factory=dict)
    keys: list[tuple[str, ...]] = field(default_factory=list)

    def compound(self, name: str) -> tuple[str, ...] | None:
        """The columns that prisma addresses by their names joined with underscores."""
        return next((key for key in self.keys if len(key) > 1 and "_".join(key) == name), None)


def read(path: Path) -> dict[str, Model]:
    """The models by name."""
    text = re.sub(r"//.*", "", path.read_text())
    enums = set(re.findall(r"^enum (\w+)", text, re.MULTILINE))
    return {
        name: _model(name, body, enums)
        for name, body in re.findall(r"^model (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    }


def _model(name: str, body: str, enums: set[str]) -> Model:
    model = Model(name)
    for line in map(str.strip, body.splitlines()):
        if key := re.match(r"@@(?:id|unique)\(\[([^\]]*)\]", line):
            model.keys.append(tuple(part.strip() for part in key.group(1).split(",")))
        elif not line.startswith("@@") and (parts := _FIELD.match(line)):
            found = Field(parts[1], parts[2], parts[3] == "[]", parts[3] == "?", parts[4])
            if found.kind in SCALARS | enums:
                model.columns[found.name] = found
                if re.search(r"@(id|unique)\b", found.attributes):
                    model.keys.append((found.name,))
            else:
                model.relations[found.name] = found
    return model


def tables(models: dict[str, Model]) -> Iterator[str]:
    """The statements that make the tables in SQLite."""
    # The affinities keep text as it is; the names say how a raw query's column is decoded.
    types = {
        "Int": "INTEGER",
        "BigInt": "INTEGER",
        "Float": "REAL",
        "Boolean": "BOOLEAN",
        "Json": "JSON_TEXT",
    }
    for model in models.values():
        parts: list[str] = []
        for column in model.columns.values():
            kind = "JSON_TEXT" if column.array else types.get(column.kind, "TEXT")
            null = "" if column.optional else " NOT NULL"
            parts.append(f"{column.column} {kind}{null}{' PRIMARY KEY' if column.generated else ''}")
        for key in model.keys:
            if not model.columns[key[0]].generated:
                parts.append(f"UNIQUE ({', '.join(model.columns[name].column for name in key)})")
        for relation in model.relations.values():
            if relation.relation:
                own, other = relation.relation
                key = model.columns[own].column
                parts.append(f'FOREIGN KEY ({key}) REFERENCES "{relation.kind}" ("{other}")')
        yield f'CREATE TABLE IF NOT EXISTS "{model.name}" ({", ".join(parts)})'
