"""Where a Helm chart is fetched from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from pulumi_kubernetes.helm.v3 import RepositoryOptsArgs

from versions import Chart


class ChartInputs(TypedDict, total=False):
    """The inputs of a Release that say which chart it installs."""

    chart: str
    version: str
    repository_opts: RepositoryOptsArgs


@dataclass(frozen=True)
class ChartSource:
    """Upstream, or one mirror of all charts: an `oci://` or `https://` prefix, or an absolute folder."""

    mirror: str | None = None

    def inputs(self, chart: Chart) -> ChartInputs:
        """`chart`, `version` and `repository_opts` of a Release of this chart."""
        source = self.mirror or chart.upstream
        if source.startswith("https://"):
            return {
                "chart": chart.name,
                "version": chart.version,
                "repository_opts": RepositoryOptsArgs(repo=source),
            }
        return {"chart": f"{source}/{chart.name}", "version": chart.version}
