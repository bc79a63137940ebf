"""The pinned version knows the settings that the stack's settings let through, and starts with them."""

from __future__ import annotations

from pathlib import Path

import yaml

from settings import litellm_settings
from tests.litellm import own_settings
from tests.litellm.conftest import rendered
from tests.litellm.driver import proxy


def test_the_list_of_settings_is_the_pinned_versions() -> None:
    assert own_settings.LIST.read_text() == own_settings.text(), "run `python -m tests.litellm.own_settings`"


def test_what_the_program_writes_cannot_be_said_a_second_time() -> None:
    state = {"replicas": 2, "sharedState": {"kind": "valkey"}}
    fallbacks = {"onError": {"qwen-local": ["b"]}, "onContextLength": {"b": ["qwen-local"]}}
    free = {"alias": "b", "free": True, "endpoint": {"url": "http://b.svc/v1", "model": "b"}, "rpm": 5}
    models = [{"alias": "qwen-local", "free": True, "endpoint": free["endpoint"]}, free]
    config = rendered({"models": models, "litellm": {**state, "fallbacks": fallbacks}}).config
    for section, written in yaml.safe_load(config).items():
        if section != "model_list":
            kind = section.removesuffix("_settings")
            assert {found.key for found in litellm_settings.broken(kind, written, set())} == written.keys(), (
                kind
            )


def test_a_proxy_starts_with_them_and_obeys_them(tmp_path: Path) -> None:
    settings = {
        "generalSettings": {"max_request_size_mb": 1},
        "routerSettings": {"enable_pre_call_checks": True},
        "litellmSettings": {"json_logs": True, "drop_params": True},
        "environment": {"OTEL_SERVICE_NAME": "gateway"},
    }
    pod = rendered({"litellm": settings})
    assert pod.environment["OTEL_SERVICE_NAME"] == "gateway"
    with proxy(pod.file(tmp_path), pod.environment) as running:
        body = {"model": "qwen-local", "messages": [{"role": "user", "content": "ping"}]}
        assert running.client.post("/v1/chat/completions", json=body).is_success
        assert '"level": "INFO"' in running.log.read_text()
