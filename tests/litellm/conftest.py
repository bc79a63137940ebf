"""What the chart makes of our Release, and the real LiteLLM running on it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.litellm import HOOK
from sandbox.charts import schema
from sandbox.toolchain import build
from tests.litellm.driver import Proxy, proxy
from tests.support.driver import Sandbox
from tests.support.engine import COSTS, HOSTED, SETTINGS, run_program
from tests.support.sandboxes import Sandboxes

NAMESPACE = "llm-gateway"
UNUSED = {"model": "a/limited", "replicas": 0}
IGW = {"url": "http://igw.models.svc:8080/v1", "model": "llama-3.1", "apiKeySecret": "igw-key"}
EVERY_MODEL: Mapping[str, Any] = {
    "models": [
        *SETTINGS["models"],
        {"alias": "limited", **COSTS, "rpm": 1, "tpm": 100_000, "vllm": UNUSED},
        {"alias": "Claude-Sonnet", **COSTS, "hosted": HOSTED},
        {"alias": "llama3.1:8b", **COSTS, "endpoint": IGW},
        {
            "alias": "openai/gpt-4o",
            **COSTS,
            "endpoint": {"url": "http://open.models.svc/v1", "model": "open-1"},
        },
    ],
    "litellm": {
        "replicas": 2,
        "sharedState": {"kind": "redis", "host": "redis.invalid", "passwordSecret": "redis-password"},
    },
}
"""Changes to the settings that have every key of LiteLLM's configuration written."""


@dataclass(frozen=True)
class Pod:
    """What LiteLLM's container finds: the text of its config.yaml, and its environment but for the database's part."""

    config: str
    environment: Mapping[str, str]

    def file(self, folder: Path) -> Path:
        path = folder / "config.yaml"
        path.write_text(self.config)
        return path


@pytest.fixture(scope="session")
def pod(sandboxes: Sandboxes) -> Pod:
    """The pod of the dev stack, from the cluster that a real `up` left."""
    with sandboxes.forked("dev") as dev:
        dev.run("start").succeeded()
        config = dev.namespaced("configmaps", NAMESPACE, "litellm-config")["data"]["config.yaml"]
        deployment = dev.namespaced("deployments", NAMESPACE, "litellm", group="apps/v1")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environment: dict[str, str] = {}
        for source in container["envFrom"]:
            environment |= _secret(dev, source["secretRef"]["name"])
        for variable in container["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            value = _secret(dev, reference["name"])[reference["key"]] if reference else variable["value"]
            environment[variable["name"]] = value
    return Pod(config, here({name: value for name, value in environment.items() if "DATABASE" not in name}))


def _secret(sandbox: Sandbox, name: str) -> dict[str, str]:
    data = sandbox.namespaced("secrets", NAMESPACE, name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture(scope="session")
def every_model() -> Pod:
    """The pod of a stack with every kind of model and setting, as Helm renders it."""
    return rendered(EVERY_MODEL)


def rendered(changes: Mapping[str, Any] | None = None) -> Pod:
    """The configuration that Helm writes for these changes of the settings; keys are the variables' own names."""
    values = run_program(changes).one("Release", "gateway-litellm-release").inputs["values"]
    objects = subprocess.run(
        [build.ensure().helm, "template", "litellm", schema.CHARTS / "litellm-helm", "-f", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
    )
    documents = [document for document in yaml.safe_load_all(objects.stdout) if document]
    maps = {item["metadata"]["name"]: item["data"] for item in documents if item["kind"] == "ConfigMap"}
    config = maps["litellm-config"]["config.yaml"]
    names = re.findall(r"os\.environ/(\w+)", config)
    environment = {name: f"value-of-{name}" for name in names} | values["envVars"]
    for variable in values.get("extraEnvVars", ()):  # $(NAME) as Kubernetes reads it: of what stands before
        text = variable.get("value") or f"value-of-{variable['name']}"
        environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], text)
    return Pod(config, here(environment | {"PROXY_MASTER_KEY": "sk-master", "LITELLM_SALT_KEY": "salt"}))


def here(environment: Mapping[str, str]) -> Mapping[str, str]:
    """An environment whose PYTHONPATH is not the mount with our code, but its folder in this repository."""
    return {**environment, "PYTHONPATH": str(HOOK.parent)}


@pytest.fixture(scope="module")
def dev_proxy(pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The real proxy on dev's configuration, without a database."""
    with proxy(pod.file(tmp_path_factory.mktemp("dev-proxy")), pod.environment) as running:
        yield running


@pytest.fixture(scope="module")
def every_proxy(every_model: Pod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The real proxy on the configuration with everything, without a database."""
    with proxy(every_model.file(tmp_path_factory.mktemp("every-proxy")), every_model.environment) as running:
        yield running
