"""Every key we write into LiteLLM's configuration is one that its pinned version knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.litellm.conftest import Pod, rendered
from tests.litellm.environment import printed_by
from tests.support.certificates import Authority

SCRIPT = Path(__file__).with_name("keys.py")


def findings(config: Any, folder: Path) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return printed_by(SCRIPT, path)


def test_every_key_is_known(every_model: Pod, tmp_path: Path) -> None:
    config = yaml.safe_load(every_model.config)
    assert config.keys() == {"model_list", "general_settings", "litellm_settings", "router_settings"}
    assert findings(every_model.config, tmp_path) == []


@pytest.mark.parametrize(
    "where", [{"host": "r", "port": 1}, {"nodes": ["r.r.svc:1"]}], ids=["alone", "cluster"]
)
def test_every_key_of_a_redis_is_known(where: Mapping[str, Any], tmp_path: Path) -> None:
    state = {
        "kind": "redis",
        "username": "u",
        "passwordSecret": "p",
        "tls": "verify-ca",
        "ca": Authority().pem,
    }
    config = rendered({"litellm": {"sharedState": {**state, **where}}}).config
    assert "ssl_ca_certs" in config
    assert findings(config, tmp_path) == []


def test_what_is_misspelt_is_found(every_model: Pod, tmp_path: Path) -> None:
    config = yaml.safe_load(every_model.config)
    config["genral_settings"] = {}
    config["model_list"][0]["model_nam"] = ""
    config["model_list"][0]["litellm_params"]["input_cost_per_tokens"] = 1
    config["model_list"][0]["litellm_params"]["rpm"] = "many"
    config["model_list"][0]["model_info"] = {"base_modle": "x"}
    config["general_settings"]["allow_requests_on_db_unavailble"] = True
    config["litellm_settings"]["cachee"] = True
    config["litellm_settings"]["cache_params"]["supported_call_type"] = []
    config["litellm_settings"]["cache_params"]["type"] = "reddis"
    config["router_settings"]["redis_hosts"] = "x"
    config["router_settings"]["optional_pre_call_checks"] = ["enforce_model_rate_limit"]
    found = findings(config, tmp_path)
    assert [line for line in found if line.endswith("is unknown")] == [
        "genral_settings is unknown",
        "model_list[0].model_nam is unknown",
        "model_list[0].litellm_params.input_cost_per_tokens is unknown",
        "model_list[0].model_info.base_modle is unknown",
        "general_settings.allow_requests_on_db_unavailble is unknown",
        "litellm_settings.cachee is unknown",
        "litellm_settings.cache_params.supported_call_type is unknown",
        "router_settings.redis_hosts is unknown",
    ]
    refused = {line.partition(":")[0] for line in found if not line.endswith("is unknown")}
    assert refused == {
        "model_list[0].litellm_params.rpm",
        "litellm_settings.cache_params.type",
        "router_settings.optional_pre_call_checks",
    }
