"""Calls a gateway whose pods run, and looks into its pods."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from components.litellm import PORT
from sandbox.cluster.status import holds
from sandbox.network.addresses import Network, available
from tests.support.driver import Result, Sandbox
from tests.support.waiting import wait_for

PODS_RUN = pytest.mark.skipif(
    not available(), reason="pods run where loopback addresses beyond 127.0.0.1 can be had"
)
MODEL = "qwen-local"
INPUT, OUTPUT = 0.000005, 0.00002
"""USD per token of ENGINE, a hundred times dev's and prod's: validation spends a cent with few requests."""
ENGINE = {
    "alias": MODEL,
    "inputCostPerToken": INPUT,
    "outputCostPerToken": OUTPUT,
    "vllm": {"model": "Qwen/Qwen2.5-0.5B-Instruct"},
}
"""The settings' model, dearer."""


@contextmanager
def calling(sandbox: Sandbox, key: str, pod: str = "") -> Generator[httpx.Client]:
    """A client of the gateway with a key: of its Service, or of one proxy's pod by the pod's address in the API."""
    if pod:
        number = int((sandbox.home.root / "network").read_text())
        url = f"http://{Network(number).process(pod)}:{PORT}"
    else:
        url = sandbox.run("url").succeeded().text.strip()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


def ask(client: httpx.Client, key: str | None = None, **more: Any) -> httpx.Response:
    """The answer to a request for a short chat completion, with another key than the client's where one is given."""
    body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}], **more}
    headers = {"authorization": key and f"Bearer {key}"} if key is not None else {}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def refused(client: httpx.Client, key: str) -> httpx.Response:
    """The first answer with which a key is refused."""
    return wait_for(lambda: [answer for answer in [ask(client, key)] if answer.is_error], 60)[0]


def kubectl(sandbox: Sandbox, *words: str) -> Result:
    """Run kubectl in the gateway's namespace."""
    return sandbox.run("exec", "--", "kubectl", "--namespace", "llm-gateway", *words)


def sql(sandbox: Sandbox, cluster: str, statement: str) -> str:
    """What the superuser's psql prints in a Cluster's primary."""
    query = ["psql", "-d", "litellm", "-tAc", statement]
    primary = postgres(sandbox, cluster)["status"]["currentPrimary"]
    return kubectl(sandbox, "exec", primary, "-c", "postgres", "--", *query).succeeded().text.strip()


def postgres(sandbox: Sandbox, name: str = "litellm-pg") -> Any:
    """A Cluster, as the API has it."""
    return sandbox.namespaced("clusters", "llm-gateway", name, group="postgresql.cnpg.io/v1")


def scale_postgres_operator(sandbox: Sandbox, replicas: int) -> None:
    """Have CloudNativePG's operator look after its instances, or nobody."""
    scale = ("--namespace", "cnpg-system", "scale", "deployment", "cnpg-cloudnative-pg")
    kubectl(sandbox, *scale, f"--replicas={replicas}").succeeded()


def new_keys(sandbox: Sandbox, number: int) -> list[str]:
    """Values of new virtual keys."""
    with calling(sandbox, sandbox.secret("litellm-master-key")) as admin:
        made = [admin.post("/key/generate", json={}).raise_for_status() for _ in range(number)]
        return [each.json()["key"] for each in made]


def proxies(sandbox: Sandbox) -> dict[str, str]:
    """The address in the API of each of the proxy's pods that are ready; the migration's has their label, too."""
    pods = [pod for pod in sandbox.running("llm-gateway", "litellm") if holds(pod, "Ready")]
    found = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}
    return {name: address for name, address in found.items() if "migrations" not in name}


def validated(sandbox: Sandbox) -> dict[str, str]:
    """Each check's verdict after `make validate`."""
    file = sandbox.root / "results.json"
    result = sandbox.run("validate", "--", "--json", str(file))
    print(result.text)
    return {check["name"]: check["verdict"] for check in json.loads(file.read_text())["checks"]}
