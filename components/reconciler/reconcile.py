"""Makes the teams and virtual keys in a LiteLLM proxy those that are declared, through its admin API.

    python3 reconcile.py --url http://litellm:4000 --declared declared.json --keys FOLDER --master-key FILE

It runs in LiteLLM's own image and uses the standard library alone. `declared.json` has teams and keys in the
API's own fields; FOLDER has one file per key, named after it, with its value.

It changes and deletes only teams and keys with the stack's mark in their metadata (`managed_by`), and refuses a
declared name that belongs to one without the mark. Tenants that are as declared need no call but the listings.
Every call can be repeated, so that the next run finishes one that was killed.

Exit codes: 0 all is as declared, 1 another try may help, 2 a person must act.
Source: LiteLLM 1.89.2, proxy/management_endpoints/{key_management,team}_endpoints.py.
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
REPLACED = "/replaced"
"""Suffix of a key's alias while its successor is made; no declared name has a slash."""
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


def plan(
    declared: Row, teams: Sequence[Row], keys: Sequence[Row], hashes: Mapping[str, str], now: datetime
) -> list[Task]:
    """The tasks, in order, that make `teams` and `keys`, as LiteLLM lists them, those that are declared.

    `hashes` are the SHA-256 of the declared keys' values, by name; LiteLLM stores these, not the values.
    """
    mark = declared[MARK]
    return [
        *_plan_teams(mark, declared["teams"], teams),
        *_plan_keys(mark, declared["keys"], keys, hashes, now),
        *_plan_team_deletions(mark, declared["teams"], teams, keys),
    ]


def _plan_teams(mark: str, declared: Sequence[Row], existing: Sequence[Row]) -> Iterator[Task]:
    for wanted in declared:
        name = str(wanted["team_id"])
        found = next((row for row in existing if row["team_id"] == name), None)
        same = (row for row in existing if name in (row["team_id"], row.get("team_alias")))
        foreign = next((row for row in same if not _is_marked(row, mark)), None)
        if foreign:
            yield Task("team", name, "refused", refusal=_not_ours("team", name, foreign, mark))
        elif not found:
            yield Task("team", name, "created", [Call("/team/new", wanted)])
        elif changed := _changed(wanted, found):
            call = Call("/team/update", {"team_id": name, **changed})
            yield Task("team", name, "updated", [call], _told(found, changed))
        else:
            yield Task("team", name, "unchanged")


def _plan_team_deletions(
    mark: str, declared: Sequence[Row], teams: Sequence[Row], keys: Sequence[Row]
) -> Iterator[Task]:
    names = {wanted["team_id"] for wanted in declared}
    for row in teams:
        name = row["team_id"]
        if not _is_marked(row, mark) or name in names:
            continue
        inside = [key for key in keys if key.get("team_id") == name]
        foreign = sorted(_alias(key) for key in inside if not _is_marked(key, mark))
        if foreign:  # LiteLLM would delete them with the team
            refusal = (
                f"team {name} holds keys that were not made from here: {', '.join(foreign)}. Move or delete them in "
                "LiteLLM, or declare the team again"
            )
            yield Task("team", name, "refused", refusal=refusal)
        else:
            # LiteLLM would delete a key that is still in the team, so that its own task comes first.
            aliases = [_alias(key) for key in inside]
            needs = [("key", key) for alias in aliases for key in (alias, alias.removesuffix(REPLACED))]
            yield Task("team", name, "deleted", [Call("/team/delete", {"team_ids": [name]})], needs=needs)


def _plan_keys(
    mark: str, declared: Sequence[Row], existing: Sequence[Row], hashes: Mapping[str, str], now: datetime
) -> Iterator[Task]:
    by_token = {row["token"]: row for row in existing}
    by_alias = {row["key_alias"]: row for row in existing if row.get("key_alias")}
    claimed: set[str] = set()
    for wanted in declared:
        name, token = wanted["key_alias"], hashes[wanted["key_alias"]]
        needs = [("team", wanted["team_id"])] if wanted["team_id"] else []
        before, found = by_alias.get(name), by_token.get(token)
        half_way = by_alias.get(name + REPLACED)
        half_way = half_way if half_way and _is_marked(half_way, mark) else None
        foreign = next((row for row in (found, before) if row and not _is_marked(row, mark)), None)
        if foreign:
            yield Task("key", name, "refused", refusal=_not_ours("key", name, foreign, mark))
        elif found:
            claimed.add(token)
            yield _update_key(wanted, found, needs, now)
        elif before:
            claimed.update(row["token"] for row in (before, half_way) if row)
            yield _rotate_key(wanted, before, half_way, needs, now)
        elif half_way:  # a run was killed in the middle of a rotation
            claimed.add(half_way["token"])
            calls = [_generate(wanted, now, half_way), _delete(half_way["token"])]
            yield Task("key", name, "rotated", calls, needs=needs)
        else:
            yield Task("key", name, "created", [_generate(wanted, now)], needs=needs)
    for row in existing:
        if _is_marked(row, mark) and row["token"] not in claimed:
            yield Task("key", _alias(row), "deleted", [_delete(row["token"])])


def _update_key(wanted: Row, found: Row, needs: Sequence[tuple[str, str]], now: datetime) -> Task:
    changed = _changed({key: value for key, value in wanted.items() if key != "expires"}, found)
    told = dict(changed)
    if not _same_expiry(wanted["expires"], found.get("expires"), now):
        changed["duration"], told["expires"] = _duration(wanted["expires"], now), wanted["expires"]
    name = wanted["key_alias"]
    if not changed:
        return Task("key", name, "unchanged")
    # LiteLLM checks the key's present limits against its new team, so that a call before it changes the limits.
    steps = [{key: value for key, value in changed.items() if key != "team_id"}]
    steps += [{"team_id": changed["team_id"]}] if "team_id" in changed else []
    calls = [Call("/key/update", {"key": found["token"], **step}) for step in steps if step]
    return Task("key", name, "updated", calls, _told(found, told), needs=needs)


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
    return Task("key", wanted["key_alias"], "rotated", calls, needs=needs)


def _generate(wanted: Row, now: datetime, before: Row | None = None) -> Call:
    body = {key: value for key, value in wanted.items() if key != "expires" and value is not None}
    if wanted["expires"]:
        body["duration"] = _duration(wanted["expires"], now)
    if before:
        body["spend"] = before.get("spend") or 0  # the budget goes on with the new value
    return Call("/key/generate", body, value_of=wanted["key_alias"])


def _delete(token: str) -> Call:
    return Call("/key/delete", {"keys": [token]})


def _alias(key: Row) -> str:
    return key.get("key_alias") or f"without alias ({key['token'][:8]}...)"


def _is_marked(row: Row, mark: str) -> bool:
    return _owner(row) == mark


def _owner(row: Row) -> str | None:
    metadata: Row = row.get("metadata") or {}
    return metadata.get(MARK)


def _not_ours(kind: str, name: str, row: Row, mark: str) -> str:
    where = f" in team {row['team_id']}" if kind == "key" and row.get("team_id") else ""
    return (
        f"LiteLLM has a {kind} {name}{where} whose metadata says {MARK}: {_owner(row)}, not {mark}; it is left as "
        "it is. Delete it in LiteLLM, or declare this one under another name"
    )


def _changed(wanted: Row, found: Row) -> Row:
    return {key: value for key, value in wanted.items() if _plain(value) != _plain(found.get(key))}


def _plain(value: Any) -> Any:
    """A field's value for comparison: lists sorted; None, empty and false all None."""
    if isinstance(value, list):
        return sorted(map(str, cast("list[Any]", value))) or None
    return value or None


def _told(found: Row, changed: Row) -> str:
    return ", ".join(
        f"{key} {json.dumps(found.get(key), default=str)} -> {json.dumps(value)}"
        for key, value in changed.items()
    )


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
        for kind in ("team", "key"):
            verbs = [verb for (of, _), verb in self.done.items() if of == kind]
            counted = [f"{verbs.count(verb)} {verb}" for verb in sorted(set(verbs))]
            failures = sum(of == kind for of, _ in self.failed)
            counted += [f"{failures} failed"] if failures else []
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
        for task in plan(declared, proxy.teams(), proxy.keys(), hashes, datetime.now(UTC)):
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
        say(f"{task.kind} {task.name}: FAILED: {failure}")
        return
    verb = task.verb
    if verb == "unchanged" and this in tried:
        verb = "brought in by a call that had seemed to fail"
    if verb != "unchanged" or this not in report.done:
        report.done[this] = verb
    if verb != "unchanged":
        say(f"{task.kind} {task.name}: {verb}{f' ({task.detail})' if task.detail else ''}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Reconcile once; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--declared", type=Path, required=True)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--master-key", type=Path, required=True)
    given = parser.parse_args(arguments)
    declared = json.loads(given.declared.read_text())
    values = {
        key["key_alias"]: (given.keys / key["key_alias"]).read_text().strip() for key in declared["keys"]
    }
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
