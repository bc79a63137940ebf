"""What the comparison says of charts that are not what their contract charts are, rendered by the real Helm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import compare, schema
from sandbox.toolchain import build
from tests.rehearsal.test_charts import RELEASES

CNPG = "cloudnative-pg"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusters.postgresql.cnpg.io"},
    "spec": {
        "group": "postgresql.cnpg.io",
        "versions": [{"name": "v1", "served": True, "schema": {"type": "object"}}],
    },
}
OURS = compare.Crds(version="v1.29.1", definitions={CRD["metadata"]["name"]: CRD})
Compared = Callable[..., list[str]]


@pytest.fixture(scope="module")
def renderer() -> compare.Renderer:
    return compare.Renderer(str(build.ensure().helm), build.Manifest.read().version("kube-apiserver"))


@pytest.fixture
def compared(renderer: compare.Renderer, tmp_path: Path) -> Compared:
    """What is said of a copy of a contract chart in which a file has another text."""

    def differences(
        chart: str, file: str = "", old: str = "", new: str = "", brings: Any = CRD, more: Any = None
    ) -> list[str]:
        copy = shutil.copytree(schema.CHARTS / chart, tmp_path / chart)
        if chart == CNPG and brings:
            (copy / "templates/crd.yaml").write_text(yaml.safe_dump(brings))
        if file:
            text = (copy / file).read_text() if old else ""
            assert old in text
            (copy / file).write_text(text.replace(old, new) if old else new)
        name, given = RELEASES[chart]
        # Contract charts carry no CRDs.
        values = {key: value for key, value in given.items() if key not in ("crds", "installCRDs")} | (
            more or {}
        )
        release = compare.Release(name=name, namespace="serving", values=values, chart=copy)
        crds = OURS if chart == CNPG else None
        return compare.differences(renderer, schema.CHARTS / chart, release, crds)

    return differences


@pytest.mark.parametrize("chart", [CNPG, "litellm-helm"])
def test_the_same_chart_differs_in_nothing(compared: Compared, chart: str) -> None:
    assert compared(chart) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        pytest.param(
            "templates/deployment.yaml",
            "{{ .Values.webhook.port }}",
            "10250",
            "webhook.port: the program gives it, and no template reads it",
            id="a key that is no longer read",
        ),
        pytest.param(
            "templates/rbac.yaml",
            "resources: [pods/status], verbs: [get]",
            "resources: [pods/status], verbs: [get, patch]",
            "ClusterRole/cnpg-cloudnative-pg: allows patch pods/status, and does not in the contract chart",
            id="a looser role",
        ),
        pytest.param(
            "templates/rbac.yaml",
            "resources: [pods/status], verbs: [get]",
            "resources: [pods/status], resourceNames: [a], verbs: [get]",
            "ClusterRole/cnpg-cloudnative-pg: does not allow get pods/status, and does in the contract chart",
            id="a contract chart with a looser role",
        ),
        pytest.param(
            "templates/service.yaml",
            "name: webhook-server, port",
            "name: webhook, port",
            "Service/cnpg-webhook-service: spec.ports[webhook-server] is not there, and",
            id="another port",
        ),
        pytest.param(
            "templates/service.yaml",
            "name: {{ .Values.service.name }}",
            "name: webhooks",
            "Service/cnpg-webhook-service: the contract chart renders it, and this chart does not",
            id="another name",
        ),
        pytest.param(
            "templates/more.yaml",
            "",
            "{apiVersion: v1, kind: Secret, metadata: {name: more}}",
            "Secret/more: only this chart renders it; add it to the contract chart, or to its left-out.txt",
            id="one more object",
        ),
        pytest.param(
            "templates/deployment.yaml",
            "- --webhook-port=",
            "- --port=",
            "Deployment/cnpg-cloudnative-pg: spec.template.spec.containers[manager].args lacks --webhook-port=10250",
            id="another argument",
        ),
        pytest.param(
            "Chart.yaml",
            "appVersion: 1.29.1",
            "appVersion: 1.30.0",
            "appVersion is 1.30.0, and 1.29.1 in the contract chart: raise it there, in cloudnative-pg/Chart.yaml",
            id="another version",
        ),
        pytest.param(
            "templates/deployment.yaml",
            "replicas:",
            'replicas: {{ fail "no such thing" }} #',
            "it does not render with the program's values:",
            id="no template for these values",
        ),
    ],
)
def test_a_difference_names_the_key(compared: Compared, file: str, old: str, new: str, said: str) -> None:
    found = compared(CNPG, file, old, new)
    assert any(sentence.startswith(said) for sentence in found), found


def test_what_a_chart_makes_up_each_time_reads_no_value(compared: Compared) -> None:
    made_up = "# {{ randAlphaNum 9 }}\n  replicas:"
    found = compared(CNPG, "templates/deployment.yaml", "replicas:", made_up, more={"crds": {"create": True}})
    assert found == ["crds.create: the program gives it, and no template reads it"]


@pytest.mark.parametrize(
    ("brings", "said"),
    [
        (None, "clusters.postgresql.cnpg.io: the chart does not bring this CRD"),
        ({"name": "v2", "served": True}, "clusters.postgresql.cnpg.io: v1 is no longer served"),
        (
            {"name": "v1", "served": True, "schema": {"type": "array"}},
            'clusters.postgresql.cnpg.io: spec.versions[v1].schema.type is "array", and "object" in crds.json, '
            "though both are of 1.29.1",
        ),
    ],
)
def test_crds_are_those_that_the_sandbox_serves(compared: Compared, brings: Any, said: str) -> None:
    brought = brings and {**CRD, "spec": {**CRD["spec"], "versions": [brings]}}
    found = [sentence for sentence in compared(CNPG, brings=brought) if "cnpg.io: " in sentence]
    assert found[0].startswith(said)
