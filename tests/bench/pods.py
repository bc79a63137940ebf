"""The pods that a load goes to: the upstream, and proxies beside the gateway's own that have other values of the chart."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.litellm import PORT, PROXY, RELEASE
from sandbox.cluster import control_plane
from sandbox.network.addresses import Network
from sandbox.paths import REPOSITORY
from sandbox.processes import running
from tests.bench import upstream
from tests.support.driver import Sandbox
from tests.support.waiting import wait_for
from versions import LITELLM_IMAGE

Json = dict[str, Any]
NAMESPACE = "llm-gateway"
UPSTREAM = "upstream"
"""Name of the upstream's namespace, its pod and its Service."""
URL = f"http://{UPSTREAM}.{UPSTREAM}.svc.cluster.local:{upstream.PORT}/v1"
"""The upstream's API, as pods reach it."""
_OTHER = "other"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pod:
    """A pod that runs: `url` is its process' own, past every Service."""

    name: str
    url: str

    def cpu(self, sandbox: Sandbox) -> float:
        """The CPU seconds that its processes have taken."""
        return sum(
            _cpu(pid) for pid, name in running(sandbox.home).items() if name.startswith(f"{self.name}/")
        )


def _cpu(pid: int) -> float:
    with suppress(OSError):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS
    return 0


def _ready(sandbox: Sandbox, namespace: str, labels: Mapping[str, str], port: int) -> list[Pod]:
    """The ready pods with these labels, and no pod that ends."""
    network = Network(int((sandbox.home.root / "network").read_text()))
    found: list[Pod] = []
    for pod in sandbox.namespaced("pods", namespace)["items"]:
        if not labels.items() <= pod["metadata"]["labels"].items() or "deletionTimestamp" in pod["metadata"]:
            continue
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        if conditions.get("Ready") == "True":
            found.append(
                Pod(pod["metadata"]["name"], f"http://{network.process(pod['status']['podIP'])}:{port}")
            )
    return found


def proxies(sandbox: Sandbox, release: str = RELEASE) -> list[Pod]:
    """The proxies' pods that are ready."""
    return _ready(sandbox, NAMESPACE, {**PROXY.labels, "app.kubernetes.io/instance": release}, PORT)


def start_upstream(sandbox: Sandbox) -> Pod:
    """Start the upstream, and wait until it answers."""
    api, labels = control_plane.api(sandbox.home), {"app": UPSTREAM}
    script = Path(upstream.__file__)
    container = {
        "name": UPSTREAM,
        "image": str(LITELLM_IMAGE),
        "command": ["python3", "-I", f"/srv/{script.name}"],
        "ports": [{"containerPort": upstream.PORT}],
        "readinessProbe": {"tcpSocket": {"port": upstream.PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "script", "mountPath": "/srv"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "script", "configMap": {"name": UPSTREAM}}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    api.create("/api/v1/namespaces", {"metadata": {"name": UPSTREAM}})
    for kind, made in (
        ("api/v1/{}/configmaps", {"data": {script.name: script.read_text()}}),
        ("api/v1/{}/services", {"spec": {"selector": labels, "ports": [{"port": upstream.PORT}]}}),
        (
            "apis/apps/v1/{}/deployments",
            {"spec": {"selector": {"matchLabels": labels}, "template": template}},
        ),
    ):
        api.create(f"/{kind.format(f'namespaces/{UPSTREAM}')}", {"metadata": {"name": UPSTREAM}, **made})
    return wait_for(lambda: _ready(sandbox, UPSTREAM, labels, upstream.PORT), 60)[0]


def values(sandbox: Sandbox) -> Json:
    """The values of the chart that the program has given the gateway's Release."""
    (release,) = (each for each in sandbox.resources() if each["urn"].endswith("::gateway-litellm-release"))
    return release["inputs"]["values"]


def chart_defaults(ours: Json) -> Json:
    """Of these values those that the chart has no use without: the database, the master key, the models."""
    named = ("db", "masterkeySecretName", "masterkeySecretKey")
    models = {"model_list": ours["proxy_config"]["model_list"]}
    return {**{name: ours[name] for name in named}, "proxy_config": models}


@contextmanager
def beside(sandbox: Sandbox, other: Json) -> Generator[list[Pod]]:
    """Proxies with other values of the chart, beside the gateway's own: on the same database, with the same keys."""
    given, manifest = sandbox.root / "other.yaml", sandbox.root / "manifest.yaml"
    given.write_text(yaml.safe_dump(other))
    chart = REPOSITORY / "sandbox" / "charts" / "litellm-helm"
    shown = " ".join(f"--show-only templates/{name}.yaml" for name in ("config", "deployment"))
    template = f"helm template {_OTHER} {chart} --namespace {NAMESPACE} --values {given} {shown}"
    kubectl = f"kubectl --namespace {NAMESPACE}"
    sandbox.run(
        "exec", "--", "sh", "-c", f"{template} > {manifest} && {kubectl} apply --filename {manifest}"
    ).succeeded()
    try:
        wait_for(lambda: len(proxies(sandbox, _OTHER)) == other.get("replicaCount", 1), 300)
        yield proxies(sandbox, _OTHER)
    finally:
        sandbox.run("exec", "--", *kubectl.split(), "delete", "--filename", str(manifest)).succeeded()
