"""Compares a chart with the contract chart that stands for it, as a Release of the stack renders both.

With the Release's values the chart must render all that the contract chart renders, and nothing that this neither renders nor
names in its left-out.txt; each value must change something; roles must allow the same; CRDs must be those that the sandbox
serves. A line of left-out.txt is `Kind/name` of an object, or `Kind/name path` of what one holds; `*` stands for any text.

Not compared: the order of arguments, checksums and the chart's own version in annotations and labels, subcharts, tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from sandbox.errors import SandboxError

Objects = dict[str, Any]
"""By `Kind/name`."""
KeyPath = tuple[str | int, ...]

_CRD = "CustomResourceDefinition/"
_OF_THE_VERSION = ("checksum/", "helm.sh/chart", "app.kubernetes.io/version")
_PROBE = "llm-gateway-probe"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A chart, in a folder without its subcharts, and what a stack makes of it."""

    name: str
    namespace: str
    values: Mapping[str, Any]
    chart: Path
    subcharts: frozenset[str] = frozenset()
    """The keys of values that are theirs."""


@dataclass(frozen=True, kw_only=True)
class Crds:
    """The CRDs that the sandbox serves for a chart, by name, and the version of the operator that they are of."""

    version: str
    definitions: Objects


@dataclass(frozen=True)
class Renderer:
    """The helm binary, for one version of Kubernetes."""

    helm: str
    kube_version: str

    def text(self, release: Release, chart: Path, values: Mapping[str, Any]) -> str:
        """What a chart renders as this Release. Raises SandboxError with what helm says."""
        # A schema may refuse a probe, and is no template that reads it.
        checks = [] if values is release.values else ["--skip-schema-validation"]
        where = ["--namespace", release.namespace, "--kube-version", self.kube_version]
        command = [self.helm, "template", release.name, str(chart), *where, "--include-crds", "--skip-tests"]
        answer = subprocess.run(
            [*command, *checks, "--values", "-"], input=json.dumps(values), capture_output=True, text=True
        )
        if answer.returncode:
            raise SandboxError(answer.stderr.strip().removeprefix("Error: "))
        return answer.stdout

    def objects(self, release: Release, chart: Path) -> Objects:
        """The same, parsed."""
        documents = yaml.load_all(self.text(release, chart, release.values), Loader=yaml.CSafeLoader)
        return {f"{found['kind']}/{found['metadata']['name']}": found for found in documents if found}


def differences(renderer: Renderer, contract: Path, release: Release, crds: Crds | None) -> list[str]:
    """What the Release's chart does otherwise than the contract chart, a sentence each; empty where they agree."""
    ours, theirs = (_metadata(chart) for chart in (contract, release.chart))
    said = [
        f"{key} is {theirs.get(key)}, and {ours.get(key)} in the contract chart: raise it there, in {contract.name}/Chart.yaml"
        for key in ("version", "appVersion")
        if theirs.get(key) != ours.get(key)
    ]
    try:
        there = renderer.objects(release, release.chart)
    except SandboxError as error:
        return [*said, f"it does not render with the program's values: {error}"]
    try:
        here = renderer.objects(release, contract)
    except SandboxError as error:
        return [*said, f"the contract chart refuses the program's values: {error}"]
    left_out = _left_out(contract)
    said += [f"{path}: the program gives it, and no template reads it" for path in unread(renderer, release)]
    said += [
        f"{name}: the contract chart renders it, and this chart does not"
        for name in here
        if name not in there
    ]
    said += [
        f"{name}: only this chart renders it; add it to the contract chart, or to its left-out.txt"
        for name in there
        if name not in here and not name.startswith(_CRD) and not _matches(name, "", left_out)
    ]
    for name in here.keys() & there.keys():
        said += _in_object(name, here[name], there[name], left_out)
    return sorted(said) + list(_in_crds(crds, there, str(theirs.get("appVersion"))))


def unread(renderer: Renderer, release: Release) -> list[str]:
    """The values that change nothing in what the Release's chart renders, by path."""
    first, second = (renderer.text(release, release.chart, release.values).splitlines() for _ in range(2))
    # Of one length, the two differ in what a chart makes up anew each time.
    stable = [index for index, line in enumerate(first) if line == second[index]]

    def changes(values: Mapping[str, Any]) -> bool | None:
        try:
            lines = renderer.text(release, release.chart, values).splitlines()
        except SandboxError:
            return None
        return len(lines) != len(first) or any(lines[index] != first[index] for index in stable)

    given = {key: value for key, value in release.values.items() if key not in release.subcharts}
    paths = list(_paths(given))
    with ThreadPoolExecutor() as pool:
        maps = [path for path, value in paths if isinstance(value, dict) and value]
        probed = pool.map(
            changes, [_with(release.values, (*path, _PROBE), lambda _: _PROBE) for path in maps]
        )
        # A map that takes any key is written as it is, with all that it holds.
        whole = {path for path, read in zip(maps, probed, strict=True) if read}
        leaves = [
            path
            for path, value in paths
            if not (isinstance(value, dict | list) and value)
            and not any(path[:length] in whole for length in range(len(path)))
        ]
        read = pool.map(changes, [_with(release.values, path, _another) for path in leaves])
        return [_text(path) for path, found in zip(leaves, read, strict=True) if found is False]


def _metadata(chart: Path) -> dict[str, Any]:
    return yaml.safe_load((chart / "Chart.yaml").read_text())


def _left_out(contract: Path) -> list[tuple[str, str]]:
    lines = (contract / "left-out.txt").read_text().splitlines()
    parted = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(name, path) for name, _, path in parted]


def _matches(name: str, path: str, left_out: list[tuple[str, str]]) -> bool:
    return any(fnmatchcase(name, which) and path == what for which, what in left_out)


def _paths(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value below a value, by its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key), item
        yield from _paths(item, (*path, key))


def _with(values: Mapping[str, Any], path: KeyPath, change: Callable[[Any], Any]) -> Mapping[str, Any]:
    """A copy of the values, changed at a path."""
    changed: Any = deepcopy(dict(values))
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = change(node.get(path[-1]) if isinstance(node, dict) else node[path[-1]])
    return changed


def _another(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case dict():
            return {_PROBE: _PROBE}
        case list():
            return [_PROBE]
        case _:
            return f"{value or ''}{_PROBE}"


def _text(path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _in_object(name: str, ours: Any, theirs: Any, left_out: list[tuple[str, str]]) -> Iterator[str]:
    if name.startswith(("Role/", "ClusterRole/")):
        ours, theirs = dict(ours), dict(theirs)
        here, there = _rights(ours.pop("rules", None)), _rights(theirs.pop("rules", None))
        if here - there:
            yield f"{name}: does not allow {'; '.join(sorted(here - there))}, and does in the contract chart"
        if there - here:
            yield f"{name}: allows {'; '.join(sorted(there - here))}, and does not in the contract chart"
    for path, what in _beyond(ours, theirs):
        if not _matches(name, path, left_out):
            yield f"{name}: {path} {what}"


def _rights(rules: list[dict[str, Any]] | None) -> set[str]:
    """What rules allow, a verb on a resource each."""
    return {
        f"{verb} {resource}{f'.{group}' if group else ''}{f' ({only})' if only else ''}"
        for rule in rules or []
        for verb in rule["verbs"]
        for group in rule.get("apiGroups", [""])
        for resource in rule.get("resources", rule.get("nonResourceURLs", []))
        for only in rule.get("resourceNames", [""])
    }


def _beyond(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where the contract chart's object says what the other does not, each with how they differ."""
    match ours, theirs:
        case dict(), dict():
            for key, value in ours.items():
                if not key.startswith(_OF_THE_VERSION):
                    yield from _beyond(value, theirs.get(key), f"{path}.{key}".removeprefix("."))
        case list(), list() if path.endswith(("args", "verbs")):
            if missing := [item for item in ours if item not in theirs]:
                yield path, f"lacks {', '.join(missing)}, which the contract chart gives"
        case list(), list() if all(isinstance(item, dict) and "name" in item for item in (*ours, *theirs)):
            named = {item["name"]: item for item in theirs}
            for item in ours:
                yield from _beyond(item, named.get(item["name"]), f"{path}[{item['name']}]")
        case list(), list() if len(ours) == len(theirs):
            for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
                yield from _beyond(our, their, f"{path}[{index}]")
        case _ if ours != theirs:
            yield path, f"is {_short(theirs)}, and {_short(ours)} in the contract chart"
        case _:
            pass


def _short(value: Any) -> str:
    text = json.dumps(value)
    return "not there" if value is None else text if len(text) <= 100 else f"{text[:100]}..."


def _in_crds(crds: Crds | None, theirs: Objects, version: str) -> Iterator[str]:
    if not crds:
        return
    same_operator = crds.version.removeprefix("v") == version.removeprefix("v")
    for name, ours in crds.definitions.items():
        brought = theirs.get(f"{_CRD}{name}")
        if not brought:
            yield f"{name}: the chart does not bring this CRD, which sandbox/cluster/crds.json has"
            continue
        here, there = _served(ours), _served(brought)
        if here - there:
            yield f"{name}: {', '.join(sorted(here - there))} is no longer served, and is by the CRD of crds.json"
        elif same_operator and (found := next(_beyond(ours["spec"], brought["spec"], "spec"), None)):
            yield f"{name}: {found[0]} {found[1]}, though both are of {version}".replace(
                "the contract chart", "crds.json"
            )


def _served(definition: Any) -> set[str]:
    return {version["name"] for version in definition["spec"]["versions"] if version["served"]}
