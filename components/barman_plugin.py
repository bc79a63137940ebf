"""CloudNativePG's Barman Cloud plugin, which archives WAL and takes base backups into a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import chart_inputs
from components.image_source import ImageSource
from components.workload import named
from settings.deployment import Charts
from versions import BARMAN_PLUGIN_CHART, BARMAN_PLUGIN_IMAGE, BARMAN_SIDECAR_IMAGE, Image

PLUGIN = "barman-cloud.cloudnative-pg.io"
"""The plugin's name in a Cluster and in a Backup."""
PODS = named("plugin-barman-cloud")
PORT = 9090


@dataclass(frozen=True, kw_only=True)
class BarmanPluginArgs:
    """Arguments of BarmanPlugin.

    `namespace` is the operator's: it finds plugins by the Services of its own namespace. `needs` is what must
    be ready first. `timeout` is in seconds.
    """

    namespace: pulumi.Input[str]
    charts: Charts
    images: ImageSource
    needs: Sequence[pulumi.Resource]
    timeout: int


class BarmanPlugin(pulumi.ComponentResource):
    """The plugin's Release."""

    release: kubernetes.helm.v3.Release
    """Dependents wait for it: the Deployment has its certificates and the CRD is served."""

    def __init__(self, name: str, args: BarmanPluginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:barman_plugin:BarmanPlugin", name, None, opts)

        self.release = kubernetes.helm.v3.Release(
            f"{name}-release",
            name="plugin-barman-cloud",
            namespace=args.namespace,
            **chart_inputs(args.charts, BARMAN_PLUGIN_CHART),
            timeout=args.timeout,
            values={
                "image": _image(args.images.at(BARMAN_PLUGIN_IMAGE)),
                "sidecarImage": _image(args.images.at(BARMAN_SIDECAR_IMAGE)),
                **args.images.values,
                "resources": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"memory": "128Mi"},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.needs, *args.images.ready]),
        )
        self.register_outputs({})


def _image(image: Image) -> dict[str, str]:
    registry, _, repository = image.repository.partition("/")
    return {"registry": registry, "repository": repository, "tag": image.pinned_tag}
