"""The client: `Prisma()` and, per model, the actions that LiteLLM calls."""

# Statements are built of names in schema.prisma; values travel as parameters.
# ruff: noqa: S608
# Runs where litellm and prisma are installed, which is not where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import litellm.proxy
import pydantic
from database import schema
from database.schema import Field, Model
from database.values import decoded, encoded, failed
from prisma.engine.errors import EngineConnectionError
from prisma.errors import ClientNotConnectedError, UniqueViolationError

MODELS = schema.read(Path(litellm.proxy.__file__).with_name("schema.prisma"))
_COMPARED = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_MATCHED = {"contains": "*{}*", "startsWith": "{}*", "endsWith": "*{}"}

Where = Mapping[str, Any]
Sql = tuple[str, list[Any]]

sqlite3.register_converter("JSON_TEXT", json.loads)
sqlite3.register_converter("BOOLEAN", lambda value: bool(int(value)))


class Store:
    """The SQLite file named by STANDIN_STORE (in memory without it); `away` plays a database that is gone."""

    def __init__(self) -> None:
        path = os.environ.get("STANDIN_STORE", ":memory:")
        self.connection = sqlite3.connect(
            path, detect_types=sqlite3.PARSE_DECLTYPES, isolation_level=None, check_same_thread=False
        )
        self.connection.row_factory = sqlite3.Row
        self.away = False
        self.connection.execute("PRAGMA foreign_keys = ON")
        for statement in schema.tables(MODELS):
            self.connection.execute(statement)

    def run(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement; raises what the client raises."""
        if self.away:
            raise failed("P1001", "Can't reach database server at `database`:`5432`")
        try:
            return self.connection.execute(statement, values)
        except sqlite3.IntegrityError as error:
            text = str(error)
            code = {"UNIQUE": "P2002", "FOREIGN": "P2003"}.get(text.split()[0], "P2012")
            raise failed(code, text) from error


STORE = Store()


class Actions:
    """prisma-client-py's actions of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        row: dict[str, Any] = dict.fromkeys((*model.columns, *model.relations), (Any, None))
        config = pydantic.ConfigDict(protected_namespaces=())
        self._row = pydantic.create_model(model.name, __config__=config, **row)

    async def find_unique(self, where: Where, include: Where | None = None) -> Any:
        self._check_unique(where)
        return await self.find_first(where=where, include=include)

    async def find_first(
        self,
        where: Where | None = None,
        include: Where | None = None,
        order: Where | Sequence[Where] | None = None,
        skip: int | None = None,
    ) -> Any:
        rows = await self.find_many(where=where, include=include, order=order, skip=skip, take=1)
        return rows[0] if rows else None

    async def find_many(
        self,
        where: Where | None = None,
        include: Where | None = None,
        order: Where | Sequence[Where] | None = None,
        skip: int | None = None,
        take: int | None = None,
    ) -> list[Any]:
        condition, values = self._condition(where or {})
        statement = f'SELECT * FROM "{self._model.name}" WHERE {condition}{self._ordered(order)}'
        rows = STORE.run(f"{statement} LIMIT ? OFFSET ?", [*values, -1 if take is None else take, skip or 0])
        return [await self._read(row, include or {}) for row in rows.fetchall()]

    async def count(self, where: Where | None = None) -> int:
        condition, values = self._condition(where or {})
        return STORE.run(f'SELECT count(*) FROM "{self._model.name}" WHERE {condition}', values).fetchone()[0]

    async def group_by(
        self,
        by: Sequence[str],
        where: Where | None = None,
        count: Where | None = None,
        sum: Where | None = None,
        order: Where | Sequence[Where] | None = None,
    ) -> list[dict[str, Any]]:
        columns = [self._field(name).column for name in by]
        counted = [*(count or {})]
        counts = [f"count({self._field(name).column})" for name in counted]
        sums = [f"sum({self._field(name).column})" for name in sum or {}]
        condition, values = self._condition(where or {})
        rows = STORE.run(
            f'SELECT {", ".join([*columns, *counts, *sums])} FROM "{self._model.name}" WHERE {condition} '
            f"GROUP BY {', '.join(columns)}{self._ordered(order)}",
            values,
        )
        groups: list[dict[str, Any]] = []
        for row in rows.fetchall():
            rest = iter(row)
            group: dict[str, Any] = {name: next(rest) for name in by}
            if counted:
                group["_count"] = {name: next(rest) for name in counted}
            if sum:
                group["_sum"] = {name: next(rest) for name in sum}
            groups.append(group)
        return groups

    async def create(self, data: Mapping[str, Any], include: Where | None = None) -> Any:
        row = await self._columns(data)
        for field in self._model.columns.values():
            if field.name not in row and not field.generated:
                row[field.name] = encoded(field, field.initial())
        names = ", ".join(self._field(name).column for name in row)
        places = ", ".join("?" * len(row))
        made = STORE.run(
            f'INSERT INTO "{self._model.name}" ({names}) VALUES ({places}) RETURNING *', [*row.values()]
        )
        return await self._read(made.fetchall()[0], include or {})

    async def create_many(self, data: Sequence[Mapping[str, Any]], skip_duplicates: bool = False) -> int:
        made = 0
        for row in data:
            try:
                await self.create(row)
                made += 1
            except UniqueViolationError:
                if not skip_duplicates:
                    raise
        return made

    async def update(self, data: Mapping[str, Any], where: Where, include: Where | None = None) -> Any:
        """None where there is no such row, as the client has it."""
        self._check_unique(where)
        rows = await self._change(data, where)
        return await self._read(rows[0], include or {}) if rows else None

    async def update_many(self, data: Mapping[str, Any], where: Where) -> int:
        return len(await self._change(data, where))

    async def upsert(
        self, where: Where, data: Mapping[str, Mapping[str, Any]], include: Where | None = None
    ) -> Any:
        if await self.find_unique(where=where) is None:
            return await self.create(data["create"], include)
        return await self.update(data["update"], where, include)

    async def delete(self, where: Where) -> Any:
        row = await self.find_unique(where=where)
        await self.delete_many(where)
        return row

    async def delete_many(self, where: Where | None = None) -> int:
        condition, values = self._condition(where or {})
        return STORE.run(f'DELETE FROM "{self._model.name}" WHERE {condition}', values).rowcount

    async def _change(self, data: Mapping[str, Any], where: Where) -> list[sqlite3.Row]:
        condition, matched = self._condition(where)
        changes: list[str] = []
        values: list[Any] = []
        stamped = {
            name: field.initial()
            for name, field in self._model.columns.items()
            if "@updatedAt" in field.attributes
        }
        for name, value in (await self._columns(stamped | dict(data), changing=True)).items():
            column = self._field(name).column
            match value:
                case ("increment" | "decrement") as operation, amount:
                    changes.append(f"{column} = {column} {'+' if operation == 'increment' else '-'} ?")
                    values.append(amount)
                case "push", more:
                    changes.append(
                        f"{column} = (SELECT json_group_array(value) FROM (SELECT value FROM json_each({column}) "
                        "UNION ALL SELECT value FROM json_each(?)))"
                    )
                    values.append(more)
                case _:
                    changes.append(f"{column} = ?")
                    values.append(value)
        statement = f'UPDATE "{self._model.name}" SET {", ".join(changes)} WHERE {condition} RETURNING *'
        return STORE.run(statement, [*values, *matched]).fetchall()

    async def _columns(self, data: Mapping[str, Any], changing: bool = False) -> dict[str, Any]:
        """Values of columns as SQLite keeps them; a pair of operation and value where a change computes them."""
        row: dict[str, Any] = {}
        for name, value in data.items():
            if name in self._model.relations:
                row |= await self._connected(self._model.relations[name], value)
                continue
            field = self._field(name)
            match value:
                case {"set": given}:
                    row[name] = encoded(field, given)
                case {"push": more} if changing and field.array:
                    row[name] = ("push", encoded(field, more if isinstance(more, list) else [more]))
                case {"increment": amount} if changing:
                    row[name] = ("increment", encoded(field, amount))
                case {"decrement": amount} if changing:
                    row[name] = ("decrement", encoded(field, amount))
                case _:
                    row[name] = encoded(field, value)
        return row

    async def _connected(self, relation: Field, value: Any) -> dict[str, Any]:
        match relation.relation, value:
            case (own, other), {"connect": where} if len(value) == 1:
                found = await ACTIONS[relation.kind.lower()].find_unique(where=where)
                if found is None:
                    raise failed("P2025", f"No {relation.kind} to connect: {where}")
                return {own: getattr(found, other)}
            case (own, _), {"disconnect": True} if len(value) == 1:
                return {own: None}
            case _:
                raise NotImplementedError(f"stand-in prisma: {relation.name} of {self._model.name}: {value}")

    async def _read(self, row: sqlite3.Row, include: Where) -> Any:
        values = {
            name: decoded(field, row[field.column.strip('"')]) for name, field in self._model.columns.items()
        }
        for name, wanted in include.items():
            if wanted:
                nested = wanted.get("include") if isinstance(wanted, Mapping) else None
                values[name] = await self._related(name, values, nested)
        return self._row(**values)

    async def _related(self, name: str, values: Mapping[str, Any], include: Where | None) -> Any:
        if name not in self._model.relations:
            raise failed("P2009", f"Field '{name}' not found in {self._model.name}")
        relation = self._model.relations[name]
        actions = ACTIONS[relation.kind.lower()]
        if relation.relation:
            own, other = relation.relation
            if values[own] is None:
                return None
            return await actions.find_first(where={other: values[own]}, include=include)
        (back,) = (
            other
            for other in MODELS[relation.kind].relations.values()
            if other.kind == self._model.name
            and other.relation
            and other.relation_name == relation.relation_name
        )
        assert back.relation
        theirs, own = back.relation
        rows = await actions.find_many(where={theirs: values[own]}, include=include)
        return rows if relation.array else (rows[0] if rows else None)

    def _field(self, name: str) -> Field:
        if name not in self._model.columns:
            raise failed("P2009", f"Could not find field {name} of {self._model.name}")
        return self._model.columns[name]

    def _check_unique(self, where: Where) -> None:
        if not any((name,) in self._model.keys or self._model.compound(name) for name in where):
            raise failed("P2009", f"{self._model.name}: {[*where]} names no one row")

    def _ordered(self, order: Where | Sequence[Where] | None) -> str:
        parts = [order] if isinstance(order, Mapping) else order or []
        terms = [f"{self._field(name).column} {way}" for part in parts for name, way in part.items()]
        assert all(term.endswith((" asc", " desc")) for term in terms), order
        return f" ORDER BY {', '.join(terms)}" if terms else ""

    def _condition(self, where: Where) -> Sql:
        parts = [self._term(name, value) for name, value in where.items()]
        return _joined(" AND ", parts, "1")

    def _term(self, name: str, value: Any) -> Sql:
        if name in ("AND", "OR", "NOT"):
            parts = [self._condition(part) for part in ([value] if isinstance(value, Mapping) else value)]
            if name == "NOT":
                sql, values = _joined(" AND ", parts, "1")
                return f"NOT ({sql})", values
            return _joined(f" {name} ", parts, "1" if name == "AND" else "0")
        if self._model.compound(name):
            return self._condition(value)
        field = self._field(name)
        if not isinstance(value, Mapping):
            return self._compared(field, "equals", value)
        insensitive = value.get("mode") == "insensitive"
        parts = [
            self._compared(field, operation, operand, insensitive)
            for operation, operand in value.items()
            if operation != "mode"
        ]
        return _joined(" AND ", parts, "1")

    def _compared(self, field: Field, operation: str, value: Any, insensitive: bool = False) -> Sql:
        column = field.column
        match operation:
            case "equals" if value is None:
                return f"{column} IS NULL", []
            case "equals":
                return f"{column} = ?", [encoded(field, value)]
            case "not" if isinstance(value, Mapping):
                sql, values = self._term(field.name, value)
                return f"NOT ({sql})", values
            case "not" if value is None:
                return f"{column} IS NOT NULL", []
            case "not":
                return f"{column} <> ?", [encoded(field, value)]
            case "in" | "not_in" | "notIn":
                places = ", ".join("?" * len(value))
                negation = "" if operation == "in" else "NOT "
                return f"{column} {negation}IN ({places})", [encoded(field, item) for item in value]
            case "lt" | "lte" | "gt" | "gte":
                return f"{column} {_COMPARED[operation]} ?", [encoded(field, value)]
            case "contains" | "startsWith" | "endsWith" if field.kind == "String" and not field.array:
                pattern = _MATCHED[operation].format(re.sub(r"([*?[])", r"[\1]", value))
                if insensitive:
                    return f"lower({column}) GLOB ?", [pattern.lower()]
                return f"{column} GLOB ?", [pattern]
            case "has" if field.array:
                return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)", [value]
            case "has_some" | "hasSome" if field.array:
                places = ", ".join("?" * len(value))
                return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({places}))", [*value]
            case "is_empty" | "isEmpty" if field.array:
                return f"json_array_length({column}) {'=' if value else '>'} 0", []
            case _:
                raise NotImplementedError(
                    f"stand-in prisma: filter {operation} on {self._model.name}.{field.name}"
                )


ACTIONS = {name.lower(): Actions(model) for name, model in MODELS.items()}


class Batch:
    """`batch_()`: collects calls and runs them in order."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], Awaitable[Any]]] = []

    def __getattr__(self, name: str) -> _Collector:
        return _Collector(ACTIONS[name], self._calls)

    async def commit(self) -> None:
        for call in self._calls:
            await call()
        self._calls.clear()

    async def __aenter__(self) -> Batch:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.commit()


class _Collector:
    def __init__(self, actions: Actions, calls: list[Callable[[], Awaitable[Any]]]) -> None:
        self._actions, self._calls = actions, calls

    def __getattr__(self, name: str) -> Callable[..., None]:
        action = getattr(self._actions, name)
        return lambda *args, **kwargs: self._calls.append(lambda: action(*args, **kwargs))


class Prisma:
    """The client. What configures a connection is taken and ignored: the store is one, see `Store`."""

    def __init__(self, **_: Any) -> None:
        self._connected = False
        self._engine_died = False

    def __getattr__(self, name: str) -> Actions:
        if name not in ACTIONS:
            raise AttributeError(f"stand-in prisma: the client has no {name}")
        self._check()
        return ACTIONS[name]

    def _check(self) -> None:
        if self._engine_died:
            raise httpx.ConnectError("All connection attempts failed")
        if not self._connected:
            raise ClientNotConnectedError

    async def connect(self, timeout: object = None) -> None:
        # An engine that finds no database when it starts ends; its client goes on asking the port it had.
        self._engine_died = STORE.away
        if STORE.away:
            raise EngineConnectionError("Could not connect to the query engine")
        self._connected = True

    async def disconnect(self, timeout: object = None) -> None:
        self._connected = False

    def is_connected(self) -> bool:
        return self._connected

    def batch_(self) -> Batch:
        return Batch()

    def tx(self, **_: Any) -> Prisma:
        return self

    async def __aenter__(self) -> Prisma:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def query_raw(self, query: str, *values: Any) -> list[dict[str, Any]]:
        self._check()
        if "pg_views" in query:
            # The views of LiteLLM's usage pages; none is here.
            return [{"view_count": 8, "view_names": []}]
        if "pg_class" in query:
            return [{"reltuples": await ACTIONS["litellm_spendlogs"].count()}]
        try:
            rows = STORE.run(query, {str(number): value for number, value in enumerate(values, 1)})
            return [dict(zip(row.keys(), row, strict=True)) for row in rows.fetchall()]
        except sqlite3.Error as error:
            raise failed("P2010", f"stand-in prisma: SQLite refuses this SQL: {error}") from error

    async def query_first(self, query: str, *values: Any) -> dict[str, Any] | None:
        rows = await self.query_raw(query, *values)
        return rows[0] if rows else None

    async def execute_raw(self, query: str, *_: Any) -> int:
        raise NotImplementedError(f"stand-in prisma: execute_raw {query}")


def _joined(word: str, parts: Sequence[Sql], empty: str) -> Sql:
    sql = word.join(f"({part})" for part, _ in parts) or empty
    return sql, [value for _, values in parts for value in values]
