"""The double refuses what the pinned LiteLLM refuses, and counts, limits and forgets as it does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.litellm.driver import Double, Proxy, double
from tests.litellm.environment import printed_by

COST = 10 * 0.001 + 5 * 0.002
MALFORMED: list[tuple[str, str, dict[str, Any]]] = [
    ("/key/generate", "GenerateKeyRequest", {"max_budget": "much"}),
    ("/key/generate", "GenerateKeyRequest", {"models": "small"}),
    ("/key/generate", "GenerateKeyRequest", {"tpm_limit": "x"}),
    ("/key/generate", "GenerateKeyRequest", {"rpm_limit": 1.5}),
    ("/key/generate", "GenerateKeyRequest", {"metadata": "x"}),
    ("/key/generate", "GenerateKeyRequest", {"duration": 30}),
    ("/key/generate", "GenerateKeyRequest", {"budget_duration": 30}),
    ("/key/generate", "GenerateKeyRequest", {"blocked": "perhaps"}),
    ("/key/update", "UpdateKeyRequest", {"max_budget": 1}),
    ("/key/update", "UpdateKeyRequest", {"key": "sk-1", "max_budget": []}),
    ("/key/delete", "KeyRequest", {}),
    ("/key/delete", "KeyRequest", {"keys": "sk-1"}),
    ("/key/block", "BlockKeyRequest", {}),
    ("/key/unblock", "BlockKeyRequest", {"key": 1}),
    ("/team/new", "NewTeamRequest", {"max_budget": []}),
    ("/team/new", "NewTeamRequest", {"models": 1}),
    ("/team/new", "NewTeamRequest", {"metadata": []}),
    ("/team/update", "UpdateTeamRequest", {"max_budget": 1}),
    ("/team/update", "UpdateTeamRequest", {"team_id": "t", "tpm_limit": "x"}),
    ("/team/delete", "DeleteTeamRequest", {"team_ids": "t"}),
    ("/team/block", "BlockTeamRequest", {}),
]
WELL_FORMED: list[tuple[str, str, dict[str, Any]]] = [
    ("/key/generate", "GenerateKeyRequest", {"max_budget": 1, "unknown_to_it": 1}),
    ("/key/update", "UpdateKeyRequest", {"key": "sk-1"}),
    ("/key/block", "BlockKeyRequest", {"key": "sk-1"}),
    ("/team/new", "NewTeamRequest", {"team_alias": "a"}),
    ("/team/update", "UpdateTeamRequest", {"team_id": "t"}),
    ("/team/delete", "DeleteTeamRequest", {"team_ids": ["t"]}),
]
VALIDATE = """
import json, sys, pydantic
from litellm.proxy import _types
def refused(model, body):
    try:
        getattr(_types, model)(**body)
    except pydantic.ValidationError:
        return True
    return False
print(json.dumps([refused(model, body) for _, model, body in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def admin() -> Iterator[Double]:
    with double() as running:
        yield running


def refused(admin: Double, path: str, body: dict[str, Any]) -> tuple[int, str]:
    """Status and message of a refusal."""
    answer = admin.client.post(path, json=body)
    value = answer.json()
    return answer.status_code, value["error"]["message"] if "error" in value else str(value["detail"])


def team(admin: Double, name: str, **more: Any) -> str:
    admin.client.post("/team/new", json={"team_id": name, **more}).raise_for_status()
    return name


def key(admin: Double, **body: Any) -> str:
    return admin.client.post("/key/generate", json=body).raise_for_status().json()["key"]


def info(admin: Double, value: str) -> dict[str, Any]:
    return admin.client.get("/key/info", params={"key": value}).raise_for_status().json()["info"]


def ask(admin: Double, value: str, model: str = "small", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}], **more}
    return admin.client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {value}"})


def test_pinned_models_decide(admin: Double, every_proxy: Proxy) -> None:
    """They, the double, and the real proxy where it needs no database refuse the same bodies alike."""
    expected = [True] * len(MALFORMED) + [False] * len(WELL_FORMED)
    assert printed_by("-c", VALIDATE, stdin=json.dumps(MALFORMED + WELL_FORMED)) == expected
    for (path, _, body), malformed in zip(MALFORMED + WELL_FORMED, expected, strict=True):
        here = admin.client.post(path, json=body)
        there = every_proxy.client.post(path, json=body)
        assert (here.status_code == 422) is malformed, (path, body, here.text)
        assert (there.status_code == 422) is malformed, (path, body, there.text)
        if malformed:
            assert here.json() == there.json()


def test_is_ready(admin: Double) -> None:
    answer = admin.client.get("/health/readiness").raise_for_status()
    assert answer.json() == {"status": "healthy", "db": "connected"}


@pytest.mark.parametrize("value", ["sk-wrong", "wrong"])
def test_only_the_master_key_administers(admin: Double, value: str) -> None:
    answer = admin.client.get("/key/list", headers={"authorization": f"Bearer {value}"})
    assert answer.status_code == 401


def test_refusals_of_keys(admin: Double) -> None:
    taken = key(admin, key_alias="taken")
    unknown = {"key": "sk-unknown"}
    assert refused(admin, "/key/generate", {"key_alias": "taken"}) == (
        400,
        "Key with alias 'taken' already exists. Unique key aliases across all keys are required.",
    )
    for path, body, status, message in (
        ("/key/generate", {"key": "1234567890"}, 400, "must start with 'sk-'"),
        ("/key/generate", {"max_budget": -1}, 400, "max_budget must be a non-negative finite number"),
        ("/key/generate", {"duration": "never"}, 500, "Invalid duration format"),
        ("/key/generate", {"tags": ["a"]}, 403, "Enterprise"),
        ("/key/update", unknown, 404, "Key not found."),
        ("/key/update", {"key": taken, "team_id": "unknown"}, 404, "Team doesn't exist in db. Team=unknown"),
        ("/key/delete", {"keys": ["sk-unknown"]}, 404, "No keys found"),
        ("/key/block", unknown, 404, "Key not found."),
        ("/key/regenerate", {"key": taken}, 500, "Regenerating Virtual Keys is an Enterprise feature"),
    ):
        code, text = refused(admin, path, body)
        assert (code, message in text) == (status, True), (path, body, code, text)
    missing = admin.client.get("/key/info", params=unknown)
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "Key not found in database")


def test_refusals_of_teams(admin: Double) -> None:
    team(admin, "team-taken")
    for path, body, status, message in (
        ("/team/new", {"team_id": "team-taken"}, 400, "Team id = team-taken already exists"),
        ("/team/update", {"team_id": "unknown"}, 404, "Team not found, passed team_id=unknown"),
        ("/team/delete", {"team_ids": ["unknown"]}, 404, "Team not found, passed team_id=unknown"),
        ("/team/block", {"team_id": "unknown"}, 404, "Team not found, passed team_id=unknown"),
    ):
        code, text = refused(admin, path, body)
        assert (code, message in text) == (status, True), (path, body, code, text)


def test_a_key_given_again_is_left_as_it_is(admin: Double) -> None:
    value = key(admin, key="sk-given-by-the-caller", max_budget=1)
    assert value == "sk-given-by-the-caller"
    key(admin, key=value, max_budget=2)
    assert info(admin, value)["max_budget"] == 1


def test_expiry_is_a_duration_and_can_be_taken_back(admin: Double) -> None:
    value = key(admin, duration="30d", expires="2030-01-01T00:00:00Z")
    assert not info(admin, value)["expires"].startswith("2030")
    admin.client.post("/key/update", json={"key": value, "duration": "-1"}).raise_for_status()
    assert info(admin, value)["expires"] is None


def test_keys_are_listed_in_pages(admin: Double) -> None:
    name = team(admin, "paged")
    hashes: set[str] = set()
    for number in range(5):
        key(admin, team_id=name, key_alias=f"paged-{number}")
    for page in (1, 2, 3):
        params = {"team_id": name, "page": page, "size": 2}
        listed = admin.client.get("/key/list", params=params).raise_for_status().json()
        assert (listed["total_count"], listed["total_pages"], listed["current_page"]) == (5, 3, page)
        hashes.update(listed["keys"])
    assert len(hashes) == 5
    params = {"key_alias": "paged-3", "return_full_object": "true"}
    (row,) = admin.client.get("/key/list", params=params).json()["keys"]
    assert (row["key_alias"], row["team_id"]) == ("paged-3", name)


def test_a_team_takes_its_keys_along(admin: Double) -> None:
    value = key(admin, team_id=team(admin, "leaving"))
    assert ask(admin, value).status_code == 200
    admin.client.post("/team/delete", json={"team_ids": ["leaving"]}).raise_for_status()
    assert admin.client.get("/key/info", params={"key": value}).status_code == 404


def test_blocked_keys_and_models_out_of_reach(admin: Double) -> None:
    value = key(admin, models=["small"])
    assert ask(admin, value, "large").status_code == 403
    for path, status in (("/key/block", 401), ("/key/unblock", 200)):
        admin.client.post(path, json={"key": value}).raise_for_status()
        assert ask(admin, value).status_code == status


def eventually(found: Callable[[], Any]) -> Any:
    """What is found once it is true, or within 20 s."""
    deadline = time.monotonic() + 20
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return value


def test_limits_bind(admin: Double) -> None:
    value = key(admin, rpm_limit=1)
    assert [ask(admin, value).status_code for _ in range(2)] == [200, 429]
    value = key(admin, tpm_limit=15)
    assert ask(admin, value).status_code == 200
    assert eventually(lambda: ask(admin, value).status_code == 429)  # tokens are counted behind the answer


# Of a stream whose client did not ask for usage, LiteLLM counts the tokens itself: 8 and 1.
@pytest.mark.parametrize(("stream", "cost"), [(False, COST), (True, 8 * 0.001 + 1 * 0.002)])
def test_budget_binds_and_spend_is_written_later(admin: Double, stream: bool, cost: float) -> None:
    value = key(admin, max_budget=cost / 2)
    assert ask(admin, value, stream=stream).status_code == 200
    assert info(admin, value)["spend"] == 0
    assert eventually(lambda: info(admin, value)["spend"])
    assert info(admin, value)["spend"] == pytest.approx(cost)
    over = ask(admin, value, stream=stream)
    assert (over.status_code, "Budget has been exceeded" in over.text) == (429, True)

    def logged() -> list[float]:
        rows = admin.client.get("/spend/logs", params={"api_key": value}).json()
        return [row["spend"] for row in rows if row["spend"]]

    assert eventually(logged)
    assert logged() == [pytest.approx(cost)]


def test_rows_outlive_the_process() -> None:
    with double(database="outlives") as first:
        value = key(first, team_id=team(first, "kept"), max_budget=3)
        first.process.kill()
    with double(database="outlives") as second:
        assert (info(second, value)["team_id"], info(second, value)["max_budget"]) == ("kept", 3)
        assert ask(second, value).status_code == 200


def test_faults_come_as_asked_and_are_counted(admin: Double) -> None:
    admin.forget_calls()
    admin.fault(path="/team/new", status=500, times=2)
    admin.fault(path="/team/new", status=429, after=True)
    body = {"team_id": "faulty"}
    answers = [admin.client.post("/team/new", json=body).status_code for _ in range(4)]
    # The third took effect before its fault, so that the fourth finds the team there.
    assert answers == [500, 500, 429, 400]
    assert admin.calls() == {"POST /team/new": 4}
    assert "faulty" in {row["team_id"] for row in admin.state()["teams"]}
    admin.fault(path="/team/list", delay=5)
    with pytest.raises(httpx.ReadTimeout):
        admin.client.get("/team/list", timeout=0.5)
