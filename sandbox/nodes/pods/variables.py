"""The environment of a container, and its command, as the kubelet makes them of a pod's spec.

Sources: k8s.io/kubernetes v1.36, pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables, podFieldSelectorRuntimeValue),
third_party/forked/golang/expansion, pkg/kubelet/envvars. What it does not know: fileKeyRef, sizes of huge pages.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from sandbox.cluster.client import Json
from sandbox.nodes.scheduling import quantities


class Objects(Protocol):
    """Where a pod's references are looked up."""

    def get(self, kind: str, namespace: str, name: str) -> Json | None: ...

    def list(self, kind: str, namespace: str | None = None) -> list[Json]: ...


class ConfigError(Exception):
    """A container cannot be made of its spec; the message is what the kubelet says."""


def environment(pod: Json, container: Json, api: Objects, node: Json | None) -> dict[str, str]:
    """Every variable of a container but the image's own. `node` is the pod's. Raises ConfigError."""
    services = service_variables(pod, api)
    made: dict[str, str] = {}
    for source in container.get("envFrom", []):
        made |= _all_of(source, pod, api)
    for entry in container.get("env", []):
        value = (
            _value_from(entry["valueFrom"], pod, container, api, node)
            if "valueFrom" in entry
            else expand(entry.get("value", ""), {**services, **made})
        )
        if value is not None:
            made[entry["name"]] = value
    return {**services, **made}


def command(container: Json, variables: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """A container's command and arguments, with $(VARIABLE) put in; empty ones are the image's."""
    parts = (container.get("command", []), container.get("args", []))
    words, arguments = ([expand(word, variables) for word in part] for part in parts)
    return words, arguments


def expand(text: str, variables: Mapping[str, str]) -> str:
    """A text with $(NAME) replaced where NAME is known; $$ stands for $."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, text)


def service_variables(pod: Json, api: Objects) -> dict[str, str]:
    """The variables of the namespace's Services, unless the pod has no service links, and of `kubernetes`."""
    namespace = pod["metadata"]["namespace"]
    found = {"kubernetes": api.get("Service", "default", "kubernetes")}
    if pod["spec"].get("enableServiceLinks", True):
        found = {service["metadata"]["name"]: service for service in api.list("Service", namespace)} | found
    made: dict[str, str] = {}
    for name, service in found.items():
        address = service["spec"].get("clusterIP", "None") if service else "None"
        if not service or address in ("", "None"):
            continue
        prefix = name.upper().replace("-", "_")
        ports = service["spec"]["ports"]
        made[f"{prefix}_SERVICE_HOST"] = address
        made[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                made[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        protocol = ports[0].get("protocol", "TCP").lower()
        made[f"{prefix}_PORT"] = f"{protocol}://{address}:{ports[0]['port']}"
        for port in ports:
            protocol = port.get("protocol", "TCP")
            one = f"{prefix}_PORT_{port['port']}_{protocol}"
            made[one] = f"{protocol.lower()}://{address}:{port['port']}"
            made[f"{one}_PROTO"] = protocol.lower()
            made[f"{one}_PORT"] = str(port["port"])
            made[f"{one}_ADDR"] = address
    return made


def data_of(kind: str, item: Json) -> dict[str, bytes]:
    """What a Secret or a ConfigMap holds, by key."""
    data: dict[str, str] = item.get("data") or {}
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary: dict[str, str] = item.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }


def _texts(kind: str, item: Json) -> dict[str, bytes]:
    """What of a Secret or a ConfigMap can be a variable: all but binaryData."""
    return data_of(kind, {"data": item.get("data")})


def field(pod: Json, path: str) -> str:
    """A field of a pod as the downward API gives it. Raises ConfigError."""
    metadata, status = pod["metadata"], pod.get("status", {})
    subscripted = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if subscripted:
        return metadata.get(subscripted[1], {}).get(subscripted[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        items = metadata.get(path.removeprefix("metadata."), {})
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(items.items()))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": ",".join(entry["ip"] for entry in status.get("hostIPs", [])),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs", [])),
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return known[path]


def resource(reference: Json, pod: Json, container: Json, node: Json | None) -> str:
    """An amount of a container's resources, in whole divisors. Raises ConfigError."""
    side, _, name = reference["resource"].partition(".")
    named = reference.get("containerName", container["name"])
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    found = next((container for container in containers if container["name"] == named), None)
    if found is None:
        raise ConfigError(f"failed to get container {named}")
    amounts = found.get("resources", {}).get(side, {})
    if side == "limits" and name not in amounts:  # without a limit, what the node has
        amounts = node["status"].get("allocatable", {}) if node else {}
    amount = quantities({name: amounts.get(name, "0")})[name]
    divisor = quantities({name: reference.get("divisor") or "1"})[name] or Decimal(1)
    return str(math.ceil(amount / divisor))


def _all_of(source: Json, pod: Json, api: Objects) -> dict[str, str]:
    for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
        if key in source:
            found = _found(kind, source[key], pod, api)
            prefix = source.get("prefix", "")
            items = _texts(kind, found).items() if found else ()
            return {f"{prefix}{name}": value.decode(errors="replace") for name, value in items}
    return {}


def _value_from(source: Json, pod: Json, container: Json, api: Objects, node: Json | None) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource(source["resourceFieldRef"], pod, container, node)
    for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if key in source:
            reference = source[key]
            found = _found(kind, reference, pod, api)
            data = _texts(kind, found) if found else {}
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if reference.get("optional"):
                return None
            where = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {where}")
    raise ConfigError(f"valueFrom {', '.join(sorted(source))} is not emulated by the sandbox")


def _found(kind: str, reference: Json, pod: Json, api: Objects) -> Json | None:
    found = api.get(kind, pod["metadata"]["namespace"], reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    return found


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
