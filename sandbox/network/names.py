"""The cluster's DNS: every name that it would answer, with the addresses in the API.

https://github.com/kubernetes/dns/blob/master/docs/specification.md. What it does not do: SRV and PTR records, ExternalName
Services, names of pods by their address, any name outside the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.cluster.client import Json

DOMAIN = "cluster.local"
RESOLVER = "10.0.0.10"
"""kube-dns' address, as policies see it."""


def names(services: Iterable[Json], slices: Iterable[Json]) -> dict[str, list[str]]:
    """Every name with its addresses: Services' own, and of headless ones their ready pods'."""
    ready: dict[tuple[str, str], list[Json]] = {}
    for slice_ in slices:
        service = slice_["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
        ready.setdefault((slice_["metadata"]["namespace"], service), []).extend(slice_.get("endpoints") or [])
    found: dict[str, list[str]] = {}
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        full = f"{name}.{namespace}.svc.{DOMAIN}"
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            found[full] = [address]
        elif address == "None":
            for endpoint in ready.get((namespace, name), []):
                if endpoint.get("conditions", {}).get("ready"):
                    found.setdefault(full, []).extend(endpoint["addresses"])
                    if endpoint.get("hostname"):
                        found[f"{endpoint['hostname']}.{full}"] = list(endpoint["addresses"])
    return found


def search(namespace: str) -> list[str]:
    """The domains in which a pod of a namespace looks a name up."""
    return [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
