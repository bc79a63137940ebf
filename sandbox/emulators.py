"""The emulators of one sandbox: one process, `python -m sandbox.emulators`, from `up` to `down`.

Wakes when a watched object changes, and once a second for what time alone changes. An emulator that fails is logged,
once for each new reason, and called again; the others go on.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType

from kubernetes import config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from sandbox.cluster.egress import socket_path
from sandbox.cluster.loopback import require_loopback
from sandbox.cluster.watched import Watched
from sandbox.cluster.webhooks import Webhooks
from sandbox.google.cloud import Cloud
from sandbox.nodes.disks import Disks
from sandbox.nodes.kubelet import Kubelet
from sandbox.nodes.node_pools import NodePools
from sandbox.operators.cert_manager import CertManager
from sandbox.operators.cloudnativepg.backups import PostgresBackups
from sandbox.operators.cloudnativepg.controller import CloudNativePG
from sandbox.operators.external_secrets.controller import ExternalSecrets
from sandbox.paths import Home

_TICK = 1.0
_SETTLE = 0.02  # seconds in which changes that come together are waited for

Watching = Webhooks | Disks | Kubelet | ExternalSecrets | CertManager | CloudNativePG | PostgresBackups
Emulator = Watching | NodePools

_LOG = logging.getLogger("sandbox.emulators")


def main() -> None:
    home = Home.from_env()
    logging.basicConfig(
        format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning to it
    client = config.new_client_from_config(str(home.kubeconfig))
    require_loopback(client.configuration.host)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    socket = socket_path(home)
    try:
        cloud, api = Cloud(home.cloud), Watched(client)
        failures: dict[Emulator, str] = {}
        node_pools = NodePools(home, client)
        emulators: list[Watching] = [
            Webhooks(api, cloud, socket),
            Disks(api),
            Kubelet(api),
            ExternalSecrets(api, cloud),
            CertManager(api),
            CloudNativePG(api, cloud),
            PostgresBackups(api, cloud),
        ]
        api.watch({kind for emulator in emulators for kind in emulator.kinds})
        home.daemon_ready.touch()
        _LOG.info("ready")
        due = 0.0
        while True:
            if time.monotonic() >= due:  # it lists nodes and pods each time
                _reconcile(node_pools, failures)
                due = time.monotonic() + _TICK
            for emulator in emulators:
                _reconcile(emulator, failures)
            api.wait(_TICK)
            time.sleep(_SETTLE)
    except _Stopped:
        _LOG.info("stopped")
    finally:
        for path in (home.daemon_ready, socket):
            path.unlink(missing_ok=True)


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


def _stop(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise _Stopped


def _reconcile(emulator: Emulator, failures: dict[Emulator, str]) -> None:
    try:
        emulator.reconcile()
        failures.pop(emulator, None)
    except Exception as error:
        if failures.get(emulator) != repr(error):
            failures[emulator] = repr(error)
            unforeseen = not isinstance(error, (ApiException, HTTPError))
            words = " ".join(str(error).split())
            _LOG.error("%s: %s; trying again", type(emulator).__name__, words, exc_info=unforeseen)


if __name__ == "__main__":
    main()
