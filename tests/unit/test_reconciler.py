"""What the tenants' Job plans, and how it calls LiteLLM, whose answers tests/litellm checks."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.reconciler import reconcile
from components.reconciler.reconcile import MARK, NAME, REPLACED, Proxy, RefusedError, Task, UnreachableError

NOW = datetime(2026, 1, 31, tzinfo=UTC)
OURS = "llm-gateway/dev"
Row = dict[str, Any]
Answer = tuple[int, dict[str, str], str]
NO_BUDGETS = (200, {}, "[]")
NO_TEAMS, NO_KEYS = ((200, {}, json.dumps({kind: [], "total_pages": 0})) for kind in ("teams", "keys"))


def wanted(name: str, **fields: Any) -> Row:
    return {
        "name": name,
        "key_alias": name,
        "team": None,
        "metadata": {},
        "expires": None,
        **fields,
    }


def existing(name: str, token: str, **fields: Any) -> Row:
    marks = {MARK: OURS, NAME: name.removesuffix(REPLACED)}
    return {"token": token, "key_alias": name, "metadata": marks, **fields}


def plan(
    teams: Sequence[Row],
    keys: Sequence[Row],
    has_teams: Sequence[Row],
    has_keys: Sequence[Row],
    hashes: Mapping[str, str],
) -> list[Task]:
    declared = {MARK: OURS, "budgets": [], "teams": teams, "keys": keys}
    return reconcile.plan(declared, has_teams, has_keys, [], hashes, NOW)


def keys(declared: list[Row], found: list[Row]) -> list[Task]:
    hashes = {key["name"]: f"hash-of-{key['name']}" for key in declared}
    return plan([], declared, [], found, hashes)


def test_a_second_rotation_clears_away_what_a_killed_first_one_left() -> None:
    left = [existing("app", "second", spend=3), existing("app/replaced", "first", spend=9)]
    (task,) = keys([wanted("app")], left)
    assert task.verb == "rotated"
    assert [(call.path, call.body.get("keys")) for call in task.calls] == [
        ("/key/delete", ["first"]),
        ("/key/update", None),
        ("/key/generate", None),
        ("/key/delete", ["second"]),
    ]
    assert task.calls[2].body["spend"] == 3


def test_what_a_killed_rotation_left_beside_the_new_key_is_deleted() -> None:
    left = [existing("app", "hash-of-app"), existing("app/replaced", "first")]
    tasks = keys([wanted("app")], left)
    assert [(task.name, task.verb) for task in tasks] == [("app", "unchanged"), ("app/replaced", "deleted")]


def test_what_only_looks_like_the_rest_of_a_rotation_is_left_alone() -> None:
    theirs = existing("app/replaced", "theirs", metadata={})
    for found in ([theirs], [theirs, existing("app", "first")]):
        (task,) = keys([wanted("app")], found)
        assert "theirs" not in str(task)


def test_a_key_that_was_renamed_by_hand_gets_its_name_back() -> None:
    (task,) = keys([wanted("app")], [existing("renamed", "hash-of-app", metadata={MARK: OURS, NAME: "app"})])
    assert [(call.path, call.body) for call in task.calls] == [
        ("/key/update", {"key": "hash-of-app", "key_alias": "app"})
    ]


def test_a_key_with_our_value_and_without_our_mark_is_refused_unless_it_is_taken_over() -> None:
    theirs = existing(
        "app", "hash-of-app", metadata={"logging": [{"secret": "s3cr3t"}]}, user_id="ann", rpm_limit=9
    )
    (task,) = keys([wanted("app")], [theirs])
    assert "that no stack made (its metadata has no managed_by)" in task.refusal
    assert "write takeOver: true, and adopt: the version" in task.refusal
    (task,) = keys([wanted("app", take_over=True, rpm_limit=5)], [theirs])
    assert task.verb == "taken over"
    assert task.detail == "rpm_limit 9 -> 5, metadata without logging, keeps user_id, which no setting says"
    marks = {MARK: OURS, NAME: "app"}
    assert [call.body for call in task.calls] == [{"key": "hash-of-app", "rpm_limit": 5, "metadata": marks}]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            [existing("app", "another", metadata={})],
            "LiteLLM's key app has another value than the secret of app",
        ),
        (
            [existing("app", "hash-of-app", metadata={MARK: "llm-gateway/prod"})],
            "managed_by: llm-gateway/prod, not",
        ),
        (
            [existing("app", "another", metadata={MARK: "llm-gateway/prod"})],
            "managed_by: llm-gateway/prod, not",
        ),
        (
            [existing("x", "hash-of-app", metadata={}), existing("app", "another", metadata={})],
            "LiteLLM's key app has another value",
        ),
        ([], "takeOver: LiteLLM has no key app"),
    ],
)
def test_a_key_is_not_taken_over(found: list[Row], said: str) -> None:
    (task,) = keys([wanted("app", take_over=True)], found)
    assert said in task.refusal


def test_a_key_keeps_its_spend_with_another_alias_or_name() -> None:
    found = existing("app", "first", spend=3)
    for declared in (wanted("app", key_alias="App (EU)"), wanted("new", key_alias="app")):
        (task,) = keys([declared], [found])
        assert task.verb == "rotated"
        assert task.calls[1].body["spend"] == 3
        assert task.calls[1].body["key_alias"] == declared["key_alias"]


def test_a_key_takes_the_alias_that_another_gives_up() -> None:
    found = [existing("Ann", "hash-of-a", metadata={MARK: OURS, NAME: "a"})]
    first, second = keys([wanted("b", key_alias="Ann"), wanted("a", key_alias="Ann Lee")], found)
    assert [first.verb, second.verb] == ["created", "updated"]


def teams(declared: Row, *found: Row) -> list[Task]:
    return plan([declared], [], found, [], {})


def team(**fields: Any) -> Row:
    return {"name": "search", "team_alias": "Search Team", "metadata": {}, **fields}


def row(team_id: str, alias: str | None, metadata: Row | None = None) -> Row:
    return {"team_id": team_id, "team_alias": alias, "metadata": metadata or {}}


OTHERS = {MARK: "llm-gateway/prod"}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([row("1", "Search Team", OTHERS)], "managed_by: llm-gateway/prod, not llm-gateway/dev"),
        (
            [row("1", "Search Team"), row("2", "Search Team")],
            "LiteLLM has 2 teams Search Team without this stack's mark, 1 and 2",
        ),
        ([row("1", "Search Team"), row("search", None)], "LiteLLM has 2 teams Search Team"),
        ([row("1", "search team")], "takeOver: LiteLLM has no team Search Team"),
    ],
)
def test_a_team_is_not_taken_over(found: list[Row], said: str) -> None:
    (task,) = teams(team(take_over=True), *found)
    assert said in task.refusal


def test_a_team_is_taken_over_under_its_id_and_keeps_it() -> None:
    found = row("4f3c", "Search Team")
    (refused,) = teams(team(), found)
    assert "To take it over with its spend, write takeOver: true (docs" in refused.refusal
    (task,) = teams(team(take_over=True), found)
    marks = {MARK: OURS, NAME: "search"}
    assert [call.body for call in task.calls] == [{"team_id": "4f3c", "metadata": marks}]
    found = row("4f3c", "Search Team", marks)
    assert [task.verb for task in teams(team(), found)] == ["unchanged"]
    for renamed in (team(team_alias="Search"), team(name="new")):
        (task,) = teams(renamed, found)
        assert (task.verb, task.calls[0].body["team_id"]) == ("updated", "4f3c")
    key = {**wanted("app"), "team": "search"}
    *_, task = plan([team()], [key], [found], [], {"app": "hash"})
    assert task.calls[0].body["team_id"] == "4f3c"


def test_no_plan_holds_a_value() -> None:
    (task,) = keys([wanted("app")], [])
    assert [(call.value_of, "key" in call.body) for call in task.calls] == [("app", False)]


@pytest.mark.parametrize(
    ("declared", "found", "unchanged"),
    [
        ({"models": ["a", "b"]}, {"models": ["b", "a"]}, True),
        ({"models": []}, {"models": None}, True),
        ({"blocked": False}, {"blocked": None}, True),
        ({"blocked": True}, {"blocked": None}, False),
        ({"max_budget": 5}, {"max_budget": 5.0}, True),
        ({"max_budget": None}, {"max_budget": 5.0}, False),
        ({"expires": "2026-03-01T00:00:00Z"}, {"expires": "2026-03-01T01:00:30+01:00"}, True),
        ({"expires": "2026-03-01T00:00:00Z"}, {"expires": "2026-03-01T00:02:00"}, False),
        ({"expires": "2026-03-01T00:00:00Z"}, {"expires": None}, False),
        ({"expires": "2025-03-01T00:00:00Z"}, {"expires": "2024-03-01T00:00:00Z"}, True),
    ],
)
def test_what_means_the_same_is_left_alone(declared: Row, found: Row, unchanged: bool) -> None:
    (task,) = keys([wanted("app", **declared)], [existing("app", "hash-of-app", **found)])
    assert (task.verb == "unchanged") is unchanged


SOFT = {"budget_id": f"{OURS}:key/app", "soft_budget": 5}
OTHER_IDS = [{"budget_id": f"{OURS}/other:key/app"}, {"budget_id": "4f3c"}]


@pytest.mark.parametrize(
    ("declared", "found", "calls"),
    [
        ([SOFT], OTHER_IDS, ["/budget/new"]),
        ([SOFT], [{**SOFT, "soft_budget": 5.0, "max_budget": None}], []),
        ([SOFT], [{**SOFT, "soft_budget": 4}], ["/budget/update"]),
        ([], [SOFT, *OTHER_IDS], ["/budget/delete"]),
    ],
)
def test_budgets_are_this_stacks_by_their_ids(
    declared: list[Row], found: list[Row], calls: list[str]
) -> None:
    whole = {MARK: OURS, "budgets": declared, "teams": [], "keys": []}
    tasks = reconcile.plan(whole, [], [], found, {}, NOW)
    assert [call.path for task in tasks for call in task.calls] == calls


@pytest.mark.parametrize(
    ("note", "budgets", "verb"),
    [(SOFT["budget_id"], [SOFT], "unchanged"), (None, [SOFT], "updated"), (SOFT["budget_id"], [], "updated")],
    ids=["has it", "has none", "its budget is gone"],
)
def test_a_key_names_its_budget(note: str | None, budgets: list[Row], verb: str) -> None:
    marks = {MARK: OURS, NAME: "app"} | ({reconcile.BUDGET: note} if note else {})
    declared = {
        MARK: OURS,
        "budgets": [SOFT],
        "teams": [],
        "keys": [wanted("app", budget_id=SOFT["budget_id"])],
    }
    found = existing("app", "hash", metadata=marks)
    *_, task = reconcile.plan(declared, [], [found], budgets, {"app": "hash"}, NOW)
    assert task.verb == verb
    assert not task.calls or task.calls[0].body["budget_id"] == SOFT["budget_id"]


def test_expiry_goes_as_a_duration() -> None:
    (task,) = keys([wanted("app", expires="2026-02-01T00:00:00Z")], [])
    assert task.calls[0].body["duration"] == "86400s"
    assert "expires" not in task.calls[0].body


@contextmanager
def answering(*answers: Answer) -> Generator[Proxy]:
    """A proxy that gives these answers, one per request; status 0 closes the connection."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = left.pop(0)
            if not status:
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        proxy = Proxy(f"http://127.0.0.1:{server.server_port}", "sk-master", ["sk-value"])
        yield proxy
        server.shutdown()
    assert not left, "fewer requests than answers"


def test_retry_after_is_honoured_within_bounds() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    busy = [(429, {"Retry-After": after}, "") for after in ("7", in_an_hour, "-1")]
    pauses: list[float] = []
    with answering(*busy, (503, {"Retry-After": "?"}, ""), (0, {}, ""), NO_TEAMS) as proxy:
        proxy.pause = pauses.append
        assert proxy.teams() == []
    assert pauses[:3] == [7, reconcile.LONGEST_PAUSE, 0]
    assert all(0 < pause <= reconcile.LONGEST_PAUSE for pause in pauses[3:])
    assert len(pauses) == proxy.calls - 1 == 5


def test_an_answer_cut_short_is_tried_again() -> None:
    cut = (200, {"Content-Length": "100"}, "[")
    with answering(*[cut] * reconcile.TRIES) as proxy:
        proxy.pause = lambda _: None
        with pytest.raises(UnreachableError, match="/v2/team/list failed 6 time"):
            proxy.teams()


@pytest.mark.parametrize(
    "body", [json.dumps({"error": {"message": "no sk-value for sk-master"}}), "no sk-value for sk-master"]
)
def test_no_message_repeats_a_key(body: str) -> None:
    with answering((400, {}, body)) as proxy, pytest.raises(RefusedError) as refused:
        proxy.teams()
    assert str(refused.value) == "/v2/team/list was refused with 400: no [key] for [key]"


def test_no_error_of_the_connection_repeats_a_key() -> None:
    proxy = Proxy("http://127.0.0.1:1", "sk-master\n", pause=lambda _: None)
    with pytest.raises(UnreachableError) as failed:  # Python says which header it cannot send
        proxy.teams()
    assert "sk-master" not in str(failed.value)


def test_an_error_cut_short_is_tried_again() -> None:
    with answering((500, {"Content-Length": "100"}, "{"), NO_TEAMS) as proxy:
        proxy.pause = lambda _: None
        assert proxy.teams() == []


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([NO_TEAMS, NO_KEYS, NO_BUDGETS], 0, "teams: none; keys: none; 3 calls"),
        ([(401, {}, "wrong")], 2, "STOPPED: LiteLLM refuses the master key (401 at /v2/team/list: wrong)"),
        ([(400, {}, "no")], 2, "STOPPED: /v2/team/list was refused with 400: no"),
    ],
)
def test_the_exit_code_says_whether_to_try_again(
    answers: list[Answer], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared, master = tmp_path / "declared.json", tmp_path / "master"
    declared.write_text(json.dumps({MARK: OURS, "budgets": [], "teams": [], "keys": []}))
    master.write_text("sk-master")
    with answering(*answers) as proxy:
        line = ["--url", proxy.url, "--declared", str(declared), "--master-key", str(master)]
        assert reconcile.main(line) == code
    assert said in capsys.readouterr().out


def test_an_unreachable_proxy_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reconcile, "TRIES", 1)
    (tmp_path / "declared.json").write_text(
        json.dumps({MARK: OURS, "budgets": [], "teams": [], "keys": [wanted("app")]})
    )
    (tmp_path / "app").write_text("sk-value")
    line = ["--url", "http://127.0.0.1:1", "--declared", str(tmp_path / "declared.json")]
    line += ["--keys", str(tmp_path), "--master-key", str(tmp_path / "app")]
    assert reconcile.main(line) == 1
    assert "FAILED: /v2/team/list failed 1 time" in capsys.readouterr().out
