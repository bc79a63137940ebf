"""`make key` and `make validate`: what they read, and what they say where there is nothing to read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import gateway
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.paths import Home
from sandbox.start import Sandbox

SECRET = "projects/p/secrets/key"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return Sandbox(Home(tmp_path), "dev", tmp_path, {})


def deployed(box: Sandbox, **latest: Any) -> None:
    checkpoint = box.home.checkpoint("dev")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text(json.dumps({"checkpoint": {"latest": latest}}))


def test_a_key_is_that_of_the_newest_version(box: Sandbox) -> None:
    deployed(box, resources=[{"outputs": {"virtualKeySecrets": {"app": SECRET}}}])
    cloud = Cloud(box.home.cloud)
    for version in range(1, 11):
        payload = base64.b64encode(f"sk-{version}".encode()).decode()
        cloud.create(
            "secretVersion", f"{SECRET}/versions/{version}", {"version": str(version), "payload": payload}
        )
    assert gateway.key(box, "app") == "sk-10"
    with pytest.raises(SandboxError, match="declares no virtual key 'other'; it has app"):
        gateway.key(box, "other")


def test_a_secret_without_a_version(box: Sandbox) -> None:
    deployed(box, resources=[{"outputs": {"virtualKeySecrets": {"app": SECRET}}}])
    with pytest.raises(SandboxError, match="has no version"):
        gateway.key(box, "app")


@pytest.mark.parametrize("latest", [None, {}, {"resources": [{"outputs": {}}]}])
def test_a_stack_that_is_not_up_is_not_validated(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, latest: dict[str, Any] | None
) -> None:
    monkeypatch.setattr(gateway, "url", lambda home: "http://127.0.0.1:1")
    if latest is not None:
        deployed(box, **latest)
    with pytest.raises(SandboxError, match="was not brought up here"):
        gateway.validate(box, [])
