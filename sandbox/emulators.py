"""The emulators of one sandbox: one process, `python -m sandbox.emulators`, from `up` to `down`.

It wakes when a watched object changes, and every second for what depends on time alone. An emulator that
fails is called again, and each new reason is logged once; the others go on.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType

from sandbox.cluster import control_plane
from sandbox.cluster.client import ApiError, Unreachable
from sandbox.cluster.egress import socket_path
from sandbox.cluster.watched import Watched
from sandbox.cluster.webhooks import Webhooks
from sandbox.google.cloud import Cloud
from sandbox.nodes.disks import Disks
from sandbox.nodes.kubelet import Kubelet
from sandbox.nodes.node_pools import NodePools
from sandbox.nodes.pods_daemon import runs
from sandbox.operators.cert_manager import CertManager
from sandbox.operators.cloudnativepg.backups import PostgresBackups
from sandbox.operators.cloudnativepg.controller import CloudNativePG
from sandbox.operators.external_secrets.controller import ExternalSecrets
from sandbox.paths import Home

_TICK_SECONDS = 1.0
_SETTLE_SECONDS = 0.02  # in which changes that come together are waited for

Emulator = (
    Webhooks | Disks | Kubelet | NodePools | ExternalSecrets | CertManager | CloudNativePG | PostgresBackups
)

_LOG = logging.getLogger("sandbox.emulators")


def main() -> None:
    home = Home.from_env()
    logging.basicConfig(
        format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    socket = socket_path(home)
    try:
        cloud, api = Cloud(home.cloud), Watched(control_plane.api(home))
        buckets = home.buckets if runs(home) else None
        failures: dict[Emulator, str] = {}
        emulators: list[Emulator] = [
            Webhooks(api, cloud, socket, home.kubelet_socket),
            Disks(api),
            Kubelet(api, cloud, runs(home)),
            NodePools(api, cloud),
            ExternalSecrets(api, cloud),
            CertManager(api),
            CloudNativePG(api, cloud, buckets),
            PostgresBackups(api, cloud, buckets),
        ]
        api.watch({kind for emulator in emulators for kind in emulator.kinds})
        home.daemon_ready.touch()
        _LOG.info("ready")
        while True:
            for emulator in emulators:
                _reconcile(emulator, failures)
            api.wait(_TICK_SECONDS)
            time.sleep(_SETTLE_SECONDS)
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
            unforeseen = not isinstance(error, (ApiError, Unreachable))
            words = " ".join(str(error).split())
            _LOG.error("%s: %s; trying again", type(emulator).__name__, words, exc_info=unforeseen)


if __name__ == "__main__":
    main()
