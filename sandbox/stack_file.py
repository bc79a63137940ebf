"""The sandbox's copy of a stack's settings. The stack's own file is read, never written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.errors import SandboxError
from sandbox.paths import PROJECT, REPOSITORY, Home
from settings import stack_text
from settings.flat import nested

_SECRETS_PROVIDER_KEYS = ("secretsprovider", "encryptedkey", "encryptionsalt")

Settings = dict[str, Any]
CHARTS = REPOSITORY / "sandbox" / "charts"
"""The contract charts."""


def read_stack_file(root: Path, stack: str) -> Settings:
    """`Pulumi.<stack>.yaml` in the program's folder.

    Raises SandboxError when there is none, its text is not to be trusted, or it holds encrypted values.
    """
    file = root / f"Pulumi.{stack}.yaml"
    try:
        content = stack_text.read(file.read_bytes())
    except FileNotFoundError:
        stacks = sorted(other.name[len("Pulumi.") : -len(".yaml")] for other in root.glob("Pulumi.*.yaml"))
        raise SandboxError(
            f"there is no stack {stack!r}: {file} does not exist. Stacks here: {', '.join(stacks) or 'none'}. "
            "Choose one with STACK=..., or write that file."
        ) from None
    except stack_text.StackTextError as error:
        raise SandboxError(f"{file}: {error}.") from error
    config = (content.get("config") or {}) if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise SandboxError(
            f"{file} is not a stack file: its top level must be a mapping with `config:` below it."
        )
    for key, value in config.items():
        if _is_encrypted(value):
            raise SandboxError(
                f"{key} in {file} is encrypted (`secure:`) with the stack's own secrets provider, whose key the "
                "sandbox neither has nor asks for. Keep secrets in Secret Manager, where this program reads them, "
                "or rehearse with a copy of the file without that key."
            )
    return content | {"config": _sections(config)}


def read_overlay(file: Path) -> Settings:
    """The settings in a file that is merged over a stack's. Raises SandboxError where it holds none."""
    try:
        content = stack_text.read(file.read_bytes())
    except (OSError, stack_text.StackTextError) as error:
        raise SandboxError(f"--config-overlay {file}: {error}.") from error
    if not isinstance(content, dict | None):
        raise SandboxError(
            f"--config-overlay {file} holds no settings: write them as they stand below `config:` in a stack file."
        )
    return content or {}


def _sections(config: Settings) -> Settings:
    """The config with what `pulumi new` wrote by its path (`gcp.project`) in its section, where the rest looks for it."""
    own = f"{PROJECT}:"
    sections = nested({key.removeprefix(own): value for key, value in config.items() if key.startswith(own)})
    others = {key: value for key, value in config.items() if not key.startswith(own)}
    return others | {f"{own}{key}": value for key, value in sections.items()}


def project_of(root: Path) -> str:
    """The project's name in `Pulumi.yaml`. Raises SandboxError where there is none."""
    try:
        return yaml.safe_load((root / "Pulumi.yaml").read_text())["name"]
    except (FileNotFoundError, TypeError, KeyError, yaml.YAMLError) as error:
        raise SandboxError(
            f"{root} holds no Pulumi project: there is no Pulumi.yaml with a `name` in it. Name the program's folder "
            "with --root."
        ) from error


def is_gateway(content: Settings) -> bool:
    """Whether these are settings of the gateway, whatever its project is called, and not of a program beside it."""
    return any(key.startswith(f"{PROJECT}:") for key in content["config"])


def bring_crds(content: Settings) -> bool:
    """Whether the charts of prepared settings bring the operators' CRDs: all but the contract charts do."""
    charts: Settings = content["config"].get(f"{PROJECT}:charts") or {}
    return is_gateway(content) and charts.get("mirror") != str(CHARTS)


def google_projects(content: Settings) -> list[str]:
    """What any program's settings call `<project>:gcp.project`."""
    sections = [value for key, value in content["config"].items() if key.endswith(":gcp")]
    return [section["project"] for section in sections if isinstance(section, dict) and "project" in section]


def salt_copy(content: Settings) -> str | None:
    """`secrets.saltCopy` of the gateway's settings: a Secret that the stack expects in another project."""
    secrets = content["config"].get(f"{PROJECT}:secrets")
    copy = secrets.get("saltCopy") if isinstance(secrets, dict) else None
    return copy if isinstance(copy, str) and re.fullmatch(r"projects/[^/]+/secrets/[^/]+", copy) else None


def prepare(content: Settings, charts: Path | None, overlay: Settings) -> Settings:
    """The settings to run in the sandbox, without the stack's own secrets provider.

    `charts` is the folder of contract charts, None for the upstream ones; the control plane is reached at its address. `overlay` is merged over `config`.
    """
    prepared = {key: value for key, value in content.items() if key not in _SECRETS_PROVIDER_KEYS}
    config = prepared["config"]
    if charts:
        config = merged(config, {f"{PROJECT}:charts": {"mirror": str(charts)}})
    if isinstance(named := config.get(f"{PROJECT}:cluster"), dict) and "endpoint" in named:
        # The sandbox's API server has its address alone.
        config = merged(config, {f"{PROJECT}:cluster": {"endpoint": None}})
    return prepared | {"config": merged(config, overlay)}


def state_salt(home: Home, stack: str) -> str | None:
    """What the sandbox's passphrase provider salts the state with, None while there is no such stack.

    It belongs into the copy as `encryptionsalt`: without it the engine would make another one and write that to the
    stack's own file.
    """
    try:
        state = json.loads(home.checkpoint(stack).read_text())
    except FileNotFoundError:
        return None
    return state["checkpoint"]["latest"]["secrets_providers"]["state"]["salt"]


def section(content: Settings, name: str, *keys: str) -> tuple[str, ...]:
    """Values of one `llm-gateway:<name>` section. Raises SandboxError naming the key that is missing."""
    values = content["config"].get(f"{PROJECT}:{name}")
    for key in keys:
        if not isinstance(values, dict) or not isinstance(values.get(key), str):
            raise SandboxError(
                f"{PROJECT}:{name}.{key} is missing in the stack file, so there is no GKE cluster to emulate: "
                f"write `{PROJECT}:{name}: {{{', '.join(f'{needed}: ...' for needed in keys)}}}`."
            )
    return tuple(values[key] for key in keys)


@dataclass(frozen=True)
class Cluster:
    """The GKE cluster that the settings mean. `stack` is the one whose outputs name it, None where they do themselves."""

    project: str
    name: str
    location: str
    stack: str | None = None


def on_autopilot(content: Settings) -> bool:
    """Whether the gateway's settings say that its cluster is an Autopilot one."""
    config = content["config"]
    pools = [config.get(f"{PROJECT}:gpuPool"), *(config.get(f"{PROJECT}:moreGpuPools") or [])]
    return any(isinstance(pool, dict) and pool.get("autopilot") is True for pool in pools)


def cluster(content: Settings) -> Cluster:
    """The cluster to emulate. Raises SandboxError when the settings name none."""
    (project,) = section(content, "gcp", "project")
    named = content["config"].get(f"{PROJECT}:cluster")
    if isinstance(named, dict) and (stack := named.get("stack")):
        if str(stack).count("/") != 2:
            raise SandboxError(
                f"{PROJECT}:cluster.stack is {stack!r}, which names no stack: write <organization>/<project>/<stack>."
            )
        return Cluster(project, "of-another-stack", "europe-west4", stack)
    name, location = section(content, "cluster", "name", "location")
    return Cluster(content["config"][f"{PROJECT}:cluster"].get("project", project), name, location)


def merged(base: Any, over: Any) -> Any:
    """A document with a JSON merge patch (RFC 7396) applied: mappings key by key; null takes a key away."""
    if not isinstance(over, dict):
        return over
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _is_encrypted(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(map(_is_encrypted, value.values()))
    return isinstance(value, list) and any(map(_is_encrypted, value))
