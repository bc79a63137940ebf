"""The program's own values in the contract charts, rendered by the real Helm: what pods pull, and with which Secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from settings.images import REGISTRIES
from tests.rehearsal.test_charts import helm as helm  # pyright: ignore[reportUnusedImport]  # a fixture
from tests.rehearsal.test_charts import render
from tests.support.engine import EVERYTHING, run_program

MIRROR = "europe-west4-docker.pkg.dev/example-llm-dev"
IMAGES = {
    "mirrors": {host: f"{MIRROR}/{host.partition('.')[0]}" for host in REGISTRIES},
    "pullSecret": "registry-login",
}


@pytest.fixture(scope="module")
def rendered(helm: Path) -> Mapping[str, Mapping[tuple[str, str], Any]]:
    """The objects of each Release by kind and name, by its chart."""
    recording = run_program({**EVERYTHING, "images": IMAGES})
    charts = {release.inputs["chart"].rpartition("/")[2]: release for release in recording.all("Release")}
    return {chart: render(helm, chart, release.inputs["values"]) for chart, release in charts.items()}


def pods(objects: Mapping[tuple[str, str], Any]) -> Iterator[Mapping[str, Any]]:
    for made in objects.values():
        if template := made.get("spec", {}).get("template"):
            yield template["spec"]


def test_every_pod_of_every_chart_pulls_from_the_mirrors(
    rendered: Mapping[str, Mapping[tuple[str, str], Any]],
) -> None:
    assert len(rendered) == 6
    for chart, objects in rendered.items():
        for pod in pods(objects):
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                assert container["image"].startswith(f"{MIRROR}/"), chart
        for (kind, name), made in objects.items():
            text = json.dumps(made)
            if kind != "CustomResourceDefinition":  # which describe in words where images come from
                assert not any(f"{host}/" in text for host in REGISTRIES), (chart, kind, name)


def test_operators_start_pods_from_the_mirrors(
    rendered: Mapping[str, Mapping[tuple[str, str], Any]],
) -> None:
    (operator,) = pods(rendered["cloudnative-pg"])
    own = {variable["name"]: variable.get("value") for variable in operator["containers"][0]["env"]}
    assert own["OPERATOR_IMAGE_NAME"].startswith(f"{MIRROR}/ghcr/cloudnative-pg/cloudnative-pg:")
    plugin = rendered["plugin-barman-cloud"]["ConfigMap", "plugin-barman-cloud-config"]["data"]
    assert plugin["SIDECAR_IMAGE"].startswith(f"{MIRROR}/ghcr/cloudnative-pg/plugin-barman-cloud-sidecar:")
    solver = f"--acme-http01-solver-image={MIRROR}/quay/jetstack/cert-manager-acmesolver:"
    assert solver in json.dumps(rendered["cert-manager"]["Deployment", "cert-manager"])


def test_every_pod_logs_in_but_those_that_bring_the_login(
    rendered: Mapping[str, Mapping[tuple[str, str], Any]],
) -> None:
    for chart, objects in rendered.items():
        for pod in pods(objects):
            wanted = None if chart == "external-secrets" else [{"name": "image-pull"}]
            assert pod.get("imagePullSecrets") == wanted, chart
