"""What the gateway adds to its upstream, with one proxy pod and with two, beside the same proxies with the chart's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.load import Load, put
from tests.bench.pods import URL, Json, Pod, beside, chart_defaults, proxies, start_upstream, values
from tests.support.driver import Sandbox
from tests.support.serving import INPUT, MODEL, OUTPUT
from tests.support.waiting import wait_for

KEY = "bench"
ROUNDS, SECONDS = 5, 3.0
CLIENTS = (1, 16)
"""One client waits for nobody else; sixteen have each pod busy all the time."""


def settings(replicas: int, shared: bool) -> Json:
    """What is changed in dev's settings: the model is the upstream, one key, and no limit is reached."""
    endpoint = {"url": URL, "model": "pong"}
    model = {"alias": MODEL, "inputCostPerToken": INPUT, "outputCostPerToken": OUTPUT, "endpoint": endpoint}
    key = {"name": KEY, "team": "search", "budget": 50, "rpm": 1_000_000}
    state = {"sharedState": {"kind": "valkey"}} if shared else {}
    return {
        "llm-gateway:models": [model],
        "llm-gateway:virtualKeys": [key],
        "llm-gateway:litellm": {"replicas": replicas, **state},
    }


def bring_up(sandbox: Sandbox, replicas: int, shared: bool) -> list[Pod]:
    """Have so many proxies, and no other."""
    sandbox.up(config=settings(replicas, shared)).succeeded()
    wait_for(lambda: len(proxies(sandbox)) == replicas, 300)
    return proxies(sandbox)


def compared(sandbox: Sandbox, pods: Mapping[str, Sequence[Pod]], clients: int) -> dict[str, Load]:
    """Loads by turns, so that what else the machine does meets all alike; the median of each one's rounds."""
    key = sandbox.secret(f"litellm-key-{KEY}")
    seen: dict[str, list[Load]] = {name: [] for name in pods}
    for number in range(1 + ROUNDS):
        for name, asked in pods.items():
            load = put([pod.url for pod in asked], key, MODEL, clients, SECONDS)
            if number:  # the round before warms up
                seen[name].append(load)
    return {name: Load.of(loads) for name, loads in seen.items()}


def measure(sandbox: Sandbox) -> None:
    """Measure and print, for one pod and for two."""
    sandbox.run("start").succeeded()
    upstream = start_upstream(sandbox)
    for replicas in (1, 2):
        own = bring_up(sandbox, replicas, shared=replicas > 1)
        plain = {**chart_defaults(values(sandbox)), "replicaCount": replicas}
        with beside(sandbox, plain) as defaults:
            for clients in CLIENTS:
                pods = {"upstream": [upstream], "gateway": own, "defaults": defaults}
                print(f"\nproxy pods: {replicas}, clients: {clients}")
                show(compared(sandbox, pods, clients))


def show(loads: Mapping[str, Load]) -> None:
    """Print the loads, what they add to the upstream, and ours as a ratio to the chart's defaults."""
    upstream, gateway, defaults = (loads[name] for name in ("upstream", "gateway", "defaults"))
    print(f"{'':37}{'p50':>8}{'p95':>8}{'p99':>8}{'per s':>9}")
    for name, load in (
        ("upstream, ms", upstream),
        ("gateway, ms", gateway),
        ("chart's defaults, ms", defaults),
        ("gateway adds, ms; part of the rate", gateway.over(upstream)),
        ("defaults add, ms; part of the rate", defaults.over(upstream)),
        ("ratio of what they add, and of rates", gateway.over(upstream).ratio(defaults.over(upstream))),
    ):
        print(f"{name:37}{load.p50:8.2f}{load.p95:8.2f}{load.p99:8.2f}{load.rate:9.2f}")
