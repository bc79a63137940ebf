"""Every image and every chart has a pinned version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from policy.base import UNKNOWN, Resource, in_kubernetes, resource_policy, walk
from versions import CHARTS

_KINDS = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v3:Chart", "kubernetes:helm.sh/v4:Chart")
_PINNED = {chart.name: chart.version for chart in CHARTS}
_DIGEST = re.compile(r".*@sha256:[0-9a-f]{64}")
_MOVING = {"", "latest", "main", "master", "stable", "edge", "nightly", "dev"}


def is_pinned(image: str) -> bool:
    """Whether an image reference has a digest, or a tag that is not known to move."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return bool(_DIGEST.fullmatch(image)) or tag.partition("@")[0] not in _MOVING


def _images(resource: Resource) -> Iterator[str]:
    for path, value in walk(resource.props):
        image = _image(path.rpartition(".")[2], value)
        if image is not None and not is_pinned(image):
            yield f"{path} of {resource.name} is {image!r}, which can become another image at any time."


def _image(name: str, value: Any) -> str | None:
    """The image that a property holds, or that a chart composes from its `repository` and `tag`."""
    if isinstance(value, str) and name in ("image", "imageName"):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("repository"), str):
        return None
    tag = value.get("tag") or ""
    if not isinstance(tag, str | int | float):
        return None
    digest = value.get("digest") or value.get("sha")
    return f"{value['repository']}:{tag}" + (f"@{digest}" if digest else "")


def _chart(release: Resource) -> Iterator[str]:
    # Compared with the pins, as the provider has resolved a version range before the policy sees it.
    chart, version = release.props.get("chart"), release.props.get("version")
    pinned = _PINNED.get(chart.rpartition("/")[2], "none") if isinstance(chart, str) else version
    if version is not UNKNOWN and version != pinned:
        yield f"{release.name} takes version {version or 'any'} of chart {chart}; versions.py pins {pinned}."


POLICIES = [
    resource_policy(
        "images-are-pinned",
        "Every container image has a digest or a tag that names one version: what was tested is what runs, even when a "
        "node pulls it a year later.",
        "an exact tag or `tag@sha256:...` in versions.py, and that Image where it is used.",
        in_kubernetes,
        _images,
    ),
    resource_policy(
        "charts-are-pinned",
        "Every Helm chart has the version that versions.py pins: without an exact version, Helm takes the repository's "
        "newest.",
        "the chart with its exact version in versions.py, and `**chart_inputs(charts, <chart>)` in the Release.",
        lambda resource: resource.type in _KINDS,
        _chart,
    ),
]
