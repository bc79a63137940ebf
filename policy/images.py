"""Every image and every chart is a known one."""

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
        name = path.rpartition(".")[2]
        if isinstance(value, str) and name in ("image", "imageName") and not is_pinned(value):
            yield f"{path} of {resource.name} is {value!r}, which can become another image any day."
        if isinstance(value, dict) and (image := _image_values(value)) and not is_pinned(image):
            yield f"{path} of {resource.name} is {image!r}, which can become another image any day."


def _image_values(values: dict[str, Any]) -> str | None:
    """The image that a chart makes of `repository` and `tag`; None where it is none, or not known yet."""
    if not isinstance(values.get("repository"), str):
        return None
    tag = values.get("tag") or ""
    if not isinstance(tag, str | int | float):
        return None
    digest = values.get("digest") or values.get("sha")
    return f"{values['repository']}:{tag}" + (f"@{digest}" if digest else "")


def _chart(release: Resource) -> Iterator[str]:
    # By the pins: the provider puts the version that a range stands for today in its place before it is seen here.
    chart, version = release.props.get("chart"), release.props.get("version")
    pinned = _PINNED.get(chart.rpartition("/")[2], "none") if isinstance(chart, str) else version
    if version is not UNKNOWN and version != pinned:
        yield f"{release.name} takes version {version or 'any'} of chart {chart}; versions.py pins {pinned}."


POLICIES = [
    resource_policy(
        "images-are-pinned",
        "Every container image has a tag that names one version, or a digest: what was tested is what runs, also when "
        "a node pulls it a year later.",
        "an exact tag or `tag@sha256:...` in versions.py, and that Image where it is used.",
        in_kubernetes,
        _images,
    ),
    resource_policy(
        "charts-are-pinned",
        "Every Helm chart has the version that versions.py pins: a range or none takes whatever its repository has that "
        "day.",
        "the chart with its exact version in versions.py, and `**charts.inputs(<chart>)` in the Release.",
        lambda resource: resource.type in _KINDS,
        _chart,
    ),
]
