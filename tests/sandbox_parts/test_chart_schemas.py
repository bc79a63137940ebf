"""The contract charts' schemas say what values.yaml and keys.txt say."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from sandbox.charts import schema

CHARTS = schema.charts()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_schema_is_fresh(chart: Path) -> None:
    written = (chart / "values.schema.json").read_text()
    assert written == schema.render(chart), "run: python -m sandbox.charts.schema"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_defaults_satisfy_schema(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    jsonschema.validate(values, json.loads((chart / "values.schema.json").read_text()))


def test_all_charts_are_here() -> None:
    assert [chart.name for chart in CHARTS] == [
        "cert-manager",
        "cloudnative-pg",
        "external-secrets",
        "litellm-helm",
        "plugin-barman-cloud",
        "vllm-stack",
    ]


def test_keys_add_types_required_keys_and_open_maps() -> None:
    values = schema.closed()
    for line in ("models[].name!: string", "models[].size: int|string", "probe.*: any", "labels: map"):
        schema.add_key(values, line)
    valid = {"models": [{"name": "m", "size": "1"}], "probe": {"exec": {}}, "labels": {"a": "b"}}
    jsonschema.validate(valid, values)
    for wrong in ({"models": [{}]}, {"models": [{"name": "m", "sise": 1}]}, {"labels": []}, {"label": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, values)
