"""What `python -m sandbox charts` reads of what Helm keeps in the cluster."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import compare, installed
from sandbox.cluster import control_plane, crds
from sandbox.errors import SandboxError
from sandbox.paths import Home


def text(content: str) -> str:
    return base64.b64encode(content.encode()).decode()


def record(description: str, name: str = "vllm-stack") -> dict[str, Any]:
    return {
        "name": "vllm",
        "namespace": "serving",
        "config": {"a": 1},
        "chart": {
            "metadata": {
                "name": name,
                "version": "9.9.9",
                "description": description,
                "dependencies": [
                    {"name": "kube-prometheus-stack"},
                    {"name": "cluster", "alias": "monitoring"},
                ],
            },
            "templates": [{"name": "templates/a.yaml", "data": text("a: {{ .Values.a }}")}],
            "files": [{"name": "crds/a.yaml", "data": text("kind: A")}, {"name": "empty.txt", "data": None}],
            "values": {"a": 0},
            "schema": text("{}"),
        },
    }


class Api:
    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = records

    def get(self, path: str) -> Any:
        assert path == "/api/v1/secrets?labelSelector=owner%3Dhelm,status%3Ddeployed"
        kept = (base64.b64encode(gzip.compress(json.dumps(record).encode())) for record in self.records)
        return {"items": [{"data": {"release": base64.b64encode(data).decode()}} for data in kept]}


def compared(monkeypatch: pytest.MonkeyPatch, home: Path, *records: dict[str, Any]) -> int:
    monkeypatch.setattr(control_plane, "is_up", lambda _: True)
    monkeypatch.setattr(control_plane, "api", lambda _: Api(*records))
    monkeypatch.setattr(crds, "of_chart", lambda *_: None)
    return installed.compare_all(Home(home))


def test_the_chart_that_was_installed_is_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[compare.Release] = []

    def differences(_: object, contract: Path, release: compare.Release, __: object) -> list[str]:
        seen.append(release)
        assert contract.name == "vllm-stack"
        files = {str(path.relative_to(release.chart)) for path in release.chart.rglob("*") if path.is_file()}
        assert files == {
            *(
                "Chart.yaml",
                "values.yaml",
                "values.schema.json",
                "templates/a.yaml",
                "crds/a.yaml",
                "empty.txt",
            )
        }
        # Helm renders no chart whose dependencies are not there.
        assert "dependencies" not in yaml.safe_load((release.chart / "Chart.yaml").read_text())
        assert (release.chart / "templates/a.yaml").read_text() == "a: {{ .Values.a }}"
        return ["a: no template reads it"]

    monkeypatch.setattr(compare, "differences", differences)
    assert compared(monkeypatch, tmp_path, record("The real one"), record("Somebody's", name="other")) == 1
    (release,) = seen
    assert (release.name, release.namespace, release.values) == ("vllm", "serving", {"a": 1})
    assert release.subcharts == {"kube-prometheus-stack", "cluster", "monitoring"}
    assert capsys.readouterr().err == "vllm-stack 9.9.9: differs\n  vllm-stack a: no template reads it\n"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([record("Contract chart: renders")], "vllm is of the contract charts themselves"),
        ([], "no Release is there"),
    ],
)
def test_contract_charts_are_not_compared_with_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, records: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(SandboxError, match=f"nothing to compare: {said}.*--charts upstream"):
        compared(monkeypatch, tmp_path, *records)


def test_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"no sandbox runs at .*: `make up OPTIONS='--charts upstream'`"):
        installed.compare_all(Home(tmp_path))
