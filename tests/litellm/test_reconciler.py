"""The tenants' Job against LiteLLM's own admin API, with what can go wrong between them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.reconciler import reconcile
from components.reconciler.reconcile import MARK, Proxy, Report, StopError
from tests.litellm.driver import Double, double

OURS = "llm-gateway/dev"
Row = dict[str, Any]


def team(name: str, **fields: Any) -> Row:
    return {"name": name, "team_alias": name, **limits(fields)}


def key(name: str, team: str | None = None, *, expires: str | None = None, **fields: Any) -> Row:
    return {"name": name, "key_alias": name, "team": team, **limits(fields), "expires": expires}


def limits(fields: Row) -> Row:
    whole = {"max_budget": None, "budget_duration": "1mo", "tpm_limit": None, "rpm_limit": None}
    return {**whole, "models": [], "blocked": False, "metadata": {}, **fields}


def value(name: str, generation: int = 1) -> str:
    return f"sk-{hashlib.sha256(f'{name}{generation}'.encode()).hexdigest()[:48]}"


class KilledError(Exception):
    """Stands for the end of the process."""


@dataclass
class Killed(Proxy):
    """Dies when it is to send its write number `at`."""

    at: int = 0

    def send(self, method: str, path: str, body: Row | None = None) -> Any:
        if method == "POST":
            self.at -= 1
            if self.at < 0:
                raise KilledError
        return super().send(method, path, body)


@dataclass
class Run:
    """One run of the reconciler, and what it said."""

    report: Report
    log: list[str]
    pauses: list[float]


@dataclass
class Gateway:
    """The double, and runs against it."""

    double: Double
    values: dict[str, str] = field(default_factory=dict)

    def reconcile(
        self,
        teams: Sequence[Row] = (),
        keys: Sequence[Row] = (),
        proxy: Proxy | None = None,
        budgets: Sequence[Row] = (),
    ) -> Run:
        names = [key["name"] for key in keys]
        values = {name: self.values.get(name, value(name)) for name in names}
        log: list[str] = []
        pauses: list[float] = []
        proxy = proxy or self.proxy()
        proxy.pause = pauses.append
        declared = {MARK: OURS, "budgets": budgets, "teams": teams, "keys": keys}
        run = Run(reconcile.reconcile(declared, values, proxy, log.append), log, pauses)
        said = "\n".join([*log, *run.report.failed.values()])
        assert not [secret for secret in [*values.values(), self.double.master_key] if secret in said]
        return run

    def proxy(self) -> Proxy:
        return Proxy(self.double.url, self.double.master_key)

    def rows(self, table: str, name: str) -> Mapping[str, Row]:
        return {row[name]: row for row in self.double.state()[table]}

    @property
    def keys(self) -> Mapping[str, Row]:
        return self.rows("keys", "key_alias")

    @property
    def teams(self) -> Mapping[str, Row]:
        return self.rows("teams", "team_id")

    def make(self, path: str, body: Row) -> None:
        self.double.client.post(path, json=body).raise_for_status()

    def writes(self) -> dict[str, int]:
        """Calls that change something, since the last look."""
        calls = self.double.calls()
        self.double.forget_calls()
        return {path: count for path, count in calls.items() if path.startswith("POST ")}


@pytest.fixture(scope="module")
def running() -> Iterator[Double]:
    with double() as started:
        yield started


@pytest.fixture
def gateway(running: Double) -> Iterator[Gateway]:
    """A proxy without teams and keys."""
    yield Gateway(running)
    state = running.state()
    if state["keys"]:
        tokens = [row["token"] for row in state["keys"]]
        running.client.post("/key/delete", json={"keys": tokens}).raise_for_status()
    if state["teams"]:
        ids = [row["team_id"] for row in state["teams"]]
        running.client.post("/team/delete", json={"team_ids": ids}).raise_for_status()
    running.forget_calls()


def test_what_is_declared_is_made_changed_blocked_and_deleted(gateway: Gateway) -> None:
    teams = [team("search", max_budget=50, models=["small"]), team("support", tpm_limit=1000)]
    keys = [key("app", "search", max_budget=20, rpm_limit=60), key("bot", "support"), key("alone")]
    first = gateway.reconcile(teams, keys)
    assert first.report.summary() == "teams: 2 created; keys: 3 created"
    assert gateway.teams["search"]["max_budget"] == 50
    app = gateway.keys["app"]
    assert (app["team_id"], app["max_budget"], app["rpm_limit"]) == ("search", 20, 60)
    assert app["token"] == hashlib.sha256(value("app").encode()).hexdigest()

    changed = [team("search", max_budget=80, models=["small"], blocked=True)]
    left = [key("app", "search", rpm_limit=60, models=["small"]), key("alone", blocked=True)]
    second = gateway.reconcile(changed, left)
    assert second.report.summary() == "teams: 1 deleted, 1 updated; keys: 1 deleted, 2 updated"
    assert "team search: updated (max_budget 50.0 -> 80, blocked false -> true)" in second.log
    assert "key bot: deleted" in second.log
    assert set(gateway.teams) == {"search"}
    assert (gateway.teams["search"]["max_budget"], gateway.teams["search"]["blocked"]) == (80, True)
    assert set(gateway.keys) == {"app", "alone"}
    assert (gateway.keys["app"]["max_budget"], gateway.keys["app"]["models"]) == (None, ["small"])
    assert gateway.keys["alone"]["blocked"] is True

    assert gateway.reconcile().report.summary() == "teams: 1 deleted; keys: 2 deleted"
    assert not gateway.keys
    assert not gateway.teams


def test_what_is_as_declared_costs_the_listings_alone(gateway: Gateway) -> None:
    teams = [team("search", max_budget=50, models=["small", "large"], metadata={"a": "b"})]
    keys = [key("app", "search", models=["large", "small"], tpm_limit=9, expires="2099-01-31T00:00:00+02:00")]
    gateway.reconcile(teams, keys)
    gateway.double.forget_calls()
    run = gateway.reconcile(teams, keys)
    assert run.report.summary() == "teams: 1 unchanged; keys: 1 unchanged"
    assert gateway.double.calls() == {"GET /budget/list": 1, "GET /v2/team/list": 1, "GET /key/list": 1}


def test_calls_are_linear_in_tenants_and_the_unchanged_cost_none(gateway: Gateway) -> None:
    def declared(count: int) -> tuple[list[Row], list[Row]]:
        names = [f"t{number:03}" for number in range(count)]
        return [team(name, max_budget=9) for name in names], [key(f"{name}-app", name) for name in names]

    made: dict[int, int] = {}
    for count in (100, 200):
        gateway.double.forget_calls()
        gateway.reconcile(*declared(count))
        made[count] = sum(gateway.writes().values())
    assert made == {100: 200, 200: 200}, "the second hundred teams, a key each, cost what the first did"

    assert gateway.reconcile(*declared(200)).report.summary() == "teams: 200 unchanged; keys: 200 unchanged"
    # A page holds a hundred.
    listings = {"GET /budget/list": 1, "GET /v2/team/list": 2, "GET /key/list": 2}
    assert gateway.double.calls() == listings

    teams, keys = declared(200)
    teams[7] = {**teams[7], "max_budget": 10}
    keys[8] = {**keys[8], "rpm_limit": 10}
    gateway.double.forget_calls()
    gateway.reconcile(teams, keys)
    assert gateway.double.calls() == {**listings, "POST /team/update": 1, "POST /key/update": 1}


def test_a_rotated_key_keeps_name_spend_and_limits(gateway: Gateway) -> None:
    keys = [key("app", max_budget=20), key("bot")]
    gateway.reconcile([], keys)
    gateway.make("/key/update", {"key": value("app"), "spend": 7.5})
    bot = gateway.keys["bot"]
    gateway.values["app"] = value("app", 2)
    gateway.writes()

    run = gateway.reconcile([], keys)
    assert run.log == ["key app: rotated"]
    assert gateway.writes() == {"POST /key/update": 1, "POST /key/generate": 1, "POST /key/delete": 1}
    app = gateway.keys["app"]
    assert app["token"] == hashlib.sha256(value("app", 2).encode()).hexdigest()
    assert (app["spend"], app["max_budget"]) == (7.5, 20)
    assert gateway.keys == {"app": app, "bot": bot}
    assert gateway.reconcile([], keys).report.summary() == "teams: none; keys: 2 unchanged"


@pytest.mark.parametrize("at", range(3))
def test_a_rotation_that_was_killed_is_finished_by_the_next_run(gateway: Gateway, at: int) -> None:
    keys = [key("app", max_budget=20)]
    gateway.reconcile([], keys)
    gateway.make("/key/update", {"key": value("app"), "spend": 7.5})
    gateway.values["app"] = value("app", 2)
    with pytest.raises(KilledError):
        gateway.reconcile([], keys, Killed(gateway.double.url, gateway.double.master_key, at=at))
    assert gateway.keys, "one of the two values works at every moment"

    assert not gateway.reconcile([], keys).report.failed
    (app,) = gateway.keys.values()
    assert app["token"] == hashlib.sha256(value("app", 2).encode()).hexdigest()
    assert (app["key_alias"], app["spend"]) == ("app", 7.5)


def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(gateway: Gateway) -> None:
    before = [team("old"), team("kept", max_budget=1)], [key("a", "old"), key("b", "old"), key("c")]
    after = [team("kept", max_budget=2), team("new")], [key("a", "new"), key("d", "kept")]
    gateway.reconcile(*after)
    wanted = snapshot(gateway)
    at, killed = 0, True
    while killed:
        gateway.reconcile(*before)
        try:
            gateway.reconcile(*after, Killed(gateway.double.url, gateway.double.master_key, at=at))
            killed = False
        except KilledError:
            assert not gateway.reconcile(*after).report.failed
        assert snapshot(gateway) == wanted
        at += 1
    assert at == 8, "seven writes, and one run that was left alone"


def snapshot(gateway: Gateway) -> object:
    fields = ("team_id", "max_budget", "models", "blocked", "metadata")
    rows = {**gateway.teams, **gateway.keys}
    return {name: {field: row[field] for field in fields} for name, row in rows.items()}


def test_what_someone_else_made_is_refused_and_left_as_it_is(gateway: Gateway) -> None:
    gateway.make("/team/new", {"team_id": "theirs", "team_alias": "search"})
    gateway.make("/team/new", {"team_id": "other"})
    gateway.make("/key/generate", {"key_alias": "app", "team_id": "other", "max_budget": 1})
    gateway.make("/key/generate", {"key_alias": "x", "metadata": {MARK: "llm-gateway/prod"}})
    before = gateway.keys
    keys = [key("app", "mine"), key("in", "search"), key("ok")]
    run = gateway.reconcile([team("search"), team("mine")], keys)
    assert run.report.done == {("team", "mine"): "created", ("key", "ok"): "created"}
    assert run.report.failed[("team", "search")].startswith("LiteLLM has a team search that no stack made")
    assert "a key app in team other that no stack made" in run.report.failed[("key", "app")]
    assert run.report.failed[("key", "in")] == "waits for team search, which failed"
    assert not run.report.worth_another_try
    assert {name: gateway.keys[name] for name in before} == before
    assert set(gateway.keys) == {"app", "x", "ok"}

    assert not gateway.reconcile().report.failed
    assert set(gateway.keys) == {"app", "x"}
    assert set(gateway.teams) == {"theirs", "other"}


def test_what_was_made_by_hand_is_taken_over_with_its_spend(gateway: Gateway) -> None:
    gateway.make("/team/new", {"team_alias": "Search Team (EU)", "max_budget": 9})
    ((team_id, _),) = gateway.teams.items()
    by_hand = {"key_alias": "Ann.Lee@example.com", "team_id": team_id, "max_budget": 3, "user_id": "ann"}
    metadata = {"service_account_id": "bot", "note": "from the UI"}
    gateway.make("/key/generate", {**by_hand, "key": value("ann"), "metadata": metadata})
    gateway.make("/key/update", {"key": value("ann"), "spend": 2.5})
    before = gateway.keys, gateway.teams
    teams = [team("search", team_alias="Search Team (EU)", max_budget=50)]
    keys = [key("ann", "search", key_alias="Ann.Lee@example.com", max_budget=20)]
    refused = gateway.reconcile(teams, keys).report.failed
    assert "that no stack made" in refused[("team", "search")]
    assert (gateway.keys, gateway.teams) == before

    over = [{**row, "take_over": True} for row in (*teams, *keys)]
    gateway.values["ann"] = value("ann", 2)
    other_value = gateway.reconcile(over[:1], over[1:])
    assert "has another value than the secret of ann" in other_value.report.failed[("key", "ann")]
    assert gateway.keys == before[0]
    gateway.values.clear()
    run = gateway.reconcile(over[:1], over[1:])
    assert run.report.summary() == "teams: 1 unchanged; keys: 1 taken over"
    assert "key ann (Ann.Lee@example.com): taken over (max_budget 3.0 -> 20, " in run.log[0]
    assert "metadata without note, keeps user_id, which no setting says" in run.log[0]
    (ann,) = gateway.keys.values()
    assert (ann["spend"], ann["max_budget"], ann["team_id"]) == (2.5, 20, team_id)
    assert {name: row["max_budget"] for name, row in gateway.teams.items()} == {team_id: 50}
    assert gateway.double.client.get("/v1/models", headers=bearer("ann")).status_code == 200
    assert gateway.reconcile(teams, keys).report.summary() == "teams: 1 unchanged; keys: 1 unchanged"

    renamed = [{**keys[0], "key_alias": "Ann Lee", "metadata": {}}]
    gateway.values["ann"] = value("ann", 2)
    assert gateway.reconcile(teams, renamed).report.summary() == "teams: 1 unchanged; keys: 1 rotated"
    (ann,) = gateway.keys.values()
    assert (ann["key_alias"], ann["spend"], ann["team_id"]) == ("Ann Lee", 2.5, team_id)


def test_a_team_that_holds_keys_of_others_is_not_deleted_with_them(gateway: Gateway) -> None:
    gateway.reconcile([team("search")])
    gateway.make("/key/generate", {"key_alias": "by-hand", "team_id": "search"})
    run = gateway.reconcile([])
    assert "holds keys that were not made from here: by-hand" in run.report.failed[("team", "search")]
    assert set(gateway.teams) == {"search"}
    assert set(gateway.keys) == {"by-hand"}


def test_a_team_is_not_deleted_while_a_key_that_is_to_move_is_in_it(gateway: Gateway) -> None:
    teams = [team("a"), team("b")]
    gateway.reconcile(teams, [key("app", "a")])
    gateway.double.fault(path="/key/update", status=500, times=reconcile.TRIES * reconcile.PASSES)
    run = gateway.reconcile(teams[1:], [key("app", "b")])
    assert set(run.report.failed) == {("key", "app"), ("team", "a")}
    assert gateway.keys["app"]["team_id"] == "a"
    again = gateway.reconcile(teams[1:], [key("app", "b")])
    assert again.report.summary() == "teams: 1 deleted, 1 unchanged; keys: 1 updated"


def test_a_key_moves_to_a_team_that_shares_no_model_with_the_last(gateway: Gateway) -> None:
    teams = [team("a", models=["small"]), team("b", models=["large"], tpm_limit=10)]
    gateway.reconcile(teams, [key("app", "a", models=["small"], tpm_limit=100)])
    token = gateway.keys["app"]["token"]
    run = gateway.reconcile(teams[1:], [key("app", "b", models=["large"], tpm_limit=5)])
    assert run.report.summary() == "teams: 1 deleted, 1 unchanged; keys: 1 updated"
    app = gateway.keys["app"]
    assert (app["token"], app["team_id"], app["models"], app["tpm_limit"]) == (token, "b", ["large"], 5)
    assert not gateway.reconcile(teams[1:], [key("app")]).report.failed
    assert gateway.keys["app"]["team_id"] is None


def test_what_was_changed_by_hand_is_brought_back(gateway: Gateway) -> None:
    gateway.reconcile([team("search", max_budget=5)], [key("app", "search", rpm_limit=3)])
    gateway.make("/team/update", {"team_id": "search", "max_budget": 500})
    gateway.make("/key/update", {"key": value("app"), "key_alias": "renamed", "rpm_limit": 900})
    run = gateway.reconcile([team("search", max_budget=5)], [key("app", "search", rpm_limit=3)])
    assert run.report.summary() == "teams: 1 updated; keys: 1 updated"
    assert gateway.teams["search"]["max_budget"] == 5
    assert gateway.keys["app"]["rpm_limit"] == 3


def test_an_expiry_is_set_moved_and_taken_away(gateway: Gateway) -> None:
    def expires() -> datetime:
        return datetime.fromisoformat(gateway.keys["app"]["expires"]).astimezone(UTC)

    soon = datetime(2098, 1, 31, 12, tzinfo=UTC)
    gateway.reconcile([], [key("app", expires="2098-01-31T12:00:00Z")])
    assert abs(expires() - soon) < timedelta(seconds=5)
    gateway.reconcile([], [key("app", expires="2099-01-31T12:00:00Z")])
    assert expires().year == 2099
    gateway.reconcile([], [key("app", expires="2020-01-31T12:00:00Z")])
    assert expires() <= datetime.now(UTC)
    assert gateway.double.client.get("/v1/models", headers=bearer("app")).status_code == 401
    again = gateway.reconcile([], [key("app", expires="2020-01-31T12:00:00Z")])
    assert again.report.done == {("key", "app"): "unchanged"}
    gateway.reconcile([], [key("app")])
    assert gateway.keys["app"]["expires"] is None
    assert gateway.double.client.get("/v1/models", headers=bearer("app")).status_code == 200


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value(name)}"}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_call_is_tried_again(gateway: Gateway, status: int) -> None:
    gateway.double.fault(path="/key/generate", status=status, times=3)
    run = gateway.reconcile([], [key("app")])
    assert run.log == ["key app: created"]
    assert len(run.pauses) == 3
    assert all(0.5 <= pause <= 30 for pause in run.pauses)


@pytest.mark.parametrize("path", ["/team/new", "/key/generate"])
def test_a_call_that_took_effect_and_seemed_to_fail_is_found_out(gateway: Gateway, path: str) -> None:
    gateway.double.fault(path=path, status=500, after=True, times=1)
    run = gateway.reconcile([team("search")], [key("app", "search")])
    assert not run.report.failed
    assert set(gateway.teams) == {"search"}
    assert set(gateway.keys) == {"app"}
    assert "brought in by a call that had seemed to fail" in run.report.summary()


def test_no_answer_in_time_is_tried_again(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "TIMEOUT", 0.5)
    gateway.double.fault(path="/team/new", status=500, delay=2, times=1)
    run = gateway.reconcile([team("search")])
    assert not run.report.failed
    assert len(run.pauses) == 1


def test_one_tenant_that_cannot_be_reached_does_not_keep_the_others_out(gateway: Gateway) -> None:
    gateway.double.fault(path="/team/new", status=500, times=reconcile.TRIES * reconcile.PASSES)
    run = gateway.reconcile([team("search")], [key("in", "search"), key("app")])
    assert set(run.report.failed) == {("team", "search"), ("key", "in")}
    assert run.report.worth_another_try
    assert set(gateway.keys) == {"app"}


def test_a_wrong_master_key_stops_at_once(gateway: Gateway) -> None:
    with pytest.raises(StopError, match="LiteLLM refuses the master key \\(401 at /v2/team/list"):
        gateway.reconcile([team("search")], [], Proxy(gateway.double.url, "sk-wrong"))
    gateway.double.fault(path="/team/new", status=401, times=1)
    with pytest.raises(StopError, match="401 at /team/new"):
        gateway.reconcile([team("search"), team("more")])
    assert not gateway.teams


def test_what_litellm_refuses_is_said_with_its_own_words(gateway: Gateway) -> None:
    run = gateway.reconcile([], [key("app", max_budget=-1)])
    said = run.report.failed[("key", "app")]
    assert "400: {'error': 'max_budget must be a non-negative finite number" in said
    assert not run.report.worth_another_try
