"""On the pinned version: a wildcard's models are asked and paid for, no other name is, and a key's wildcard is no more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settings import wildcards
from tests.litellm.conftest import rendered
from tests.litellm.driver import Double, double
from tests.litellm.environment import python
from tests.litellm.upstream import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.engine import COSTS

MINI, NEXT = "openai/gpt-4o-mini", "openai/gpt-of-next-year"
EVERY = wildcards.group("openai/*")
MODELS: list[dict[str, Any]] = [
    {
        "alias": "openai/*",
        "hosted": {
            "model": "openai/*",
            "apiKeySecret": "openai-api-key",
            "params": {"api_base": "http://openai.example/v1"},
        },
    },
    # An alias that LiteLLM takes for one of openai's models, and that leads elsewhere.
    {"alias": "gpt-4o", **COSTS, "endpoint": {"url": "http://own.example/v1", "model": "own"}},
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    pod = rendered({"models": MODELS})
    folder = tmp_path_factory.mktemp("wildcards")
    with double(config=pod.file(folder), environment=pod.environment) as made:
        yield made


def ask(running: Double, model: str, key: str = "") -> Any:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}]}
    return running.client.post("/v1/chat/completions", json=body, headers=headers)


def minted(running: Double, *models: str, **more: Any) -> str:
    body = {"models": models, "allowed_routes": ["llm_api_routes"], **more}
    return running.client.post("/key/generate", json=body).raise_for_status().json()["key"]


def test_a_listed_model_costs_what_it_costs(running: Double) -> None:
    answer = ask(running, MINI).raise_for_status()
    cost = PROMPT_TOKENS * 0.15e-6 + COMPLETION_TOKENS * 0.6e-6
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(cost)


def test_a_model_without_a_price_is_refused(running: Double) -> None:
    answer = ask(running, NEXT)
    assert answer.status_code == 400
    assert "Invalid model name" in answer.text


def test_litellms_own_wildcard_would_give_it_away() -> None:
    """Why a wildcard is not LiteLLM's."""
    route = {"model_name": "openai/*", "litellm_params": {"model": "openai/*"}}
    call = {"model": NEXT, "usage": {}, "what": "chat"}
    done = subprocess.run(
        [python(), Path(__file__).with_name("spend.py")],
        input=json.dumps({"routes": [route], "calls": [call]}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["costs"] in ([None], [0.0])


@pytest.mark.parametrize(
    ("models", "answers"),
    [
        ([EVERY], {MINI: 200, "openai/gpt-4.1": 200, "gpt-4o": 401, NEXT: 401}),
        ([MINI], {MINI: 200, "openai/gpt-4.1": 401, "gpt-4o": 401}),
        # LiteLLM's own pattern, which the group is there for.
        (["openai/*"], {MINI: 200, "gpt-4o": 200}),
    ],
)
def test_a_key_asks_for_what_its_models_name(
    running: Double, models: list[str], answers: dict[str, int]
) -> None:
    key = minted(running, *models)
    found = {model: ask(running, model, key).status_code for model in answers}
    assert {model: 401 if status == 403 else status for model, status in found.items()} == answers


def test_a_key_has_some_of_its_teams_wildcard(running: Double) -> None:
    team = {"team_id": "search", "team_alias": "search", "models": [EVERY]}
    running.client.post("/team/new", json=team).raise_for_status()
    some, every = (minted(running, models, team_id="search") for models in (MINI, EVERY))
    assert ask(running, MINI, some).status_code == ask(running, MINI, every).status_code == 200
    assert ask(running, "openai/gpt-4.1", some).status_code in (401, 403)
    assert ask(running, "gpt-4o", every).status_code in (401, 403)


def test_the_models_are_listed(running: Double) -> None:
    headers = {"authorization": f"Bearer {minted(running, EVERY)}"}
    listed = [row["id"] for row in running.client.get("/v1/models", headers=headers).json()["data"]]
    assert MINI in listed
    assert "gpt-4o" not in listed
