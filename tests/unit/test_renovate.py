"""Renovate's configuration, applied to this repository as Renovate would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

import versions
from sandbox.cluster.crds import PINS
from sandbox.paths import REPOSITORY

CONFIG: dict[str, Any] = json.loads((REPOSITORY / "renovate.json").read_text())
DIGEST = "sha256:" + "0a" * 32
FIELDS = ("depName", "currentValue", "datasource", "packageName", "registryUrl", "currentDigest")
Dependency = dict[str, str | None]


def found(path: str, text: str) -> list[Dependency]:
    """What the custom managers find in a file: each field from its template, else from its group."""
    return [
        {field: _field(manager, match, field) for field in FIELDS}
        for manager in CONFIG["customManagers"]
        if any(re.search(pattern.strip("/"), path) for pattern in manager["managerFilePatterns"])
        for match in _matches(manager, text)
    ]


def _matches(manager: dict[str, Any], text: str) -> Iterator[re.Match[str]]:
    for pattern in manager["matchStrings"]:
        beyond_re2 = r"\(\?[=!]|\(\?<[=!]|\\[1-9]"
        assert not re.search(beyond_re2, pattern), "RE2 has no lookaround and no references"
        yield from re.finditer(pattern.replace("(?<", "(?P<"), text)


def _field(manager: dict[str, Any], match: re.Match[str], field: str) -> str | None:
    groups = match.groupdict()
    if f"{field}Template" in manager:
        return re.sub(r"{{{(\w+)}}}", lambda name: groups[name[1]], manager[f"{field}Template"])
    return groups.get(field)


def chart(chart: versions.Chart) -> Dependency:
    oci = chart.upstream.startswith("oci://")
    return {
        "depName": chart.name,
        "currentValue": chart.version,
        "datasource": "docker" if oci else "helm",
        # https://docs.renovatebot.com/modules/datasource/docker/ takes no scheme.
        "packageName": f"{chart.upstream.removeprefix('oci://')}/{chart.name}" if oci else None,
        "registryUrl": None if oci else chart.upstream,
        "currentDigest": None,
    }


def image(image: versions.Image) -> Dependency:
    own = {"depName": image.repository, "currentValue": image.tag, "currentDigest": image.digest}
    return {**dict.fromkeys(FIELDS), **own, "datasource": "docker"}


def by_name(dependencies: list[Dependency]) -> list[Dependency]:
    return sorted(dependencies, key=lambda found: (found["depName"] or "", found["datasource"] or ""))


def test_every_chart_and_image_is_found_once() -> None:
    text = (REPOSITORY / "versions.py").read_text()
    expected = [*map(chart, versions.CHARTS), *map(image, versions.IMAGES)]
    assert by_name(found("versions.py", text)) == by_name(expected)


OPERATORS = {
    versions.LITELLM_CHART: versions.LITELLM_IMAGE,
    versions.CNPG_CHART: versions.CNPG_IMAGE,
    versions.BARMAN_PLUGIN_CHART: versions.BARMAN_PLUGIN_IMAGE,
    versions.CERT_MANAGER_CHART: versions.CERT_MANAGER_IMAGE,
    versions.EXTERNAL_SECRETS_CHART: versions.EXTERNAL_SECRETS_IMAGE,
}
"""The image that a chart runs by default; vllm-stack names none."""


@pytest.mark.parametrize("pinned", versions.CHARTS, ids=lambda pinned: pinned.name)
def test_a_contract_chart_is_raised_with_what_it_stands_for(pinned: versions.Chart) -> None:
    path = f"sandbox/charts/{pinned.name}/Chart.yaml"
    expected = [chart(pinned), *([image(OPERATORS[pinned])] if pinned in OPERATORS else [])]
    assert by_name(found(path, (REPOSITORY / path).read_text())) == by_name(expected)


def test_the_crds_are_of_the_operators_that_are_deployed() -> None:
    """`make up` serves them; Renovate does not raise them, as the module's sum stands beside its version."""
    tags = {chart.name: image.tag.removeprefix("v") for chart, image in OPERATORS.items()}
    for group, pin in json.loads(PINS.read_text()).items():
        stands_for = pin.get("operator", pin["version"]).removeprefix("v")
        assert stands_for == tags[pin["chart"]], f"raise {group} in crds.json, as CONTRIBUTING.md says"


@pytest.mark.parametrize(
    ("manifest", "lock"),
    [
        ("pyproject.toml", "requirements-dev.txt"),
        ("sandbox/containers/litellm.in", "sandbox/containers/litellm.txt"),
        ("sandbox/containers/programs.in", "sandbox/containers/programs.txt"),
    ],
)
def test_what_is_raised_is_locked(manifest: str, lock: str) -> None:
    """Else the tests would run with the version before."""
    pattern = r"^\W*([\w.-]+)(?:\[\w+\])?==([\w.]+)"
    pinned, locked = (
        set(re.findall(pattern, (REPOSITORY / file).read_text(), re.MULTILINE)) for file in (manifest, lock)
    )
    assert pinned
    assert pinned - locked == set(), f"{lock} is of other versions: run `make lock`"


@pytest.mark.parametrize(
    "call", ['Image("{0}", "{1}", "{2}")', 'Image(\n    "{0}",\n    "{1}",\n    "{2}",\n)']
)
def test_a_digest_is_found(call: str) -> None:
    pinned = replace(versions.VLLM_IMAGE, digest=DIGEST)
    line = "VLLM_IMAGE = " + call.format(pinned.repository, pinned.tag, pinned.digest)
    assert found("versions.py", line) == [image(pinned)]


def groups(name: str) -> list[str]:
    """The groups that a dependency's updates are in."""
    return [
        rule["groupName"]
        for rule in CONFIG["packageRules"]
        if "groupName" in rule
        and any(fnmatchcase(name, pattern) for pattern in rule.get("matchDepNames", []))
    ]


@pytest.mark.parametrize(
    ("chart", "images"),
    [
        (versions.LITELLM_CHART, [versions.LITELLM_IMAGE]),
        (versions.CNPG_CHART, [versions.CNPG_IMAGE]),
        (versions.BARMAN_PLUGIN_CHART, [versions.BARMAN_PLUGIN_IMAGE, versions.BARMAN_SIDECAR_IMAGE]),
        (
            versions.CERT_MANAGER_CHART,
            [
                versions.CERT_MANAGER_IMAGE,
                versions.CERT_MANAGER_WEBHOOK_IMAGE,
                versions.CERT_MANAGER_CAINJECTOR_IMAGE,
                versions.CERT_MANAGER_ACMESOLVER_IMAGE,
            ],
        ),
        (versions.EXTERNAL_SECRETS_CHART, [versions.EXTERNAL_SECRETS_IMAGE]),
        (versions.VLLM_CHART, [versions.VLLM_IMAGE, versions.VLLM_ROUTER_IMAGE]),
    ],
)
def test_a_components_chart_and_images_are_raised_together(
    chart: versions.Chart, images: list[versions.Image]
) -> None:
    (group,) = groups(chart.name)
    assert [groups(image.repository) for image in images] == [[group]] * len(images)


def test_every_name_in_a_rule_is_a_dependency() -> None:
    known = {chart.name for chart in versions.CHARTS} | {image.repository for image in versions.IMAGES}
    manifests = [REPOSITORY / "pyproject.toml", *REPOSITORY.glob("sandbox/containers/*.in")]
    known |= {name for file in manifests for name in re.findall(r"([\w.-]+)(?:\[\w+\])?==", file.read_text())}
    for manifest in REPOSITORY.glob("sandbox/toolchain/*/go.mod"):
        known |= set(re.findall(r"^\t(\S+) v", manifest.read_text(), re.MULTILINE))
    for rule in CONFIG["packageRules"]:
        for pattern in rule.get("matchDepNames", []):
            assert any(fnmatchcase(name, pattern) for name in known), f"no dependency is called {pattern}"


def test_tools_are_raised_though_go_calls_them_indirect() -> None:
    (rule,) = [rule for rule in CONFIG["packageRules"] if rule.get("matchDepTypes") == ["indirect"]]
    assert rule["enabled"]
    built: set[str] = set()
    for manifest in REPOSITORY.glob("sandbox/toolchain/*/go.mod"):
        text = manifest.read_text()
        tools = re.findall(r"^(?:\t|tool )([a-z]\S+)$", text, re.MULTILINE)
        modules = re.findall(r"^\t(\S+) v\S+", text, re.MULTILINE)
        assert tools
        built |= {module for module in modules for tool in tools if f"{tool}/".startswith(f"{module}/")}
    assert sorted(rule["matchDepNames"]) == sorted(built)


def test_what_make_lock_writes_is_raised_by_make_lock_only() -> None:
    (rule,) = [
        rule for rule in CONFIG["packageRules"] if "requirements.txt" in rule.get("matchFileNames", [])
    ]
    assert not rule["enabled"]
    written = re.findall(r"--output-file (\S+)", (REPOSITORY / "Makefile").read_text())
    assert sorted(rule["matchFileNames"]) == sorted(written)


def test_the_workflows_run_the_engine_that_the_program_is_written_for() -> None:
    path = ".github/actions/pulumi/action.yml"
    (cli,) = found(path, (REPOSITORY / path).read_text())
    assert (cli["depName"], cli["datasource"]) == ("pulumi", "pypi")
    assert f'"pulumi=={cli["currentValue"]}"' in (REPOSITORY / "pyproject.toml").read_text()
