"""One pod that runs, from its binding to a node until its deletion: the kubelet's pod worker.

What it does not do: keep to activeDeadlineSeconds (a Job's own is the Job controller's), evict, preempt, resize, restart a
single container by rules of its own (restartPolicyRules), ephemeral containers, postStart hooks (a container with one is
refused). A container whose image the sandbox does not know is played: it runs without a process, and is ready.
"""

from __future__ import annotations

import http.client
import logging
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from sandbox.cluster.client import ApiError, Json, Unreachable
from sandbox.cluster.watched import Watched
from sandbox.containers import images, names
from sandbox.containers.launch import Launch, NotFoundError
from sandbox.network.addresses import Network, here
from sandbox.nodes.pods import network_file, probes, status, variables
from sandbox.nodes.pods.probing import Probing
from sandbox.nodes.pods.process import Container, StartError
from sandbox.nodes.pods.variables import ConfigError
from sandbox.nodes.pods.volumes import Volumes
from sandbox.paths import Home
from sandbox.toolchain.containers import Containers

_LOG = logging.getLogger(__name__)
_TICK = 0.1
_REFRESH_SECONDS = 60.0
"""How often the contents of Secrets and ConfigMaps are brought into volumes, as the kubelet does."""


class Pod:
    """Runs one pod in a thread of its own, from `start` on. `stop` ends it with the sandbox, and leaves the object."""

    def __init__(
        self, pod: Json, address: str, home: Home, api: Watched, network: Network, programs: Containers
    ) -> None:
        self.address = address
        self.uid: str = pod["metadata"]["uid"]
        self.folder = home.pods / self.uid
        self._key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._pod = pod
        self._home = home
        self._api = api
        self._network = network
        self._programs = programs
        self._volumes = Volumes(pod, self.folder, home.claims, api, self._token)
        self._probing: dict[str, Probing] = {}
        self._launches: dict[str, Launch] = {}
        self._said: set[tuple[str, str]] = set()
        self._sent: Json = {}
        self._refreshed = 0.0
        self._stopping = threading.Event()
        self.resolves = False
        """Whether it may ask for names."""
        self._told_resolves: bool | None = None
        self.inits = [self._container(spec, True) for spec in pod["spec"].get("initContainers", [])]
        self.containers = [self._container(spec, False) for spec in pod["spec"]["containers"]]
        self.thread = threading.Thread(target=self._run, name=f"pod-{self._key[1]}", daemon=True)

    def start(self) -> None:
        """Start the pod's thread."""
        self.thread.start()

    @property
    def namespace(self) -> str:
        return self._key[0]

    @property
    def process_address(self) -> str:
        """Where its processes listen."""
        return self._network.process(self.address)

    @property
    def name(self) -> str:
        return self._key[1]

    @property
    def labels(self) -> dict[str, str]:
        return self._pod["metadata"].get("labels", {})

    @property
    def ports(self) -> list[int]:
        """The ports that its containers declare."""
        return [port["containerPort"] for _, port in self._declared()]

    @property
    def named_ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for _, port in self._declared() if "name" in port}

    def _declared(self) -> Iterator[tuple[Container, Json]]:
        for container in [*self.inits, *self.containers]:
            for port in container.spec.get("ports", []):
                yield container, port

    def stop(self) -> None:
        """End the processes; the pod runs again with the sandbox."""
        self._stopping.set()
        for container in [*self.containers, *self.inits]:
            container.signal(signal.SIGTERM)

    def command(self, container: Container, words: list[str]) -> list[str]:
        """A command in a running container as one of this machine. Raises NotFoundError."""
        return images.command(self._launches[container.name], words)

    def finish(self, deadline: float) -> None:
        """Wait until the processes have ended, at most until the monotonic time `deadline`, then kill them."""
        for container in [*self.containers, *self.inits]:
            container.wait(deadline - time.monotonic())
            container.kill()

    def _container(self, spec: Json, init: bool) -> Container:
        mark = f"{self._home.root}:{self._key[1]}/{spec['name']}"
        made = Container(spec, self.folder / spec["name"], mark, init=init, played=not names.known(spec))
        kind = "initContainerStatuses" if init else "containerStatuses"
        before = {known["name"]: known for known in self._pod["status"].get(kind, [])}.get(spec["name"])
        if before and before.get("containerID"):  # it ran when the sandbox was stopped
            made.restarts = before["restartCount"]
            made.state = before["state"]
            made.last_state = before.get("lastState", {})
            if "running" in made.state:
                made.over(255, "Unknown")
                made.again()
                made.state = {"waiting": {"reason": "ContainerCreating"}}
        return made

    def _run(self) -> None:
        failure = ""
        while not self._stopping.is_set():
            try:
                current = self._current()
                self._pod = current or self._pod
                if current is None or "deletionTimestamp" in current["metadata"]:
                    self._terminate()
                    return
                self._step()
                self._report()
                failure = ""
            except ConfigError as error:
                self._say_unmounted(error)
            except (ApiError, Unreachable) as error:
                if failure != repr(error):
                    _LOG.warning("pod %s: %s", self._key[1], error)
                failure = repr(error)
                self._stopping.wait(1)
            except Exception:
                _LOG.exception("pod %s", self._key[1])
                self._stopping.wait(1)
            self._stopping.wait(_TICK)

    def _current(self) -> Json | None:
        """The pod's object; None once it is gone, though another pod may have its name by then."""
        found = self._api.get("Pod", *self._key)
        return found if found and found["metadata"]["uid"] == self.uid else None

    def _step(self) -> None:
        if self._is_over():
            return
        resolves = self.resolves
        if resolves != self._told_resolves:
            self.folder.mkdir(parents=True, exist_ok=True)
            network_file.write(self.folder, self._pod, self.address, self._network, self._home, resolves)
            self._told_resolves = resolves
        if not self._refreshed:
            self._volumes.write()
            self._refreshed = time.monotonic()
        elif time.monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._refreshed = time.monotonic()
            try:
                self._volumes.write()
            except ConfigError as error:  # what is mounted stays, and the containers with it
                self._say_unmounted(error)
        for container in self.inits:
            self._sync(container)
            done = (
                container.started
                if container.sidecar
                else container.state.get("terminated", {}).get("exitCode") == 0
            )
            if not done and not any(main.running for main in self.containers):
                return
        for container in self.containers:
            self._sync(container)
        if self._is_over():
            for container in reversed(self.inits):
                if container.running:
                    self._end(container, self._pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _is_over(self) -> bool:
        return status.phase(self._pod, self.inits, self.containers) in ("Succeeded", "Failed")

    def _sync(self, container: Container) -> None:
        if container.running:
            if container.ended():
                self._probing.pop(container.name, None)
                self._after_exit(container)
            else:
                self._probe(container)
            return
        if self._stopping.is_set() or not self._may_run(container):
            return
        if time.monotonic() < container.not_before:
            if container.state.get("waiting", {}).get("reason") != "CrashLoopBackOff":
                container.wait_for_restart(self._pod)
                self._say("BackOff", container.state["waiting"]["message"], again=True)
            return
        if (
            "terminated" in container.state
            or container.state.get("waiting", {}).get("reason") == "CrashLoopBackOff"
        ):
            container.again()
        self._start(container)

    def _may_run(self, container: Container) -> bool:
        if "waiting" in container.state:
            return True
        if container.init:
            return container.sidecar or (
                container.exit_code != 0 and self._pod["spec"].get("restartPolicy", "Always") != "Never"
            )
        match self._pod["spec"].get("restartPolicy", "Always"):
            case "Always":
                return True
            case "OnFailure":
                return container.exit_code != 0
            case _:
                return False

    def _after_exit(self, container: Container) -> None:
        if self._may_run(container):
            container.schedule_restart()

    def _start(self, container: Container) -> None:
        if container.played:
            container.play()
            container.started = container.ready = container.running
            return
        metadata = self._pod["metadata"]
        try:
            if "postStart" in container.spec.get("lifecycle", {}):
                raise ConfigError("lifecycle.postStart is not emulated by the sandbox")
            node = self._api.get("Node", "", self._pod["spec"]["nodeName"])
            # Its address is the pod's before the API has it.
            pod = {**self._pod, "status": {**self._pod["status"], "podIP": self.address}}
            values = variables.environment(pod, container.spec, self._api, node)
            mounts = self._volumes.mounts(container.spec, values)
        except ConfigError as error:
            container.state = {"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}}
            self._say("Failed", f"Error: {error}")
            container.not_before = time.monotonic() + 2
            return
        words, arguments = variables.command(container.spec, values)
        launch = Launch(
            home=self._home.root,
            folder=container.folder / "root",
            pod_file=network_file.path(self.folder),
            address=self._network.process(self.address),
            pod=self._pod,
            container=container.spec,
            words=words,
            arguments=arguments,
            variables={"HOSTNAME": self._pod["spec"].get("hostname") or metadata["name"], **values},
            mounts=mounts,
            programs=self._programs,
        )
        self._launches[container.name] = launch
        security = {
            **self._pod["spec"].get("securityContext", {}),
            **container.spec.get("securityContext", {}),
        }
        groups = [security[key] for key in ("runAsGroup", "fsGroup") if key in security]
        self._say(
            "Pulled", f'Container image "{container.spec["image"]}" already present on machine', normal=True
        )
        try:
            launch.folder.mkdir(parents=True, exist_ok=True)
            container.start(images.program(launch), security.get("runAsUser"), groups)
        except (NotFoundError, StartError) as error:
            container.log().touch()
            container.over(128, "StartError", str(error))
            self._say("Failed", f"Error: {error}")
            self._after_exit(container)
            return
        self._say("Started", "Container started", normal=True, again=True)
        attempt = partial(self._attempt, container)
        self._probing[container.name] = Probing(container.spec, attempt)
        self._probe(container)

    def _attempt(self, container: Container, probe: Json) -> probes.Try:
        for action in ("httpGet", "tcpSocket"):
            if action in probe:
                port = here(probes.port_of(probe[action]["port"], container.spec))
                probe = {**probe, action: {**probe[action], "port": port}}
        address = self._network.process(self.address)
        return probes.attempt(probe, container.spec, address, self.address, partial(self._execute, container))

    def _execute(self, container: Container, words: list[str], timeout: float) -> tuple[int, str]:
        try:
            return container.execute(self.command(container, words), timeout)
        except NotFoundError as error:
            return 126, str(error)

    def _probe(self, container: Container) -> None:
        probing = self._probing.get(container.name)
        if probing is None:
            return
        probing.run()
        container.started, container.ready = probing.started, probing.ready
        for failure in probing.failures():
            text = f"{failure.kind.capitalize()} probe failed: {failure.output}"
            self._say("Unhealthy", text, again=True)
        if kind := probing.doomed:
            text = f"Container {container.name} failed {kind} probe, will be restarted"
            self._say("Killing", text, normal=True, again=True)
            grace = probing.grace(kind) or self._pod["spec"].get("terminationGracePeriodSeconds", 30)
            del self._probing[container.name]
            self._kill(container, grace)

    def _kill(self, container: Container, grace: float) -> None:
        """Stop one container: its preStop hook, SIGTERM, and at the end of the grace period SIGKILL."""
        deadline = time.monotonic() + grace
        hook = container.spec.get("lifecycle", {}).get("preStop", {})
        if container.running and hook and container.program:
            self._pre_stop(container, hook, grace)
        container.signal(signal.SIGTERM)
        while not container.wait(0.1):
            if time.monotonic() > deadline or self._stopping.is_set():
                container.kill()

    def _end(self, container: Container, grace: float) -> None:
        """Stop one container for good."""
        self._kill(container, grace)
        if not container.ended() and container.running:  # it is played
            container.over(0)

    def _pre_stop(self, container: Container, hook: Json, grace: float) -> None:
        try:
            if "exec" in hook:
                code, output = self._execute(container, hook["exec"]["command"], grace)
                if code:
                    self._say("FailedPreStopHook", f"PreStopHook failed: exit code {code}: {output[:200]}")
            elif "sleep" in hook:
                self._stopping.wait(min(hook["sleep"]["seconds"], grace))
            elif "httpGet" in hook:
                port = here(probes.port_of(hook["httpGet"]["port"], container.spec))
                host = self._network.process(self.address)
                connection = http.client.HTTPConnection(host, port, timeout=grace)
                connection.request("GET", hook["httpGet"].get("path", "/"))
                connection.getresponse().read()
        except (OSError, TimeoutError, ValueError, http.client.HTTPException) as error:
            self._say("FailedPreStopHook", f"PreStopHook failed: {error}")

    def _terminate(self) -> None:
        grace = self._pod["metadata"].get("deletionGracePeriodSeconds")
        if grace is None:
            grace = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        self._probing.clear()
        for container in (
            container for container in self.containers if container.running and not container.played
        ):
            self._say("Killing", f"Stopping container {container.name}", normal=True)
        mains = [container for container in self.containers if container.running]
        sidecars = [container for container in self.inits if container.running]
        for group in (mains, sidecars):
            killing = [threading.Thread(target=self._end, args=(container, grace)) for container in group]
            for thread in killing:
                thread.start()
            for thread in killing:
                thread.join()
        if self._stopping.is_set() or self._current() is None:
            return
        self._report()
        if current := self._current():
            self._api.delete("Pod", current, grace_seconds=0)

    def _report(self) -> None:
        node = self._api.get("Node", "", self._pod["spec"]["nodeName"])
        host = (
            next((address["address"] for address in node["status"].get("addresses", [])), "") if node else ""
        )
        made = status.status(self._pod, self.inits, self.containers, self.address, host)
        changed = made != self._sent or self._pod["status"].get("phase") != made["phase"]
        if changed and self._api.patch("Pod", self._pod, {"status": made}, "/status"):
            self._sent = made

    def _say_unmounted(self, error: ConfigError) -> None:
        self._say("FailedMount", f"MountVolume.SetUp failed: {error}")

    def _say(self, reason: str, message: str, normal: bool = False, again: bool = False) -> None:
        if not again and (reason, message) in self._said:
            return
        self._said.add((reason, message))
        self._api.event("Pod", self._pod, "Normal" if normal else "Warning", reason, message, "kubelet")

    def _token(self, projection: Json) -> str:
        """A token of the pod's ServiceAccount, from the API."""
        metadata = self._pod["metadata"]
        account = self._pod["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec: dict[str, Any] = {
            "expirationSeconds": projection.get("expirationSeconds", 3600),
            "boundObjectRef": bound,
        }
        if "audience" in projection:
            spec["audiences"] = [projection["audience"]]
        return self._api.token(metadata["namespace"], account, spec)
