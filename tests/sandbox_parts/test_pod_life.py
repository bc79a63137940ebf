"""A pod's life as processes: start, probes, restarts with back-off, termination, and what its status says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.containers import images, names
from sandbox.containers.launch import Launch, NotFoundError
from sandbox.network.addresses import Network
from sandbox.nodes.pods import process
from sandbox.nodes.pods.pod import Pod
from sandbox.nodes.pods.process import Program
from sandbox.paths import Home
from sandbox.processes import began_at
from tests.support.fake_cluster import FakeCluster

Json = dict[str, Any]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods run on Linux")


class Started:
    """Starts pods whose containers are shell commands, and ends them."""

    def __init__(self, folder: Path, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.pods: list[Pod] = []
        self._home = Home(folder)
        self._home.pods.mkdir()
        self._home.claims.mkdir()

    def __call__(self, *containers: Json, name: str = "p", **spec: Any) -> Pod:
        made = [{"image": "known", "name": "c", **container} for container in containers]
        spec = {"containers": made, "nodeName": "node", "enableServiceLinks": False, **spec}
        item = self.cluster.add("Pod", name, "n", spec=spec, status={"phase": "Pending"})
        number = len(self.pods) + 1
        pod = Pod(item, f"10.8.128.{number}", self._home, self.cluster, Network(203), None)  # pyright: ignore[reportArgumentType]
        self.pods.append(pod)
        pod.start()
        return pod

    def status(self, name: str = "p") -> Json:
        found = self.cluster.get("Pod", "n", name)
        return found["status"] if found else {}

    def container(self, name: str = "p") -> Json:
        return next(iter(self.status(name).get("containerStatuses", [])), {})

    def ready(self) -> bool:
        conditions = {
            condition["type"]: condition["status"] for condition in self.status().get("conditions", [])
        }
        return conditions.get("Ready") == "True"


def program(launch: Launch) -> Program:
    words = [*launch.words, *launch.arguments]
    if words[0] == "missing":
        raise NotFoundError(words[0])
    return Program(["/bin/sh", "-c", *words], {"PATH": os.environ["PATH"], **launch.variables}, launch.folder)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    monkeypatch.setattr(names, "known", lambda container: container["image"] == "known")
    monkeypatch.setattr(images, "program", program)
    monkeypatch.setattr(images, "command", lambda launch, words: words)
    cluster = FakeCluster()
    cluster.add("Node", "node", status={"addresses": [{"type": "InternalIP", "address": "10.1.0.1"}]})
    made = Started(tmp_path, cluster)
    yield made
    for pod in made.pods:
        pod.stop()
        pod.finish(time.monotonic() + 2)


def until(found: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert value
    return value


def test_a_pod_runs_to_its_end(start: Started) -> None:
    variable = {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    pod = start({"command": ["echo $WHO"], "env": [variable]}, restartPolicy="Never")
    until(lambda: start.status().get("phase") == "Succeeded")
    assert pod.containers[0].log().read_text() == "10.8.128.1\n"
    assert start.container()["state"]["terminated"] == {
        **start.container()["state"]["terminated"],
        "exitCode": 0,
        "reason": "Completed",
    }
    assert start.status()["podIP"] == "10.8.128.1"
    assert ("Normal", "Started", "Container started") in start.cluster.events


def test_a_pod_that_fails_says_how(start: Started) -> None:
    start(
        {"command": ["echo why; exit 3"], "terminationMessagePolicy": "FallbackToLogsOnError"},
        restartPolicy="Never",
    )
    until(lambda: start.status().get("phase") == "Failed")
    terminated = start.container()["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"], terminated["message"]) == (3, "Error", "why")


def test_restarts_back_off(start: Started) -> None:
    pod = start({"command": ["exit 1"]})
    waiting = until(lambda: start.container().get("state", {}).get("waiting"))
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"].startswith("back-off 10s restarting failed container=c pod=p_n(uid-Pod-p)")
    assert start.container()["restartCount"] == 1  # the first restart comes at once
    assert start.status()["phase"] == "Running"
    time.sleep(0.5)
    assert start.container()["restartCount"] == 1
    assert pod.containers[0].log(1).exists()


def test_a_command_that_is_not_in_the_image(start: Started) -> None:
    start({"command": ["missing"]}, restartPolicy="Never")
    until(lambda: start.status().get("phase") == "Failed")
    terminated = start.container()["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 128)
    assert 'exec: "missing": executable file not found in $PATH' in terminated["message"]


def test_what_is_missing_keeps_a_container_from_being_made(start: Started) -> None:
    reference = {"secretKeyRef": {"name": "none", "key": "k"}}
    start({"command": ["true"], "env": [{"name": "V", "valueFrom": reference}]})
    waiting = until(lambda: start.container().get("state", {}).get("waiting", {}).get("message"))
    assert waiting == 'secret "none" not found'
    assert start.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    assert ("Warning", "Failed", 'Error: secret "none" not found') in start.cluster.events
    start.cluster.add("Secret", "none", "n", data={"k": "eA=="})
    until(lambda: start.container()["state"].get("terminated") or start.container()["restartCount"])


def test_readiness_and_liveness(start: Started, tmp_path: Path) -> None:
    well, ready = tmp_path / "well", tmp_path / "ready"
    well.touch()
    quick = {"periodSeconds": 0.1, "failureThreshold": 1}
    start(
        {
            "command": ["sleep 60"],
            "startupProbe": {"exec": {"command": ["test", "-e", str(well)]}, **quick},
            "readinessProbe": {"exec": {"command": ["test", "-e", str(ready)]}, **quick},
            "livenessProbe": {"exec": {"command": ["test", "-e", str(well)]}, **quick},
        },
        terminationGracePeriodSeconds=1,
    )
    until(lambda: start.container().get("started"))
    assert not start.ready()
    ready.touch()
    until(start.ready)
    ready.unlink()
    until(lambda: not start.ready())
    well.unlink()
    until(lambda: start.container()["restartCount"] == 1)
    assert start.container()["lastState"]["terminated"]["exitCode"] == 143
    assert (
        "Normal",
        "Killing",
        "Container c failed liveness probe, will be restarted",
    ) in start.cluster.events


def test_init_containers_come_first_one_after_another(start: Started) -> None:
    pod = start(
        {"command": ["date +%s%N"]},
        initContainers=[
            {"name": "a", "image": "known", "command": ["sleep 0.3; date +%s%N"]},
            {"name": "b", "image": "unknown"},
            {"name": "d", "image": "known", "command": ["date +%s%N"]},
        ],
        restartPolicy="Never",
    )
    until(lambda: start.status().get("phase") == "Succeeded")
    first, third = (int(pod.inits[at].log().read_text()) for at in (0, 2))
    assert first < third < int(pod.containers[0].log().read_text())


def test_containers_of_unknown_images_are_played(start: Started) -> None:
    start({"command": ["sleep 60"]}, {"name": "sidecar", "image": "unknown"})
    until(start.ready)
    states = {
        container["name"]: list(container["state"]) for container in start.status()["containerStatuses"]
    }
    assert states == {"c": ["running"], "sidecar": ["running"]}


def delete(start: Started, grace: int) -> None:
    item = start.cluster.items["Pod", "n", "p"]
    start.cluster.patch(
        "Pod", item, {"metadata": {"deletionTimestamp": "now", "deletionGracePeriodSeconds": grace}}
    )


def test_a_deleted_pod_is_told_and_waited_for(start: Started, tmp_path: Path) -> None:
    trap = (
        f"trap 'sleep 0.3; echo done >> {tmp_path}/said; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    )
    hook = {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {tmp_path}/said"]}}}
    pod = start({"command": [trap], "lifecycle": hook})
    until(lambda: pod.containers[0].log().exists() and pod.containers[0].log().read_text())
    delete(start, 30)
    until(lambda: start.cluster.get("Pod", "n", "p") is None)
    assert (tmp_path / "said").read_text() == "hook\ndone\n"


def test_a_pod_that_does_not_end_is_killed_after_its_grace_period(start: Started) -> None:
    pod = start({"command": ["trap '' TERM; echo up; while :; do sleep 0.05; done"]})
    until(lambda: pod.containers[0].log().exists() and pod.containers[0].log().read_text())
    begin = time.monotonic()
    delete(start, 1)
    until(lambda: start.cluster.get("Pod", "n", "p") is None)
    assert 1 <= time.monotonic() - begin < 5


def test_no_process_outlives_its_container(start: Started) -> None:
    pod = start({"command": ["sleep 61 & echo $!; exit 0"]}, restartPolicy="Never")
    until(lambda: start.status().get("phase") == "Succeeded")
    child = int(pod.containers[0].log().read_text())
    until(
        lambda: (
            not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text()
        )
    )


def runs(process: int) -> bool:
    try:
        began_at(process)
    except OSError:
        return False
    return True


def test_what_a_probe_started_ends_with_its_time(start: Started, tmp_path: Path) -> None:
    words = ["sh", "-c", f"sleep 62 & echo $! >> {tmp_path}/started; wait"]
    probe = {"exec": {"command": words}, "timeoutSeconds": 0.2, "periodSeconds": 60}
    start({"command": ["sleep 60"], "readinessProbe": probe})
    until(lambda: any(reason == "Unhealthy" for _, reason, _ in start.cluster.events))
    child = int((tmp_path / "started").read_text())
    until(lambda: not runs(child))


def test_a_command_beside_a_container_ends_with_it(start: Started) -> None:
    pod = start({"command": ["sleep 0.5"]}, restartPolicy="Never")
    until(lambda: start.status().get("phase") == "Running")
    none = subprocess.DEVNULL
    beside = pod.containers[0].spawn(["sleep", "63"], stdin=none, stdout=none, stderr=none)
    until(lambda: start.status().get("phase") == "Succeeded")
    assert beside.wait(5) == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be another user")
def test_a_command_beside_a_container_has_its_user(start: Started) -> None:
    pod = start({"command": ["sleep 60"]}, securityContext={"runAsUser": 65534})
    until(start.ready)
    assert pod.containers[0].execute(["id", "-u"], 5) == (0, "65534\n")


def test_a_volume_that_cannot_be_brought_up_to_date_stops_no_container(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.nodes.pods.pod._REFRESH_SECONDS", 0.2)
    start.cluster.add("Secret", "keys", "n", data={"k": "eA=="})
    volume = {"name": "v", "secret": {"secretName": "keys"}}
    start({"command": ["sleep 1"]}, volumes=[volume], restartPolicy="Never")
    until(lambda: start.status().get("phase") == "Running")
    del start.cluster.items["Secret", "n", "keys"]
    until(lambda: start.status().get("phase") == "Succeeded")
    failed = 'MountVolume.SetUp failed: secret "keys" not found'
    assert ("Warning", "FailedMount", failed) in start.cluster.events


def test_sidecars_end_after_the_others(start: Started) -> None:
    trap = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    sidecar = {"image": "known", "restartPolicy": "Always"}
    pod = start(
        {"command": ["sleep 0.5"]},
        initContainers=[
            {"name": "s", "command": [trap], **sidecar},
            {**sidecar, "name": "t", "image": "unknown"},
        ],
        restartPolicy="Never",
    )
    until(lambda: start.status().get("phase") == "Succeeded")
    assert pod.inits[0].log().read_text() == "up\ntold\n"
    ended = [
        container["state"]["terminated"]["exitCode"] for container in start.status()["initContainerStatuses"]
    ]
    assert ended == [0, 0]


def test_a_failing_sidecar_does_not_hide_the_others(start: Started) -> None:
    start(
        {"command": ["sleep 1"]},
        initContainers=[
            {"name": "s", "image": "known", "command": ["sleep 0.3; exit 1"], "restartPolicy": "Always"}
        ],
        restartPolicy="Never",
    )
    phases: list[str] = []
    until(lambda: phases.append(start.status()["phase"]) or phases[-1] == "Succeeded")
    # How it began may be over before it is first looked at.
    seen = [phase for at, phase in enumerate(phases) if phase not in phases[:at]]
    assert seen[-2:] == ["Running", "Succeeded"]
    assert seen[:-2] in ([], ["Pending"])


def test_a_pod_of_the_same_name_is_another(start: Started) -> None:
    pod = start({"command": ["sleep 60"]})
    until(start.ready)
    start.cluster.add("Pod", "p", "n", metadata={"uid": "other"}, spec={}, status={"phase": "Pending"})
    until(lambda: not pod.thread.is_alive())
    assert not pod.containers[0].running
    assert start.status() == {"phase": "Pending"}


def test_a_pod_starts_again_with_its_sandbox(start: Started) -> None:
    started = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    before = {"name": "c", "containerID": "x", "restartCount": 2, "state": started}
    item = start.cluster.add(
        "Pod",
        "p",
        "n",
        spec={"containers": [{"name": "c", "image": "known", "command": ["sleep 60"]}], "nodeName": "node"},
        status={"phase": "Running", "containerStatuses": [before]},
    )
    pod = Pod(item, "10.8.128.1", start._home, start.cluster, Network(203), None)  # pyright: ignore
    start.pods.append(pod)
    pod.start()
    until(start.ready)
    assert start.container()["restartCount"] == 3
    assert start.container()["lastState"]["terminated"]["reason"] == "Unknown"


def test_back_off_grows_to_five_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    container = process.Container({"name": "c", "image": "known"}, tmp_path, "mark")
    monkeypatch.setattr(process.time, "monotonic", lambda: 1000.0)
    delays: list[float] = []
    for _ in range(8):
        container.over(1)
        container.schedule_restart()
        delays.append(container.not_before - 1000.0)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
