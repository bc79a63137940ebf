"""Prod for real, whose primary is killed under load, and whose whole database goes away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.driver import Sandbox
from tests.support.load import failures, is_accounted_for, loading, recorded
from tests.support.serving import (
    PODS_RUN,
    ask,
    calling,
    kubectl,
    new_keys,
    postgres,
    scale_postgres_operator,
)
from tests.support.waiting import wait_for

pytestmark = PODS_RUN

Json = dict[str, Any]
INSTANCES = ("litellm-pg-1", "litellm-pg-2", "litellm-pg-3")


class Write(NamedTuple):
    """A key that the proxy was asked to store: when (Unix time), and whether it did."""

    sent: float
    done: float
    succeeded: bool


@contextmanager
def writing(sandbox: Sandbox) -> Generator[list[Write]]:
    """Have the proxies store a key every half second: what needs the primary."""
    writes: list[Write] = []
    ended = threading.Event()

    def write_on(client: httpx.Client) -> None:
        while not ended.wait(0.5):
            sent = time.time()
            succeeded = is_written(client)
            writes.append(Write(sent, time.time(), succeeded))

    with calling(sandbox, sandbox.secret("litellm-master-key")) as client:
        thread = threading.Thread(target=write_on, args=[client])
        thread.start()
        try:
            yield writes
        finally:
            ended.set()
            thread.join()


def kill(sandbox: Sandbox, instance: str) -> None:
    """End an instance's processes at once, as a node that fails does."""
    uid = sandbox.namespaced("pods", "llm-gateway", instance)["metadata"]["uid"]
    note = sandbox.home.pods / uid / "postgres" / "process"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(int(note.read_text().split()[0]), signal.SIGKILL)


def primary(sandbox: Sandbox) -> str:
    return postgres(sandbox)["status"]["currentPrimary"]


def failed_over(sandbox: Sandbox, before: str) -> bool:
    """Kill a primary that is still one; whether another has taken over."""
    if primary(sandbox) != before:
        return True
    kill(sandbox, before)
    return False


def test_a_standby_takes_over_and_no_spend_is_lost(gateway: Sandbox) -> None:
    keys = new_keys(gateway, 2)
    before = primary(gateway)
    with loading(gateway.run("url").succeeded().text.strip(), keys) as answers, writing(gateway) as writes:
        # What the primary has acknowledged is to be there still, and what waits in the proxies' memory.
        wait_for(lambda: recorded(gateway, answers) and any(write.succeeded for write in writes), 60)
        killed = time.time()
        wait_for(lambda: failed_over(gateway, before), 60)
        back = wait_for(lambda: [each for each in writes if each.succeeded and each.sent > killed], 120)[0]
        so_far = len(answers)
        wait_for(lambda: len(answers) > so_far + 10, 120)
    print(f"{before}, then {primary(gateway)}: {back.done - killed:.1f} s without writes")
    print(f"{len(answers)} requests: {failures(answers)}")
    assert all(failure.startswith("503") for failure in failures(answers))
    is_accounted_for(gateway, answers, keys)
    wait_for(lambda: len(postgres(gateway)["status"]["instancesStatus"]["healthy"]) == 3, 120)


def test_prod_refuses_without_its_database_and_comes_back(gateway: Sandbox) -> None:
    used, unused = new_keys(gateway, 2)
    with calling(gateway, used) as client:
        for _ in range(6):  # both proxies have seen it
            ask(client).raise_for_status()
        scale_postgres_operator(gateway, 0)
        kubectl(gateway, "delete", "pod", *INSTANCES).succeeded()
        gone = time.time()
        refused = ask(client, unused)
        print(refused.status_code, refused.text)
        assert refused.status_code == 503
        error = json.loads(refused.text)["error"]
        assert "the authentication database is temporarily unreachable. Please retry" in error["message"]

        def unreachable() -> bool:
            try:
                return client.get("/health/readiness").status_code != 200 and not serving(gateway)
            except httpx.TransportError:
                return True

        wait_for(unreachable, 90)
        print(f"no proxy is ready after {time.time() - gone:.0f} s")
        scale_postgres_operator(gateway, 1)
        back = time.time()

        def answered() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return ask(client).is_success and ask(client, unused).is_success
            return False

        wait_for(answered, 180)
        print(f"answered {time.time() - back:.0f} s after the operator came back")
    # A proxy that found a standby at the address connects anew at most once in 15 s.
    with calling(gateway, gateway.secret("litellm-master-key")) as admin:
        wait_for(lambda: all(is_written(admin) for _ in range(8)), 90)
        print(f"wrote {time.time() - back:.0f} s after the operator came back")


def is_written(admin: httpx.Client) -> bool:
    """Whether a proxy stores a key now."""
    with contextlib.suppress(httpx.TransportError):
        return admin.post("/key/generate", json={"duration": "1h"}).is_success
    return False


def serving(sandbox: Sandbox) -> bool:
    """Whether the Service leads to any proxy."""
    slices = sandbox.namespaced("endpointslices", "llm-gateway", group="discovery.k8s.io/v1")["items"]
    label = "kubernetes.io/service-name"
    mine = [each for each in slices if each["metadata"]["labels"].get(label) == "litellm"]
    return any(end["conditions"]["ready"] for each in mine for end in each.get("endpoints") or [])
