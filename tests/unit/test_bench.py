"""What `make bench` reads out of the load generator, makes of it, and asks the chart for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench import settings, start, tenants
from tests.bench.load import Load
from tests.bench.pods import chart_defaults


def report(success: float) -> str:
    """vegeta's report, as far as it is read; latencies are in nanoseconds."""
    latencies = {"50th": 2_000_000, "95th": 3_000_000, "99th": 4_500_000}
    found = {"latencies": latencies, "throughput": 80.5, "success": success}
    return json.dumps({**found, "status_codes": {"200": 8, "429": 2}, "errors": ["429 Too Many Requests"]})


def test_a_report_is_read_in_milliseconds() -> None:
    assert Load.read(report(1)) == Load(2, 3, 4.5, 80.5)


def test_a_load_of_which_anything_was_refused_measures_nothing() -> None:
    with pytest.raises(ValueError, match="429 Too Many Requests"):
        Load.read(report(0.8))


def test_of_rounds_counts_the_median_of_each_figure() -> None:
    rounds = [Load(1, 9, 9, 50), Load(2, 8, 30, 10), Load(7, 7, 10, 40)]
    assert Load.of(rounds) == Load(2, 8, 10, 40)


def test_what_a_gateway_adds_and_the_ratio_of_two() -> None:
    upstream, gateway, other = Load(1, 2, 3, 1000), Load(5, 8, 9, 100), Load(9, 14, 15, 50)
    assert gateway.over(upstream) == Load(4, 6, 6, 0.1)
    assert gateway.over(upstream).ratio(other.over(upstream)) == Load(0.5, 0.5, 0.5, 2)


def test_the_charts_defaults_keep_what_the_chart_cannot_do_without() -> None:
    ours = {
        "db": {"useExisting": True},
        "masterkeySecretName": "litellm-secrets",
        "masterkeySecretKey": "PROXY_MASTER_KEY",
        "envVars": {"LITELLM_LOG": "ERROR"},
        "proxy_config": {"model_list": ["ours"], "router_settings": {"num_retries": 2}},
    }
    kept = chart_defaults(ours)
    assert kept.keys() == {"db", "masterkeySecretName", "masterkeySecretKey", "proxy_config"}
    assert kept["proxy_config"] == {"model_list": ["ours"]}


def test_a_model_called_as_vllms_differs_in_nothing_else() -> None:
    def values(model: str) -> dict[str, Any]:
        route = {
            "litellm_params": {"model": model, "api_base": "http://upstream/v1"},
            "model_name": "qwen-local",
        }
        return {"replicaCount": 1, "proxy_config": {"model_list": [route], "general_settings": {"a": 1}}}

    assert settings.as_vllm(values("openai/pong")) == values("hosted_vllm/pong")


def test_of_shared_memory_each_process_has_its_part() -> None:
    assert start.proportional("Rss:  900 kB\nPss:  400 kB\nPss_Dirty:  100 kB\n") == 400


def test_a_run_of_the_job_is_timed_by_its_own_last_line() -> None:
    assert tenants.job_seconds("teams: 2 created; keys: 2 created; 6 calls in 1.5 s\n") == 1.5


@pytest.mark.parametrize("log", ["teams: none; keys: 1 failed; 3 calls in 1.5 s", "STOPPED: 401"])
def test_a_run_that_failed_is_not_timed(log: str) -> None:
    with pytest.raises(ValueError, match=log):
        tenants.job_seconds(log)
