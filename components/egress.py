"""The way out of the cluster as pods have it: variables that name proxies, and files with authorities to believe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.cluster import ClusterHandle
from settings.egress import PROXY_LOGIN, Egress

AUTHORITY = "egress.pem"
STARTUP = Path(__file__).with_name("pod_startup") / "sitecustomize.py"
SYSTEM_AUTHORITIES = "/etc/ssl/certs"
"""Where images of programs in Go have the public authorities; these read each folder of SSL_CERT_DIR."""


def files(egress: Egress) -> dict[str, str]:
    """For a folder in PYTHONPATH: the authorities, and what has Python believe them; empty where there are none."""
    return {AUTHORITY: egress.ca, STARTUP.name: STARTUP.read_text()} if egress.ca else {}


def config_map(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """A ConfigMap, for a Release that makes it."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def hashes(found: Mapping[str, str]) -> dict[str, str]:
    """Annotations of a pod that reads these files when it starts: other ones restart it."""
    return {
        f"llm-gateway/{name}": hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in found.items()
    }


def of_clients_in_go(egress: Egress, cluster: ClusterHandle) -> dict[str, pulumi.Input[str]]:
    """Variables that name the proxies; Kubernetes' API has an address of the Services' range, which these clients read."""
    return {
        name: pulumi.Output.concat(value, ",", cluster.service_addresses) if name == "NO_PROXY" else value
        for name, value in egress.variables().items()
    }


def listed(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Environment variables as a container has them."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def logged_in(logins: Mapping[str, str], secret: str) -> list[dict[str, Any]]:
    """Variables that name proxies with a login, which Kubernetes puts in from a Secret: it must come before them."""
    if not logins:
        return []
    reference = {"secretKeyRef": {"name": secret, "key": PROXY_LOGIN}}
    return [{"name": PROXY_LOGIN, "valueFrom": reference}, *listed(logins)]


def mounted(volume: str, config_map: str, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ConfigMap as a volume, and its mount."""
    return (
        {"name": volume, "configMap": {"name": config_map}},
        {"name": volume, "mountPath": folder, "readOnly": True},
    )
