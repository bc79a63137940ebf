"""Who may administrate a proxy of our settings: the master key, and nobody by the UI."""

from __future__ import annotations

import json
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
