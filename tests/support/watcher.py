"""Records the order in which a namespace's Jobs and Deployments changed, by the API server's own revisions."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

import kubernetes
from kubernetes.client import AppsV1Api, BatchV1Api
from kubernetes.watch import Watch

from sandbox.paths import Home


class Watcher:
    """Objects as each event showed them; `metadata.resourceVersion` is etcd's revision, one order for all kinds."""

    def __init__(self, seen: Iterable[dict[str, Any]] = ()) -> None:
        self.seen = [*seen]
        self._done = threading.Event()

    @contextmanager
    def watching(self, home: Home, namespace: str = "llm-gateway") -> Generator[None]:
        """Watch while the block runs, from as soon as the control plane answers."""
        threads = [
            threading.Thread(target=self._follow, args=(home, namespace, list_), daemon=True)
            for list_ in ("list_namespaced_job", "list_namespaced_deployment")
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join(10)

    def _follow(self, home: Home, namespace: str, list_: str) -> None:
        while not self._done.is_set():
            with suppress(Exception):  # the control plane is still to come, or going
                api = kubernetes.config.new_client_from_config(str(home.kubeconfig))
                source = BatchV1Api(api) if "job" in list_ else AppsV1Api(api)
                events: Any = Watch().stream(getattr(source, list_), namespace, timeout_seconds=2)
                self.seen.extend(event["raw_object"] for event in events)
            time.sleep(0.1)

    def revisions(self, kind: str, name: str) -> list[tuple[int, dict[str, Any]]]:
        """(revision, object) of each state of an object, in order."""
        states = [body for body in self.seen if body["kind"] == kind and body["metadata"]["name"] == name]
        revisions = [(int(body["metadata"]["resourceVersion"]), body) for body in states]
        return sorted(revisions, key=lambda pair: pair[0])
