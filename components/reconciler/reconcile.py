"""Makes the teams and virtual keys in a LiteLLM proxy those that are declared, through its admin API.

    python3 reconcile.py --url http://litellm:4000 --declared declared.json --keys FOLDER --master-key FILE

It runs in LiteLLM's own image and uses the standard library alone. `declared.json` has teams and keys in the
API's own fields, beside fields of its own: `name`; `team`, the name of a key's team; `expires`; `take_over`.
FOLDER has one file per key, named after it, with its value.

It changes and deletes only budgets whose ids begin with the stack's mark and a colon, and teams and keys with the mark
in their metadata (`managed_by`), which also says the name that each is declared under (`managed_as`). It refuses a
declared alias that belongs to one without the mark, or takes that one over, where the declaration says so and nobody
else's mark is on it. Tenants that are as declared need no call but the listings. Every call can be repeated, so that
the next run finishes one that was killed.

Exit codes: 0 all is as declared, 1 another try may help, 2 a person must act.
Source: LiteLLM 1.89.2, proxy/management_endpoints/{budget_management,key_management,team}_endpoints.py.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

Row = dict[str, Any]
"""A team or a key as the admin API gives it."""

MARK = "managed_by"
NAME = "managed_as"
BUDGET = "managed_budget"
"""Note of a key's budget in its metadata: the listing of keys does not say which one a key has."""
REPLACED = "/replaced"
"""Suffix of a key's alias while its successor is made; no declared alias ends with it."""
OWN = ("name", "team", "expires", "take_over")
"""Fields of a declaration that are not sent as they are."""
FIXED = ("service_account_id",)
"""Metadata that LiteLLM keeps whatever an update says."""
STAYS = (
    *(
        "user_id",
        "organization_id",
        "org_id",
        "project_id",
        "max_parallel_requests",
        "budget_limits",
        "soft_budget",
    ),
    *(
        "model_max_budget",
        "permissions",
        "aliases",
        "router_settings",
        "object_permission_id",
        "members_with_roles",
    ),
    "model_id",
)
"""What a team or a key that is taken over may have, and no declaration says."""
PAGE = 100
"""The most rows per answer of the listings."""
CLOCKS = timedelta(minutes=1)
"""Expiries no further apart count as equal: the API takes an expiry as seconds from its own clock."""
TRIES = 6
LONGEST_PAUSE = 30.0
TIMEOUT = 30.0
NO_ANSWER = (OSError, ValueError, http.client.HTTPException)
"""No connection, no answer in time, or an incomplete answer."""
PASSES = 2
"""LiteLLM may have carried out a call that failed: a second pass lists and plans again."""


class RefusedError(Exception):
    """LiteLLM or this program refuses a change of one tenant; another try would not help."""


class UnreachableError(Exception):
    """Every try failed."""


class StopError(Exception):
    """No tenant can be changed."""


@dataclass(frozen=True)
class Call:
    """A POST of the admin API; `value_of` is the name of the key whose value is added to the body."""

    path: str
    body: Row
    value_of: str | None = None


@dataclass(frozen=True)
class Task:
    """The change of one tenant; it is skipped if a task of `needs`, each (kind, name), has failed."""

    kind: str
    name: str
    verb: str
    calls: Sequence[Call] = ()
    detail: str = ""
    refusal: str = ""
    needs: Sequence[tuple[str, str]] = ()
    alias: str = ""

    @property
    def label(self) -> str:
        """`key app`, and the alias where it is another."""
        return f"{self.kind} {self.name}" + (f" ({self.alias})" if self.alias not in ("", self.name) else "")


def plan(
    declared: Row,
    teams: Sequence[Row],
    keys: Sequence[Row],
    budgets: Sequence[Row],
    hashes: Mapping[str, str],
    now: datetime,
) -> list[Task]:
    """The tasks, in order, that make `teams`, `keys` and `budgets`, as LiteLLM lists them, those that are declared.

    `hashes` are the SHA-256 of the declared keys' values, by name; LiteLLM stores these, not the values.
    """
    mark = declared[MARK]
    wanted_teams, wanted_keys = (
        [{**row, "metadata": {**row["metadata"], **_notes(row, mark)}} for row in declared[kind]]
        for kind in ("teams", "keys")
    )
    found = _Found.among(teams, "team_id", "team_alias", mark, wanted_teams)
    # A team that was taken over keeps its id; the others have their names as ids.
    ids = {team["name"]: row["team_id"] for team in wanted_teams for row in [_team_row(team, found)] if row}
    wanted_keys = [{**key, "team_id": ids.get(key["team"], key["team"])} for key in wanted_keys]
    made, left = _plan_budgets(mark, declared["budgets"], budgets)
    there = {row["budget_id"] for row in budgets}
    keys = [
        {**row, "budget_id": id_ if (id_ := _metadata(row).get(BUDGET)) in there else None} for row in keys
    ]
    return [
        *made,
        *_plan_teams(mark, wanted_teams, found),
        *_plan_keys(mark, wanted_keys, keys, hashes, now),
        *_plan_team_deletions(mark, set(ids.values()), teams, keys),
        *left,
    ]


def _plan_budgets(
    mark: str, declared: Sequence[Row], existing: Sequence[Row]
) -> tuple[list[Task], list[Task]]:
    """What is done before the keys, which name their budgets, and what after: LiteLLM lets go of a deleted one."""
    ours = {row["budget_id"]: row for row in existing if row["budget_id"].startswith(f"{mark}:")}
    made: list[Task] = []
    for wanted in declared:
        name = wanted["budget_id"]
        row = ours.pop(name, None)
        changed = _changed(wanted, row or {})
        if not row:
            made.append(Task("budget", name, "created", [Call("/budget/new", wanted)]))
        elif changed:
            call = Call("/budget/update", {"budget_id": name, **changed})
            made.append(Task("budget", name, "updated", [call], _told(row, changed)))
        else:
            made.append(Task("budget", name, "unchanged"))
    return made, [Task("budget", name, "deleted", [Call("/budget/delete", {"id": name})]) for name in ours]


@dataclass(frozen=True)
class _Found:
    """The rows of one kind: this stack's by the names and aliases of the declaration, all others in `strangers`."""

    by_name: Mapping[str, Row]
    by_alias: Mapping[str, Row]
    """Those of this stack whose name is declared no more: with the alias of another, it is that one by a new name."""
    strangers: Mapping[str, Sequence[Row]]
    """By id and by alias."""

    @classmethod
    def among(cls, rows: Sequence[Row], id_: str, alias: str, mark: str, declared: Sequence[Row]) -> _Found:
        ours = [row for row in rows if _is_marked(row, mark)]
        names = {wanted["name"] for wanted in declared}
        strangers: dict[str, list[Row]] = {}
        for row in rows:
            if not _is_marked(row, mark):
                for text in {str(row[id_]), str(row.get(alias) or row[id_])}:
                    strangers.setdefault(text, []).append(row)
        return cls(
            {_name(row): row for row in ours},
            {row[alias]: row for row in ours if row.get(alias) and _name(row) not in names},
            strangers,
        )

    def ours(self, name: str, alias: str) -> Row | None:
        """This stack's row of a declaration."""
        return self.by_name.get(name) or self.by_alias.get(alias)


def _team_row(wanted: Row, found: _Found) -> Row | None:
    """The row that is, or is to become, the declared team's."""
    ours = found.ours(wanted["name"], wanted["team_alias"])
    strangers = _strangers_of_team(wanted, found)
    return ours or (strangers[0] if wanted.get("take_over") and len(strangers) == 1 else None)


def _strangers_of_team(wanted: Row, found: _Found) -> Sequence[Row]:
    rows = [row for text in (wanted["team_alias"], wanted["name"]) for row in found.strangers.get(text, ())]
    return list({row["team_id"]: row for row in rows}.values())


def _plan_teams(mark: str, declared: Sequence[Row], found: _Found) -> Iterator[Task]:
    for wanted in declared:
        alias, take_over = wanted["team_alias"], wanted.get("take_over")
        ours, strangers = found.ours(wanted["name"], alias), _strangers_of_team(wanted, found)
        refusal, verb, calls, detail = "", "unchanged", list[Call](), ""
        if take_over and len(strangers) > 1:
            ids = " and ".join(str(stranger["team_id"]) for stranger in strangers)
            refusal = (
                f"LiteLLM has {len(strangers)} teams {alias} without this stack's mark, {ids}; nothing says which to take over. "
                "Rename the others in LiteLLM"
            )
        elif strangers and (ours or not take_over or _owner(strangers[0])):
            refusal = _not_ours("team", alias, strangers[0], mark)
        elif row := ours or next(iter(strangers), None):
            changed = _changed(_sent(wanted), row)
            if changed:
                verb = "updated" if ours else "taken over"
                calls = [Call("/team/update", {"team_id": row["team_id"], **changed})]
                detail = _told(row, changed, of_others=not ours)
        elif take_over:
            refusal = _nothing_to_take_over("team", alias)
        else:
            verb, calls = "created", [Call("/team/new", {"team_id": wanted["name"], **_sent(wanted)})]
        yield Task(
            "team", wanted["name"], "refused" if refusal else verb, calls, detail, refusal, alias=alias
        )


def _plan_team_deletions(
    mark: str, kept: set[str], teams: Sequence[Row], keys: Sequence[Row]
) -> Iterator[Task]:
    for row in teams:
        if not _is_marked(row, mark) or row["team_id"] in kept:
            continue
        name, id_ = _name(row), row["team_id"]
        inside = [key for key in keys if key.get("team_id") == id_]
        foreign = sorted(_alias(key) for key in inside if not _is_marked(key, mark))
        if foreign:  # LiteLLM would delete them with the team
            refusal = (
                f"team {name} holds keys that were not made from here: {', '.join(foreign)}. Move or delete them in "
                "LiteLLM, or declare the team again"
            )
            yield Task("team", name, "refused", refusal=refusal)
        else:
            # LiteLLM would delete a key that is still in the team, so that its own task comes first.
            needs = [
                ("key", key) for row in inside for key in (_name(row), _name(row).removesuffix(REPLACED))
            ]
            yield Task("team", name, "deleted", [Call("/team/delete", {"team_ids": [id_]})], needs=needs)


def _plan_keys(
    mark: str, declared: Sequence[Row], existing: Sequence[Row], hashes: Mapping[str, str], now: datetime
) -> Iterator[Task]:
    by_token = {row["token"]: row for row in existing}
    rows = _Found.among(existing, "token", "key_alias", mark, declared)
    claimed: set[str] = set()
    for wanted in declared:
        name, alias = wanted["name"], wanted["key_alias"]
        needs = [
            (of, wanted[key]) for of, key in (("team", "team"), ("budget", "budget_id")) if wanted.get(key)
        ]
        found, before = by_token.get(hashes[name]), rows.ours(name, alias)
        half_way = rows.by_name.get(name + REPLACED)
        alike = [row for row in rows.strangers.get(alias, ()) if row is not found]
        stranger = found if found and not _is_marked(found, mark) else next(iter(alike), None)
        free = wanted.get("take_over") and stranger and not _owner(stranger)
        if stranger and free and not alike:
            claimed.add(stranger["token"])
            yield _update_key(wanted, stranger, needs, now, "taken over")
        elif stranger:
            refusal = (
                f"LiteLLM's key {alias} has another value than the secret of {name}, so that whoever holds it would be "
                "refused. Add its value as a version of the secret, and write adopt: that version"
                if free
                else _not_ours("key", alias, stranger, mark)
            )
            yield Task("key", name, "refused", refusal=refusal, alias=alias)
        elif found:
            claimed.add(found["token"])
            yield _update_key(wanted, found, needs, now)
        elif before:
            claimed.update(row["token"] for row in (before, half_way) if row)
            yield _rotate_key(wanted, before, half_way, needs, now)
        elif half_way:  # a run was killed in the middle of a rotation
            claimed.add(half_way["token"])
            calls = [_generate(wanted, now, half_way), _delete(half_way["token"])]
            yield Task("key", name, "rotated", calls, needs=needs, alias=alias)
        elif wanted.get("take_over"):
            yield Task("key", name, "refused", refusal=_nothing_to_take_over("key", alias), alias=alias)
        else:
            yield Task("key", name, "created", [_generate(wanted, now)], needs=needs, alias=alias)
    for row in existing:
        if _is_marked(row, mark) and row["token"] not in claimed:
            yield Task("key", _name(row), "deleted", [_delete(row["token"])])


def _update_key(
    wanted: Row, found: Row, needs: Sequence[tuple[str, str]], now: datetime, verb: str = "updated"
) -> Task:
    changed = _changed(_sent(wanted), found)
    told = dict(changed)
    if not _same_expiry(wanted["expires"], found.get("expires"), now):
        changed["duration"], told["expires"] = _duration(wanted["expires"], now), wanted["expires"]
    name, alias = wanted["name"], wanted["key_alias"]
    if not changed:
        return Task("key", name, "unchanged", alias=alias)
    # LiteLLM checks the key's present limits against its new team, so that a call before it changes the limits.
    steps = [{key: value for key, value in changed.items() if key != "team_id"}]
    steps += [{"team_id": changed["team_id"]}] if "team_id" in changed else []
    calls = [Call("/key/update", {"key": found["token"], **step}) for step in steps if step]
    detail = _told(found, told, of_others=verb == "taken over")
    return Task("key", name, verb, calls, detail, needs=needs, alias=alias)


def _rotate_key(
    wanted: Row, before: Row, half_way: Row | None, needs: Sequence[tuple[str, str]], now: datetime
) -> Task:
    """The old value works until the new one does. Aliases are unique, so the old key is renamed first."""
    calls = [_delete(half_way["token"])] if half_way else []
    calls += [
        Call("/key/update", {"key": before["token"], "key_alias": wanted["key_alias"] + REPLACED}),
        _generate(wanted, now, before),
        _delete(before["token"]),
    ]
    return Task("key", wanted["name"], "rotated", calls, needs=needs, alias=wanted["key_alias"])


def _generate(wanted: Row, now: datetime, before: Row | None = None) -> Call:
    body = {key: value for key, value in _sent(wanted).items() if value is not None}
    if wanted["expires"]:
        body["duration"] = _duration(wanted["expires"], now)
    if before:
        body["spend"] = before.get("spend") or 0  # the budget goes on with the new value
    return Call("/key/generate", body, value_of=wanted["name"])


def _delete(token: str) -> Call:
    return Call("/key/delete", {"keys": [token]})


def _notes(wanted: Row, mark: str) -> Row:
    """What the metadata of a team or a key says of its declaration."""
    budget = wanted.get("budget_id")
    return {MARK: mark, NAME: wanted["name"], **({BUDGET: budget} if budget else {})}


def _sent(wanted: Row) -> Row:
    return {key: value for key, value in wanted.items() if key not in OWN}


def _alias(key: Row) -> str:
    return key.get("key_alias") or f"without alias ({key['token'][:8]}...)"


def _name(row: Row) -> str:
    """The name that a row of this stack was declared under, with the suffix of a key that is being replaced."""
    alias = _alias(row) if "token" in row else row.get("team_alias") or row["team_id"]
    name: str | None = _metadata(row).get(NAME)
    return alias if not name else f"{name}{REPLACED}" if alias.endswith(REPLACED) else name


def _is_marked(row: Row, mark: str) -> bool:
    return _owner(row) == mark


def _owner(row: Row) -> str | None:
    return _metadata(row).get(MARK)


def _metadata(row: Row) -> Row:
    return row.get("metadata") or {}


def _not_ours(kind: str, alias: str, row: Row, mark: str) -> str:
    where = f" in team {row['team_id']}" if kind == "key" and row.get("team_id") else ""
    if owner := _owner(row):
        return (
            f"LiteLLM has a {kind} {alias}{where} whose metadata says {MARK}: {owner}, not {mark}; it is left as it is. Have "
            "that owner delete it, or declare this one under another alias"
        )
    needed = (
        "takeOver: true, and adopt: the version of its secret with its value"
        if kind == "key"
        else "takeOver: true"
    )
    return (
        f"LiteLLM has a {kind} {alias}{where} that no stack made (its metadata has no {MARK}); it is left as it is. To take it "
        f"over with its spend, write {needed} (docs/tenants.md); or declare this one under another alias"
    )


def _nothing_to_take_over(kind: str, alias: str) -> str:
    of = "with this alias or this value" if kind == "key" else "with this alias"
    return f"takeOver: LiteLLM has no {kind} {alias} ({of}). Correct the alias; to have a new one made, leave takeOver out"


def _changed(wanted: Row, found: Row) -> Row:
    metadata = {key: value for key, value in _metadata(found).items() if key not in FIXED}
    found = {**found, "metadata": metadata}
    return {key: value for key, value in wanted.items() if _plain(value) != _plain(found.get(key))}


def _plain(value: Any) -> Any:
    """A field's value for comparison: lists sorted; None, empty and false all None."""
    if isinstance(value, list):
        return sorted(map(str, cast("list[Any]", value))) or None
    return value or None


def _told(found: Row, changed: Row, *, of_others: bool = False) -> str:
    """What changes; of a row `of_others`, whose metadata may hold a callback's key, without that, and what stays."""
    told = [
        f"{key} {json.dumps(found.get(key), default=str)} -> {json.dumps(value)}"
        for key, value in changed.items()
        if not (of_others and key == "metadata")
    ]
    if of_others:
        dropped = sorted(set(_metadata(found)) - {*changed.get("metadata", {}), *FIXED})
        told += [f"metadata without {', '.join(dropped)}"] if dropped else []
        stays = [key for key in STAYS if found.get(key) and key not in changed]
        told += [f"keeps {', '.join(stays)}, which no setting says"] if stays else []
    return ", ".join(told)


def _same_expiry(wanted: str | None, found: str | None, now: datetime) -> bool:
    if not wanted or not found:
        return not wanted and not found
    one, other = _instant(wanted), _instant(found)
    return abs(one - other) < CLOCKS or (one <= now and other <= now)


def _duration(expires: str | None, now: datetime) -> str | None:
    """The expiry as the duration that the API wants; None removes an expiry."""
    return f"{max(0, round((_instant(expires) - now).total_seconds()))}s" if expires else None


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass
class Proxy:
    """The admin API of one proxy; it counts the calls, and masks `secrets` in messages."""

    url: str
    master_key: str
    secrets: Sequence[str] = ()
    pause: Callable[[float], None] = time.sleep
    calls: int = 0

    def budgets(self) -> list[Row]:
        """Every budget that has an id of its own, whoever made it."""
        return self.send("GET", "/budget/list")

    def teams(self) -> list[Row]:
        """Every team, whoever made it."""
        # The first version of this path asks the database once per team, and answers with every key beside its team.
        return self._listed("/v2/team/list", "teams", "team_id", {"page_size": PAGE, "sort_by": "team_id"})

    def keys(self) -> list[Row]:
        """Every virtual key, whoever made it."""
        return self._listed("/key/list", "keys", "token", {"size": PAGE, "return_full_object": "true"})

    def _listed(self, path: str, kind: str, name: str, query: Mapping[str, Any]) -> list[Row]:
        """The rows of a path that answers page by page, each once by its field `name`."""
        found: dict[str, Row] = {}
        page, pages = 1, 1
        while page <= pages:
            answer = self.send("GET", f"{path}?{urllib.parse.urlencode({'page': page, **query})}")
            found.update({row[name]: row for row in answer[kind]})
            page, pages = page + 1, answer["total_pages"]
        return list(found.values())

    def send(self, method: str, path: str, body: Row | None = None) -> Any:
        """The answer to one request, repeated while that may help.

        Raises RefusedError, UnreachableError or StopError.
        """
        last, called = "", path.partition("?")[0]
        for attempt in range(TRIES):
            self.calls += 1
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as error:
                said = self._said(error)
                if error.code == 401:
                    raise StopError(
                        f"LiteLLM refuses the master key (401 at {called}: {said}). Does the Secret litellm-secrets hold "
                        "the one that the proxy started with?"
                    ) from None
                if error.code != 429 and error.code < 500:
                    raise RefusedError(f"{called} was refused with {error.code}: {said}") from None
                last, wait = f"{error.code}: {said}", _retry_after(error.headers.get("Retry-After"))
            except NO_ANSWER as error:
                # A ValueError may quote the header with the key, so only its type is logged.
                said = "" if isinstance(error, ValueError) else f": {error}"
                last, wait = f"{type(error).__name__}{said}", None
            if attempt < TRIES - 1:
                backoff = min(LONGEST_PAUSE, 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
                self.pause(min(LONGEST_PAUSE, wait) if wait is not None else backoff)
        raise UnreachableError(f"{called} failed {TRIES} time(s), at last with {last}")

    def _once(self, method: str, path: str, body: Row | None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.master_key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            return json.load(response)

    def _said(self, error: urllib.error.HTTPError) -> str:
        try:
            text = self._masked(error.read(2000).decode(errors="replace"))
        except NO_ANSWER:
            return error.reason
        try:
            said = json.loads(text)
            return str(said["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return text

    def _masked(self, text: str) -> str:
        for secret in (self.master_key, *self.secrets):
            text = text.replace(secret, "[key]")
        return text


def _retry_after(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except ValueError:
        return None


@dataclass
class Report:
    """The outcome by (kind, name): the verbs of what was done, the messages of what failed."""

    done: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    in_doubt: bool = False
    """Whether LiteLLM may have carried out a call that failed."""
    worth_another_try: bool = False

    def summary(self) -> str:
        """`teams: 1 created, 3 unchanged; keys: 2 failed`."""
        parts: list[str] = []
        for kind in ("team", "key", "budget"):
            verbs = [verb for (of, _), verb in self.done.items() if of == kind]
            counted = [f"{verbs.count(verb)} {verb}" for verb in sorted(set(verbs))]
            failures = sum(of == kind for of, _ in self.failed)
            counted += [f"{failures} failed"] if failures else []
            if counted or kind != "budget":
                parts.append(f"{kind}s: {', '.join(counted) or 'none'}")
        return "; ".join(parts)


def reconcile(
    declared: Row, values: Mapping[str, str], proxy: Proxy, say: Callable[[str], None] = print
) -> Report:
    """Make the proxy's teams and keys those that are declared; `values` are the keys' values by name.

    Raises StopError, and RefusedError or UnreachableError if the listings fail.
    """
    hashes = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in values.items()}
    report = Report()
    for _ in range(PASSES):
        tried = report.failed
        report.failed, report.in_doubt, report.worth_another_try = {}, False, False
        listed = proxy.teams(), proxy.keys(), proxy.budgets()
        for task in plan(declared, *listed, hashes, datetime.now(UTC)):
            _perform(task, values, proxy, report, tried, say)
        if not report.in_doubt:
            break
    return report


def _perform(
    task: Task,
    values: Mapping[str, str],
    proxy: Proxy,
    report: Report,
    tried: Mapping[tuple[str, str], str],
    say: Callable[[str], None],
) -> None:
    this = (task.kind, task.name)
    failure = task.refusal
    for need in task.needs:
        if need in report.failed:
            failure = f"waits for {' '.join(need)}, which failed"
    if not failure:
        try:
            for call in task.calls:
                value = {"key": values[call.value_of]} if call.value_of else {}
                proxy.send("POST", call.path, {**call.body, **value})
        except (RefusedError, UnreachableError) as error:
            failure = str(error)
            report.in_doubt = True
            report.worth_another_try |= isinstance(error, UnreachableError)
    if failure:
        report.failed[this] = failure
        say(f"{task.label}: FAILED: {failure}")
        return
    verb = task.verb
    if verb == "unchanged" and this in tried:
        verb = "brought in by a call that had seemed to fail"
    if verb != "unchanged" or this not in report.done:
        report.done[this] = verb
    if verb != "unchanged":
        say(f"{task.label}: {verb}{f' ({task.detail})' if task.detail else ''}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Reconcile once; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--declared", type=Path, required=True)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--master-key", type=Path, required=True)
    given = parser.parse_args(arguments)
    declared = json.loads(given.declared.read_text())
    values = {key["name"]: (given.keys / key["name"]).read_text().strip() for key in declared["keys"]}
    proxy = Proxy(given.url, given.master_key.read_text().strip(), list(values.values()))
    started = time.monotonic()
    try:
        report = reconcile(declared, values, proxy)
    except (StopError, RefusedError) as error:
        print(f"STOPPED: {error}")
        return 2
    except UnreachableError as error:
        print(f"FAILED: {error}")
        return 1
    print(f"{report.summary()}; {proxy.calls} calls in {time.monotonic() - started:.1f} s")
    if not report.failed:
        return 0
    return 1 if report.worth_another_try else 2


if __name__ == "__main__":
    sys.exit(main())
