"""The emulators of one sandbox: one process, `python -m sandbox.emulators`, from `up` to `down`.

Wakes when a watched object changes, and once a second for what time alone changes. An emulator that fails is logged
and called again; the others go on.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from types import FrameType

from kubernetes import config

from sandbox.cloud import Cloud
from sandbox.emulators.api import Api
from sandbox.emulators.cloudnativepg import CloudNativePG
from sandbox.emulators.disks import Disks
from sandbox.emulators.egress import socket_path
from sandbox.emulators.external_secrets import ExternalSecrets
from sandbox.emulators.kubelet import Kubelet
from sandbox.emulators.node_pools import NodePools
from sandbox.emulators.webhooks import Webhooks
from sandbox.loopback import require_loopback
from sandbox.paths import Home

_TICK = 1.0
_SETTLE = 0.02  # seconds in which changes that come together are waited for

_LOG = logging.getLogger("sandbox.emulators")


def main() -> None:
    home = Home.from_env()
    logging.basicConfig(
        format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr
    )
    client = config.new_client_from_config(str(home.kubeconfig))
    require_loopback(client.configuration.host)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    home.daemon_pid.write_text(f"{os.getpid()}\n")
    socket = socket_path(home)
    try:
        cloud, api = Cloud(home.cloud), Api(client)
        emulators = [
            Webhooks(api, socket),
            NodePools(home, client),
            Disks(api),
            Kubelet(api),
            ExternalSecrets(api, cloud),
            CloudNativePG(api, cloud),
        ]
        api.watch({kind for emulator in emulators for kind in getattr(emulator, "kinds", ())})
        home.daemon_ready.touch()
        _LOG.info("ready")
        while True:
            for emulator in emulators:
                _reconcile(emulator)
            api.wait(_TICK)
            time.sleep(_SETTLE)
    except _Stopped:
        _LOG.info("stopped")
    finally:
        for path in (home.daemon_ready, home.daemon_pid, socket):
            path.unlink(missing_ok=True)


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


def _stop(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise _Stopped


def _reconcile(emulator: Webhooks | NodePools | Disks | Kubelet | ExternalSecrets | CloudNativePG) -> None:
    try:
        emulator.reconcile()
    except Exception:
        _LOG.exception("%s failed and is called again", type(emulator).__name__)


if __name__ == "__main__":
    main()
