"""Where a Helm chart is fetched from."""

from __future__ import annotations

from typing import TypedDict

from pulumi_kubernetes.helm.v3 import RepositoryOptsArgs

from settings.deployment import Charts
from versions import Chart


class ChartInputs(TypedDict, total=False):
    """The inputs of a Release that say which chart it installs."""

    chart: str
    version: str
    repository_opts: RepositoryOptsArgs


def chart_inputs(charts: Charts, chart: Chart) -> ChartInputs:
    """Where a Release gets this chart: from the settings' mirror, else from upstream."""
    source = charts.mirror or chart.upstream
    if source.startswith("https://"):
        return {
            "chart": chart.name,
            "version": chart.version,
            "repository_opts": RepositoryOptsArgs(repo=source),
        }
    return {"chart": f"{source}/{chart.name}", "version": chart.version}
