"""Where connections lead: a Service's to its ready pods, a pod's to its process, if NetworkPolicies let them.

What it does not do: session affinity, node ports, load balancers, UDP, ports that no container declares.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import urlsplit

from sandbox.cluster import control_plane
from sandbox.cluster.client import Json
from sandbox.cluster.watched import Watched
from sandbox.network import names
from sandbox.network.addresses import Network, here, runs
from sandbox.network.forwards import Place, Route
from sandbox.network.policies import End, Policies
from sandbox.nodes.pods.pod import Pod
from sandbox.paths import Home, write_atomically

USER = "127.0.0.1"


class Routes:
    """Reads the cluster for what leads where. `pods` are those that run, by uid."""

    def __init__(self, api: Watched, network: Network, pods: Mapping[str, Pod], home: Home) -> None:
        self._api = api
        self._network = network
        self._pods = pods
        self._home = home
        self._gateway_port = 0

    def names(self) -> dict[str, list[str]]:
        """Every name of the cluster's DNS."""
        return names.names(self._api.list("Service"), self._api.list("EndpointSlice"))

    def resolves(self, pod: Pod) -> bool:
        """Whether a pod may ask the cluster's DNS."""
        resolver = End(names.RESOLVER, "kube-system", {"k8s-app": "kube-dns"})
        return self._policies().allow(self._end(pod), resolver, 53, "UDP")

    def routes(self) -> dict[Place, Route]:
        """Every listener: of each Service port with a ready pod, and of each declared port of a pod."""
        found: dict[Place, Route] = {}
        slices: dict[tuple[str, str], list[Json]] = {}
        for slice_ in self._api.list("EndpointSlice"):
            service = slice_["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
            slices.setdefault((slice_["metadata"]["namespace"], service), []).append(slice_)
        for service in self._api.list("Service"):
            key = service["metadata"]["namespace"], service["metadata"]["name"]
            address = service["spec"].get("clusterIP", "None")
            if address in ("", "None"):
                continue
            for port in service["spec"].get("ports", []):
                targets = list(_targets(slices.get(key, []), port))
                if port.get("protocol", "TCP") == "TCP" and targets:
                    place = self._network.service(address), here(port["port"])
                    found[place] = partial(self._choose, targets)
        for pod in self._pods.values():
            for port in pod.ports:
                found[self._network.front(pod.address), here(port)] = partial(
                    self._choose, [(pod.address, port)]
                )
        found.update(self._gateway(slices))
        return found

    def _gateway(self, slices: Mapping[tuple[str, str], list[Json]]) -> Iterator[tuple[Place, Route]]:
        """The gateway on 127.0.0.1, for those who use it from this machine: as `kubectl port-forward` to its Service would."""
        for service in self._api.list("Service"):
            if service["metadata"].get("labels", {}).get("app.kubernetes.io/name") != "litellm":
                continue
            key = service["metadata"]["namespace"], service["metadata"]["name"]
            targets = list(_targets(slices.get(key, []), service["spec"]["ports"][0]))
            if not targets:
                continue
            if not self._gateway_port:
                self._gateway_port = _free_port(4000 + self._network.number)
                write_atomically(self._home.gateway_port, str(self._gateway_port))
            yield (USER, self._gateway_port), partial(self._first, targets)

    def _first(self, targets: list[Place], source: str) -> Place | None:
        del source
        for address, port in random.sample(targets, len(targets)):
            if runs(address):
                return self._network.process(address), here(port)
        return None

    def _choose(self, targets: list[Place], source: str) -> Place | None:
        address, port = random.choice(targets)  # noqa: S311 - as kube-proxy does
        pods = {pod.address: pod for pod in list(self._pods.values())}  # another thread adds to them
        client = pods.get(self._network.pod(source) or "")
        if client is None:
            return None  # no pod: a program that goes around the pod's network
        target = self._end(pods[address]) if address in pods else End(address)
        if not self._policies().allow(self._end(client), target, port):
            return None
        if address in pods:
            return self._network.process(address), here(port)
        return self._api_server(address, port)

    def _api_server(self, address: str, port: int) -> Place | None:
        """The API server, where that is what an address outside the pods' stands for."""
        for slice_ in self._api.list("EndpointSlice", "default"):
            known = [one for endpoint in slice_.get("endpoints") or [] for one in endpoint["addresses"]]
            if slice_["metadata"]["name"] == "kubernetes" and address in known and port == 443:
                server = urlsplit(control_plane.api(self._home).server)
                return (server.hostname or "", server.port or 443)
        return None

    def _end(self, pod: Pod) -> End:
        return End(pod.address, pod.namespace, pod.labels, pod.named_ports)

    def _policies(self) -> Policies:
        labels = {
            namespace["metadata"]["name"]: namespace["metadata"].get("labels", {})
            for namespace in self._api.list("Namespace")
        }
        return Policies(self._api.list("NetworkPolicy"), labels)


def _targets(slices: list[Json], port: Json) -> Iterator[Place]:
    """The addresses and ports of a Service port's ready endpoints."""
    for slice_ in slices:
        numbers = [
            found["port"]
            for found in slice_.get("ports") or []
            if (found.get("name") or "") == port.get("name", "")
        ]
        for endpoint in slice_.get("endpoints") or []:
            if endpoint.get("conditions", {}).get("ready", True):
                yield from ((address, number) for address in endpoint["addresses"] for number in numbers)


def _free_port(wanted: int) -> int:
    """A free port of 127.0.0.1: the wanted one, which is no other sandbox's, or any where another program has that."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((USER, wanted))
        except OSError:
            probe.bind((USER, 0))
        return probe.getsockname()[1]
