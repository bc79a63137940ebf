"""The node runtime of one sandbox: one process, `python -m sandbox.nodes.pods`, from `up` to `down`.

It runs the pods that the kubelet's emulation (sandbox/nodes/kubelet.py) has found everything for and marked to run, and
keeps the cluster's names and forwards. Its containers' processes end with it: SIGTERM ends them, and what is left of a run
that was killed is ended by the next, or by `make down`.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import time
from collections.abc import Set
from http import HTTPStatus
from pathlib import Path
from types import FrameType

from sandbox.cluster import control_plane
from sandbox.cluster.client import ApiError, Client
from sandbox.cluster.watched import Watched
from sandbox.network.addresses import Network, free_address, runs
from sandbox.network.forwards import Forwards
from sandbox.nodes.kubelet import marked_to_run
from sandbox.nodes.pods import kubelet_api, network_file
from sandbox.nodes.pods.pod import Pod
from sandbox.nodes.pods.process import Container
from sandbox.nodes.pods.routes import Routes
from sandbox.paths import Home
from sandbox.processes import stop_containers
from sandbox.toolchain.containers import ensure

_LOG = logging.getLogger("sandbox.nodes.pods")
_TICK_SECONDS = 1.0
_SETTLE_SECONDS = 0.02
_STOP_SECONDS = 4.0
_KINDS = {
    "ConfigMap",
    "EndpointSlice",
    "Namespace",
    "NetworkPolicy",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "Secret",
    "Service",
}


class Runtime:
    """Every pod that runs, by uid."""

    def __init__(self, home: Home) -> None:
        self._home = home
        stop_containers(home)
        home.pods.mkdir(exist_ok=True)
        home.claims.mkdir(exist_ok=True)
        self._network = Network.claimed(home.root)
        self._programs = ensure()
        self._api = Watched(control_plane.api(home))
        self._api.watch(_KINDS)
        self._pods: dict[str, Pod] = {}
        self._forwards = Forwards()
        self._routes = Routes(self._api, self._network, self._pods, home)
        kubelet_api.serve(home, self._container, self._pod)

    def reconcile(self) -> None:
        """Start and forget pods, and bring names and forwards up to date."""
        objects = self._api.list("Pod")
        present = {pod["metadata"]["uid"] for pod in objects}
        for uid, pod in list(self._pods.items()):
            if uid not in present and not pod.thread.is_alive():
                del self._pods[uid]
        for folder in self._home.pods.iterdir():
            if folder.is_dir() and folder.name not in present | self._pods.keys():
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(self._home.pod_sockets(folder.name), ignore_errors=True)
        volumes = {volume["metadata"]["name"] for volume in self._api.list("PersistentVolume")}
        forget_volumes(self._home.claims, volumes, control_plane.api(self._home))
        network_file.write_names(self._home, self._routes.names())
        for pod in objects:
            uid = pod["metadata"]["uid"]
            if marked_to_run(pod) and uid not in self._pods:
                made = Pod(pod, self._address(pod), self._home, self._api, self._network, self._programs)
                self._pods[uid] = made
                made.resolves = self._routes.resolves(made)
                made.start()
        for pod in self._pods.values():
            pod.resolves = self._routes.resolves(pod)
        self._forwards.set(self._routes.routes())

    def _pod(self, namespace: str, name: str) -> Pod | None:
        found = (pod for pod in list(self._pods.values()) if (pod.namespace, pod.name) == (namespace, name))
        return next(found, None)

    def _container(self, namespace: str, name: str, container: str) -> tuple[Pod, Container] | None:
        pod = self._pod(namespace, name)
        if pod is None:
            return None
        runs = (each for each in [*pod.containers, *pod.inits] if each.name == container and not each.played)
        return next(((pod, each) for each in runs), None)

    def run(self) -> None:
        """Reconcile at every change, and once a second, until a signal ends the process."""
        failure = ""
        while True:
            try:
                self.reconcile()
                failure = ""
            except Exception as error:
                if failure != repr(error):
                    _LOG.exception("trying again")
                failure = repr(error)
            self._api.wait(_TICK_SECONDS)
            time.sleep(_SETTLE_SECONDS)

    def stop(self) -> None:
        """End every process."""
        deadline = time.monotonic() + _STOP_SECONDS
        for pod in self._pods.values():
            pod.stop()
        for pod in self._pods.values():  # one that is starting a container starts it yet
            pod.thread.join(max(deadline - time.monotonic(), 0))
        for pod in self._pods.values():
            pod.finish(deadline)

    def _address(self, pod: dict[str, dict[str, str]]) -> str:
        taken = {pod.address for pod in self._pods.values()}
        kept = pod.get("status", {}).get("podIP", "")
        return kept if kept and runs(kept) and kept not in taken else free_address(taken)


def forget_volumes(claims: Path, known: Set[str], api: Client) -> None:
    """Remove the folders of PersistentVolumes that are gone.

    `known` are the names that the watch has seen. It can be behind that of the pods, so that the others are asked for.
    Raises ApiError and Unreachable.
    """
    for folder in claims.iterdir():
        if folder.name not in known:
            try:
                api.get(f"/api/v1/persistentvolumes/{folder.name}")
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                shutil.rmtree(folder, ignore_errors=True)


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Stopped


def main() -> None:
    home = Home.from_env()
    form = "%(asctime)s %(name)s %(levelname)s %(message)s"
    logging.basicConfig(format=form, level=logging.INFO, stream=sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    runtime = None
    try:
        runtime = Runtime(home)
        home.pods_ready.touch()
        _LOG.info("ready")
        runtime.run()
    except _Stopped:
        _LOG.info("stopping")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        home.pods_ready.unlink(missing_ok=True)
        if runtime:
            runtime.stop()
        stop_containers(home)
        home.kubelet_socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
