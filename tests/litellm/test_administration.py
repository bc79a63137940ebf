"""Who may administrate a proxy of our settings: the master key, and nobody by the UI."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.litellm.conftest import rendered
from tests.litellm.driver import Double, double
from tests.support.engine import run_program


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    pod = rendered()
    folder: Path = tmp_path_factory.mktemp("administration")
    with double(config=pod.file(folder), environment=pod.environment) as running:
        yield running


@pytest.fixture(scope="module")
def key(proxy: Double) -> str:
    """A virtual key with the routes that the program declares."""
    recording = run_program({"teams": [], "virtualKeys": [{"name": "app"}]})
    data = recording.one("ConfigMap", "gateway-tenants-declared").inputs["data"]
    (declared,) = json.loads(data["declared.json"])["keys"]
    body = {"allowed_routes": declared["allowed_routes"]}
    return proxy.client.post("/key/generate", json=body).raise_for_status().json()["key"]


def asked(proxy: Double, key: str, method: str, path: str, body: Any = None) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return proxy.client.request(method, path, json=body, headers=headers).status_code


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {}),
        ("/model/new", {"model_name": "x", "litellm_params": {"model": "openai/x"}}),
        ("/team/new", {"team_alias": "x"}),
        ("/team/member_add", {"team_id": "search", "member": {"role": "admin", "user_id": "x"}}),
    ],
)
def test_a_virtual_key_changes_nothing(proxy: Double, key: str, path: str, body: Any) -> None:
    assert asked(proxy, key, "POST", path, body) in (401, 403)


def test_a_virtual_key_uses_models_and_knows_itself(proxy: Double, key: str) -> None:
    message = {"role": "user", "content": "ping"}
    body = {"model": "qwen-local", "messages": [message]}
    assert asked(proxy, key, "POST", "/v1/chat/completions", body) == 200
    for path in ("/v1/models", "/key/info"):
        assert asked(proxy, key, "GET", path) == 200


@pytest.mark.parametrize("path", ["/health", "/key/list", "/model/info", "/global/spend"])
def test_a_virtual_key_sees_nothing_else(proxy: Double, key: str, path: str) -> None:
    assert asked(proxy, key, "GET", path) in (401, 403)


def test_there_is_no_ui(proxy: Double) -> None:
    assert "Admin UI is Disabled" in proxy.client.get("/sso/key/generate").text
    assert proxy.client.get("/.well-known/litellm-ui-config").json()["admin_ui_disabled"] is True
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert proxy.client.get(path).status_code == 404


def test_a_key_that_is_gone_is_refused_by_every_pod_after_a_minute(tmp_path: Path) -> None:
    """docs/tenants.md says so. A key that is used all the time lives no longer."""
    pod, message = rendered(), {"role": "user", "content": "ping"}
    options: Any = {"environment": pod.environment, "database": "keys_that_go"}
    with (
        double(config=pod.file(tmp_path), **options) as told,
        double(config=pod.file(tmp_path), **options) as other,
    ):

        def answers(pod: Double, key: str) -> int:
            body = {"model": "qwen-local", "messages": [message]}
            return asked(pod, key, "POST", "/v1/chat/completions", body)

        blocked, deleted = (
            told.client.post("/key/generate", json={}).raise_for_status().json()["key"] for _ in range(2)
        )
        assert {answers(pod, key) for pod in (told, other) for key in (blocked, deleted)} == {200}
        told.client.post("/key/block", json={"key": blocked}).raise_for_status()
        told.client.post("/key/delete", json={"keys": [deleted]}).raise_for_status()
        gone = time.monotonic()
        assert [answers(told, key) for key in (blocked, deleted)] == [401, 401]
        assert [answers(other, key) for key in (blocked, deleted)] == [200, 200]
        asking = gone
        while 200 in [answers(other, key) for key in (blocked, deleted)]:
            assert asking < gone + 61
            time.sleep(2)
            asking = time.monotonic()
        assert [answers(other, key) for key in (blocked, deleted)] == [401, 401]
