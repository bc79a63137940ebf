"""What LiteLLM's settings cost: proxies that differ from the gateway's own in one setting each, beside it by turns."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from sandbox.stack_file import merged
from tests.bench.gateway import KEY, MODEL, ROUNDS, SECONDS, bring_up
from tests.bench.load import put
from tests.bench.pods import Json, Pod, beside, chart_defaults, start_upstream, values
from tests.support.driver import Sandbox

CLIENTS = 8


def _general(**settings: object) -> Json:
    return {"proxy_config": {"general_settings": settings}}


def _litellm(**settings: object) -> Json:
    return {"proxy_config": {"litellm_settings": settings}}


def _variables(**variables: str) -> Json:
    return {"envVars": variables}


VARIANTS: Mapping[str, Json] = {
    "no other setting: how exact this is": {},
    "log level WARNING": _variables(LITELLM_LOG="WARNING"),
    "log level ERROR": _variables(LITELLM_LOG="ERROR"),
    "log level DEBUG": _variables(LITELLM_LOG="DEBUG"),
    "logs in JSON": _litellm(json_logs=True),
    "logs in JSON, log level WARNING": _litellm(json_logs=True) | _variables(LITELLM_LOG="WARNING"),
    "two workers": {"numWorkers": 2},
    "spend written every 60 s": _general(proxy_batch_write_at=60),
    "spend written through Redis": _general(use_redis_transaction_buffer=True),
    "no record of requests": _general(disable_spend_logs=True),
    "30 database connections": _general(database_connection_pool_limit=30),
    "no shared state": _litellm(cache=None, cache_params=None),
    "garbage collected every 10,000 objects": _variables(PYTHON_GC_THRESHOLD="10000,50,50"),
    "health checks of the model": _general(background_health_checks=True),
}
"""JSON merge patches of the chart's values."""


def measure(sandbox: Sandbox) -> None:
    """Measure and print one line per setting, with shared state as prod has it."""
    sandbox.run("start").succeeded()
    start_upstream(sandbox)
    (own,) = bring_up(sandbox, 1, shared=True)
    ours = values(sandbox)
    others = {"the chart's defaults": chart_defaults(ours), "the model called as vLLM's": as_vllm(ours)}
    others |= {name: merged(ours, patch) for name, patch in VARIANTS.items()}
    print(f"\none proxy pod, clients: {CLIENTS}; ratios to ours")
    print(f"{'':40}{'per s':>8}{'p50':>8}{'p99':>8}{'CPU':>8}")
    for name, other in others.items():
        with beside(sandbox, other) as pods:
            ratios = compared(sandbox, own, pods[0])
        print(f"{name:40}" + "".join(f"{ratio:8.2f}" for ratio in ratios), flush=True)


def as_vllm(ours: Json) -> Json:
    """These values with the upstream called as the self-hosted models are."""
    (model,) = ours["proxy_config"]["model_list"]
    model = merged(model, {"litellm_params": {"model": "hosted_vllm/pong"}})
    return merged(ours, {"proxy_config": {"model_list": [model]}})


def compared(sandbox: Sandbox, own: Pod, other: Pod) -> list[float]:
    """The other's answers per second, median, 99th percentile and CPU seconds per answer, as ratios to our own."""
    key = sandbox.secret(f"litellm-key-{KEY}")
    seen: list[list[float]] = []
    for number in range(1 + ROUNDS):
        figures: list[tuple[float, ...]] = []
        for pod in (own, other):
            before = pod.cpu(sandbox)
            load = put([pod.url], key, MODEL, CLIENTS, SECONDS)
            cpu = (pod.cpu(sandbox) - before) / (load.rate * SECONDS)
            figures.append((load.rate, load.p50, load.p99, cpu))
        if number:  # the round before warms up
            seen.append([its / mine for mine, its in zip(*figures, strict=True)])
    return [median(ratios) for ratios in zip(*seen, strict=True)]
