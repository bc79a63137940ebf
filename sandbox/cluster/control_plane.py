"""The sandbox's Kubernetes: etcd, kube-apiserver, controller-manager, scheduler and kwok, run by kwokctl.

Every start makes a new kwokctl configuration over the old etcd data and certificates, so a first start, one after
`make down`, after a reboot or after a crash are the same thing, and ports that were taken meanwhile just move.
All components listen on 127.0.0.1 only.
"""

from __future__ import annotations

import base64
import fcntl
import json
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sandbox.cluster.client import Client
from sandbox.cluster.egress import api_server_arguments
from sandbox.errors import SandboxError
from sandbox.network.addresses import PLAYED
from sandbox.paths import Home, write_atomically
from sandbox.plugins.shims import link_program
from sandbox.processes import running, stop
from sandbox.toolchain.build import Toolchain

ADDRESS = "127.0.0.1"
STAGES = Path(__file__).with_name("stages.yaml")

_PORTS = (
    "etcdPort",
    "etcdPeerPort",
    "kubeApiserverPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
)
_COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"}
_ATTEMPTS = 3
_CLUSTER = "llm-gateway-"
_READY_TIMEOUT = 60.0  # seconds
_BUSY = "If the machine is only busy, run the same command again. The end of its log"


@contextmanager
def exclusive(home: Home) -> Generator[None]:
    """Hold the sandbox alone while it is started or stopped."""
    home.root.mkdir(parents=True, exist_ok=True)
    with home.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def api(home: Home) -> Client:
    """The control plane's API. Raises FileNotFoundError before the first start."""
    server = json.loads(home.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return _client(server, _directory(home) / "pki")


def _client(server: str, pki: Path) -> Client:
    return Client(server, pki / "ca.crt", pki / "admin.crt", pki / "admin.key")


def is_up(home: Home) -> bool:
    """Whether every component runs and the API server answers."""
    return home.kubeconfig.exists() and not _missing(home) and api(home).answers("/readyz")


def start(home: Home, toolchain: Toolchain, environment: Mapping[str, str]) -> Client:
    """Start the control plane, or a new one over the data of the last, and write the home's kubeconfig.

    Returns once the API server is ready. Raises SandboxError with the failing component's last words.
    """
    ports = _last_ports(home)
    for attempt in range(1, _ATTEMPTS + 1):
        stop(home, _COMPONENTS | {"kwokctl"})
        ports = _free_ports(ports)
        try:
            return _start_once(home, toolchain, environment, ports)
        except SandboxError:
            if attempt == _ATTEMPTS:
                stop(home, _COMPONENTS)
                raise
            ports = {}
    raise AssertionError("unreachable")


def _start_once(
    home: Home, toolchain: Toolchain, environment: Mapping[str, str], ports: dict[str, int]
) -> Client:
    directory = _directory(home)
    for stale in ("pids", "bin", "logs"):
        shutil.rmtree(directory / stale, ignore_errors=True)
    (directory / "kwok.yaml").unlink(missing_ok=True)
    if not all(
        (directory / "pki" / name).exists() for name in ("ca.crt", "ca.key", "admin.crt", "admin.key")
    ):
        # kwokctl takes an existing folder for a complete one.
        shutil.rmtree(directory / "pki", ignore_errors=True)
    home.kwok.mkdir(parents=True, exist_ok=True)
    configuration = home.kwok / "options.yaml"
    configuration.write_text(yaml.safe_dump(_configuration(toolchain, ports), sort_keys=False))
    kwokctl = str(link_program(home, "kwokctl", toolchain.kwokctl))
    command = [kwokctl, "create", "cluster", "--name", directory.name, "--kubeconfig", ""]
    command += ["--config", str(configuration), "--config", str(STAGES)]
    for extra in (
        # The data outlives a crash of any process; only a power cut could harm it.
        "etcd=unsafe-no-fsync=true",
        # The lease of a killed predecessor would be waited for.
        "kube-controller-manager=leader-elect=false",
        "kube-scheduler=leader-elect=false",
        # Nor do the nodes of a killed kwok run pods before its leases on them, by default 200 s, are over.
        "kwok-controller=node-lease-duration-seconds=8",
        # An etcd of another sandbox on a port taken meanwhile must look empty, not shared.
        f"kube-apiserver=etcd-prefix=/{directory.name}",
        # What pods reach the API server at is GKE's to say (base_objects), not this machine's address and port.
        "kube-apiserver=endpoint-reconciler-type=none",
        *api_server_arguments(home),
        # Apart from the Services' addresses, and from those of pods that run. Last: before another component's first
        # argument, a second of one makes kwokctl 0.8.0 panic.
        f"kwok-controller=cidr={PLAYED}",
    ):
        command += ["--extra-args", extra]
    answer = subprocess.run(
        command,
        env={
            **environment,
            "KWOK_WORKDIR": str(home.kwok),
            "PATH": f"{_no_kubectl(home)}:{environment['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise SandboxError(f"kwokctl could not start the control plane:\n{answer.stderr[-2000:]}")
    server = f"https://{ADDRESS}:{ports['kubeApiserverPort']}"
    client = _client(server, directory / "pki")
    deadline = time.monotonic() + _READY_TIMEOUT
    while not client.answers("/readyz"):
        if missing := _missing(home):
            raise SandboxError(
                f"{', '.join(missing)} did not start. {_BUSY}:\n{_log_tail(directory, missing)}"
            )
        if time.monotonic() > deadline:
            tail = _log_tail(directory, ["kube-apiserver"])
            raise SandboxError(f"kube-apiserver is not ready after {_READY_TIMEOUT:.0f} s. {_BUSY}:\n{tail}")
        time.sleep(0.1)
    _write_kubeconfig(home, server, directory / "pki")
    return client


def _configuration(toolchain: Toolchain, ports: dict[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": {
            "runtime": "binary",
            "bindAddress": ADDRESS,
            "etcdBinary": str(toolchain.etcd),
            "kubeApiserverBinary": str(toolchain.kube_apiserver),
            "kubeControllerManagerBinary": str(toolchain.kube_controller_manager),
            "kubeSchedulerBinary": str(toolchain.kube_scheduler),
            "kwokControllerBinary": str(toolchain.kwok),
            **ports,
        },
    }


def _directory(home: Home) -> Path:
    """kwokctl's folder of this cluster. Its name is made once and stays when the home is copied or moved."""
    clusters = home.kwok / "clusters"
    return next(clusters.glob(f"{_CLUSTER}*"), clusters / f"{_CLUSTER}{secrets.token_hex(4)}")


def _no_kubectl(home: Home) -> Path:
    """A folder with a kubectl that does nothing: kwokctl would download one to ask whether the server answers."""
    directory = home.kwok / "path"
    directory.mkdir(exist_ok=True)
    kubectl = directory / "kubectl"
    kubectl.write_text("#!/bin/sh\n# Readiness is waited for by sandbox/cluster/control_plane.py.\nexit 0\n")
    kubectl.chmod(0o755)
    return directory


def _missing(home: Home) -> list[str]:
    return sorted(_COMPONENTS - set(running(home).values()))


def _log_tail(directory: Path, components: list[str]) -> str:
    logs = ((name, directory / "logs" / f"{name}.log") for name in components)
    return "\n".join(f"{name}: {log.read_text()[-1500:]}" for name, log in logs if log.exists())


def _last_ports(home: Home) -> dict[str, int]:
    try:
        options = yaml.safe_load((home.kwok / "options.yaml").read_text())["options"]
        return {name: options[name] for name in _PORTS}
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return {}


def _free_ports(wanted: dict[str, int]) -> dict[str, int]:
    """Six free loopback ports: the wanted ones where they are free."""
    chosen: dict[str, int] = {}
    for name in _PORTS:
        port = wanted.get(name, 0)
        while not port or port in chosen.values() or not _is_free(port):
            # Below the range from which systems take the ports of outgoing connections.
            port = 20000 + secrets.randbelow(12000)
        chosen[name] = port
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def _write_kubeconfig(home: Home, server: str, pki: Path) -> None:
    """Self-contained, and JSON (which is YAML), so that the credential plugin starts without a YAML library."""

    def data(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    name = "llm-gateway-sandbox"
    user = {"client-certificate-data": data("admin.crt"), "client-key-data": data("admin.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_atomically(home.kubeconfig, json.dumps(content, indent=1))
