"""Values as people put them into Secret Manager: each reader gets the bare value, or the sync says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sandbox.operators.external_secrets.template import TemplateError, render
from tests.support.engine import EVERYTHING, Recording, run_program

KEYS = (
    ("litellm-secrets", "PROXY_MASTER_KEY", "litellm-master-key"),
    ("litellm-secrets", "UPSTREAM_API_KEY", "vllm-api-key"),
    ("litellm-secrets", "SECRET_ANTHROPIC_API_KEY", "anthropic-api-key"),
    ("litellm-pg-app", "password", "litellm-db-password"),
    ("vllm-api-key", "api-key", "vllm-api-key"),
    ("hugging-face-tokens", "qwen-local", "hf-token"),
    ("litellm-tenant-keys", "search-app", "litellm-key-search-app"),
)


@pytest.fixture(scope="module")
def everything() -> Recording:
    qwen: Mapping[str, Any] = EVERYTHING["models"][0]
    vllm = {**qwen["vllm"], "huggingFaceToken": "hf-token"}
    return run_program({**EVERYTHING, "models": [{**qwen, "vllm": vllm}, EVERYTHING["models"][1]]})


def synced(recording: Recording, secret: str, key: str, value: bytes) -> str:
    """What the key holds when all values of the Secret are `value`."""
    spec = recording.one("ExternalSecret", f"gateway-secret-sync-{secret}").inputs["spec"]
    template = spec["target"]["template"]
    assert template["engineVersion"] == "v2"
    names = {entry["secretKey"] for entry in spec["data"]}
    assert names <= template["data"].keys()
    return render(key, template["data"][key], dict.fromkeys(names, value.decode(errors="replace")))


@pytest.mark.parametrize(("secret", "key", "secret_id"), KEYS)
@pytest.mark.parametrize(
    "written", ["{}", "{}\n", "{}\r\n", "\ufeff{}\n", " \t{} \n\n", "\ufeff {}"], ids=ascii
)
def test_what_an_editor_adds_is_taken_away(
    everything: Recording, secret: str, key: str, secret_id: str, written: str
) -> None:
    assert synced(everything, secret, key, written.format("sk-Ab_1.~-").encode()) == "sk-Ab_1.~-"


@pytest.mark.parametrize(("secret", "key", "secret_id"), KEYS)
@pytest.mark.parametrize(
    "value",
    [b"", b" \n", b'"sk-1"', b"'sk-1'", b"sk-1\nsk-2", b"sk 1", "sk-1".encode("utf-16"), "sk-é".encode()],
)
def test_what_no_reader_takes_is_said_by_name(
    everything: Recording, secret: str, key: str, secret_id: str, value: bytes
) -> None:
    with pytest.raises(TemplateError) as raised:
        synced(everything, secret, key, value)
    assert f"secret {secret_id}: the value is empty, or has quotes" in str(raised.value)
    assert f"gcloud secrets versions add {secret_id} --data-file=-" in str(raised.value)


def test_a_password_that_a_url_would_not_carry_is_refused(everything: Recording) -> None:
    with pytest.raises(TemplateError, match="litellm-db-password"):
        synced(everything, "litellm-pg-app", "password", b"p@ss/word")


@pytest.mark.parametrize("value", ["salt", "salt\n", "\ufeffsalt", '"salt"'], ids=ascii)
def test_the_salt_is_taken_to_the_byte(everything: Recording, value: str) -> None:
    """Whoever used it before us used its line end, too: trimmed, it would decrypt nothing."""
    assert synced(everything, "litellm-secrets", "LITELLM_SALT_KEY", value.encode()) == value


def test_a_redis_password_keeps_all_but_its_line_end(everything: Recording) -> None:
    assert synced(everything, "litellm-secrets", "REDIS_PASSWORD", b"a 'b\" \xc3\xa9\n") == "a 'b\" é"
    with pytest.raises(TemplateError, match="litellm-redis-password"):
        synced(everything, "litellm-secrets", "REDIS_PASSWORD", b"\n")


def test_a_service_accounts_file_is_taken_as_it_is() -> None:
    vertex = {
        "model": "vertex_ai/gemini-2.5-pro",
        "params": {"vertex_project": "my-project", "vertex_location": "global"},
        "secretParams": {"vertex_credentials": "vertex-account"},
    }
    recording = run_program({"models": [{"alias": "gemini", "hosted": vertex}]})
    file = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN PRIVATE KEY-----\\nMII=\\n"\n}'
    assert synced(recording, "litellm-secrets", "SECRET_VERTEX_ACCOUNT", file.encode()) == file
