"""The probes of one running container: when each is tried, and what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from sandbox.cluster.client import Json
from sandbox.nodes.pods.probes import Tally, Try, Verdict

Kind = Literal["startup", "readiness", "liveness"]
KINDS: tuple[Kind, ...] = ("startup", "readiness", "liveness")


class Failure(NamedTuple):
    """A try that failed, to be told in an event."""

    kind: Kind
    output: str


class Probing:
    """Tries a container's probes when they are due, each in a thread, and keeps their verdicts."""

    def __init__(self, spec: Json, attempt: Callable[[Json], Try]) -> None:
        self._attempt = attempt
        self._probes: dict[Kind, Json] = {
            kind: spec[f"{kind}Probe"] for kind in KINDS if f"{kind}Probe" in spec
        }
        self._tallies = {kind: Tally(probe) for kind, probe in self._probes.items()}
        now = time.monotonic()
        self._due = {kind: now + probe.get("initialDelaySeconds", 0) for kind, probe in self._probes.items()}
        self._busy: set[Kind] = set()
        self._failures: list[Failure] = []
        self._told: dict[Kind, str] = {}
        self._lock = threading.Lock()

    @property
    def started(self) -> bool:
        """Whether the startup probe has succeeded, where there is one."""
        return "startup" not in self._probes or self._tallies["startup"].verdict is Verdict.SUCCESS

    @property
    def ready(self) -> bool:
        """Whether the readiness probe says so; without one, once it is started."""
        if not self.started:
            return False
        return "readiness" not in self._probes or self._tallies["readiness"].verdict is Verdict.SUCCESS

    @property
    def doomed(self) -> Kind | None:
        """The probe for whose failure the container is to be restarted."""
        for kind in ("startup", "liveness"):
            if kind in self._probes and self._tallies[kind].verdict is Verdict.FAILURE:
                return kind
        return None

    def grace(self, kind: Kind) -> int | None:
        """The probe's own grace period, in seconds."""
        return self._probes[kind].get("terminationGracePeriodSeconds")

    def run(self) -> None:
        """Begin the tries that are due."""
        now = time.monotonic()
        for kind, probe in self._probes.items():
            waits = kind != "startup" and not self.started
            done = kind == "startup" and self.started
            if waits or done or kind in self._busy or now < self._due[kind]:
                continue
            self._due[kind] = now + probe.get("periodSeconds", 10)
            self._busy.add(kind)
            threading.Thread(target=self._try, args=(kind, probe), daemon=True).start()

    def failures(self) -> Iterator[Failure]:
        """Failed tries since the last call that say something new."""
        with self._lock:
            failures, self._failures = self._failures, []
        for failure in failures:
            if self._told.get(failure.kind) != failure.output:
                self._told[failure.kind] = failure.output
                yield failure

    def _try(self, kind: Kind, probe: Json) -> None:
        try:
            found = self._attempt(probe)
        except Exception as error:
            found = Try(False, str(error))
        self._tallies[kind].add(found.succeeded)
        if not found.succeeded:
            with self._lock:
                self._failures.append(Failure(kind, found.output))
        self._busy.discard(kind)
