"""GKE: NodePool on the emulated cloud. sandbox/nodes/node_pools.py makes its nodes.

What it does not do: quotas, networks, service accounts, boot images and Kubernetes versions are stored, not
checked or acted upon; an update takes effect on running nodes as that file says. `nodeCount` is not reported
for autoscaled pools, where the real provider reports what the autoscaler last made of it. Behaviour and
wording: hashicorp/terraform-provider-google, google/services/container.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.cluster.base_objects import region_of, zones_of
from sandbox.errors import SandboxError
from sandbox.google.cloud import CloudError
from sandbox.google.gke_cluster import check_name
from sandbox.google.resource import Json, Made, Resource, at, calling, invalid, not_emulated, one_of, parsed
from sandbox.nodes.gke_nodes import Pool
from sandbox.nodes.node_sizes import MACHINE_TYPES
from sandbox.plugins.values import UNKNOWN
from settings.machines import PARTITIONS

_CLUSTER = "projects/<project>/locations/<location>/clusters/<cluster>"
_POOL = f"{_CLUSTER}/nodePools/<pool>"
_CREATING = "error creating NodePool"
_MAX_PARALLEL_UPGRADES = 20
_NODE_DEFAULTS: Json = {
    "machineType": "e2-medium",
    "diskSizeGb": 100,
    "diskType": "pd-balanced",
    "imageType": "COS_CONTAINERD",
}
# But for what is not emulated.
_NODE_FORCE_NEW = (
    "guestAccelerators",
    "secondaryBootDisks",
    "metadata",
    "minCpuPlatform",
    "oauthScopes",
    "preemptible",
    "spot",
    "serviceAccount",
    "shieldedInstanceConfig",
    "bootDiskKmsKey",
    "hostMaintenancePolicy",
    "confidentialNodes.confidentialInstanceType",
    "enableConfidentialStorage",
    "localSsdEncryptionMode",
)
_NODE_COMPUTED = (
    "diskSizeGb",
    "diskType",
    "guestAccelerators",
    "imageType",
    "labels",
    "loggingVariant",
    "machineType",
    "metadata",
    "minCpuPlatform",
    "oauthScopes",
    "serviceAccount",
    "shieldedInstanceConfig",
    "workloadMetadataConfig",
)
_NETWORK_FORCE_NEW = (
    "acceleratorNetworkProfile",
    "createPodRange",
    "podRange",
    "podIpv4CidrBlock",
    "additionalNodeNetworkConfigs",
    "additionalPodNetworkConfigs",
    "podCidrOverprovisionConfig",
    "subnetwork",
)
# They would change where pods run or what a node offers.
_NOT_EMULATED = (
    "placementPolicy",
    "bestEffortProvisioning",
    "namePrefix",
    *(
        f"nodeConfig.{name}"
        for name in (
            "advancedMachineFeatures",
            "ephemeralStorageConfig",
            "ephemeralStorageLocalSsdConfig",
            "flexStart",
            "localNvmeSsdBlockConfig",
            "localSsdCount",
            "maxRunDuration",
            "nodeGroup",
            "reservationAffinity",
            "sandboxConfig",
            "soleTenantConfig",
            "taintConfig",
            "windowsNodeConfig",
        )
    ),
)


class NodePool(Resource):
    """gcp:container/nodePool:NodePool."""

    kind = "gcp:container/nodePool:NodePool"
    required = ("cluster",)
    force_new = (
        "project",
        "cluster",
        "location",
        "queuedProvisioning",
        "maxPodsPerNode",
        "initialNodeCount",
        "name",
        *(f"networkConfig.{name}" for name in _NETWORK_FORCE_NEW),
        *(f"nodeConfig.{name}" for name in _NODE_FORCE_NEW),
    )
    computed_inputs = (
        "initialNodeCount",
        "location",
        "management",
        "maxPodsPerNode",
        "networkConfig",
        "nodeConfig",
        *(f"nodeConfig.{name}" for name in _NODE_COMPUTED),
        "nodeCount",
        "nodeLocations",
        "upgradeSettings",
        "upgradeSettings.maxSurge",
        "upgradeSettings.maxUnavailable",
        "version",
    )
    outputs = ("instanceGroupUrls", "managedInstanceGroupUrls", "operation")
    defaults: ClassVar[Json] = {"deletionPolicy": "DELETE"}
    auto_named = True

    def latency(self, inputs: Json) -> str | None:
        # A pool that starts with nodes takes as long as they do.
        return None if _starts_with_nodes(inputs) else "nodePool"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from not_emulated(self.kind, inputs, *_NOT_EMULATED)
        if at(inputs, "queuedProvisioning.enabled") is True:
            yield from not_emulated(self.kind, inputs, "queuedProvisioning")
        yield from check_name(inputs)
        yield from one_of(inputs, "deletionPolicy", "DELETE", "ABANDON", "PREVENT")
        yield from one_of(inputs, "upgradeSettings.strategy", "SURGE", "BLUE_GREEN")
        yield from one_of(inputs, "nodeConfig.loggingVariant", "DEFAULT", "MAX_THROUGHPUT")
        yield from one_of(
            inputs,
            "nodeConfig.workloadMetadataConfig.mode",
            "MODE_UNSPECIFIED",
            "GCE_METADATA",
            "GKE_METADATA",
        )
        if inputs.get("initialNodeCount") and inputs.get("nodeCount"):
            yield CheckFailure("nodeCount", "Cannot set both initialNodeCount and nodeCount on a node pool")
        size = at(inputs, "nodeConfig.diskSizeGb")
        if isinstance(size, int) and size < 10:
            yield CheckFailure(
                "nodeConfig.diskSizeGb", f"expected diskSizeGb to be at least (10), got {size}"
            )
        yield from _check_autoscaling(inputs)
        yield from _check_lists(inputs)

    def create(self, inputs: Json, timeout: float) -> Made:
        project, location, cluster = self._parent(inputs)
        parent = f"projects/{project}/locations/{location}/clusters/{cluster}"
        try:
            found = self.cloud.get("cluster", parent)
        except CloudError as error:
            raise SandboxError(
                f"{_CREATING}: googleapi: Error 404: Not found: {parent}., notFound"
            ) from error
        if found.get("autopilot"):
            raise SandboxError(
                f"{_CREATING}: googleapi: Error 400: Autopilot node pools cannot be accessed or modified., badRequest"
            )
        name = f"{parent}/nodePools/{inputs['name']}"
        config = {**_NODE_DEFAULTS, **inputs.get("nodeConfig", {})}
        _check_machine(config)
        _check_settings(inputs, config)
        row = {
            "project": project,
            "location": location,
            "cluster": cluster,
            "pool": inputs["name"],
            "zones": self._zones(inputs, location),
            "spec": {**inputs, "nodeConfig": config},
            "status": "PROVISIONING" if _starts_with_nodes(inputs) else "RUNNING",
            "statusMessage": "",
        }
        try:
            self.cloud.create("nodePool", name, row)
        except CloudError as error:
            raise SandboxError(f"resource - {name} - already exists") from error
        return self._rested(name, inputs, timeout, "created")

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        parsed(_POOL, resource_id, "NodePool id")
        try:
            return self._made(self.cloud.get("nodePool", resource_id), inputs)
        except CloudError:
            return None

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        doing = "error updating NodePool"
        row = calling(doing, lambda: self.cloud.get("nodePool", resource_id))
        old: Json = row["spec"]
        kept = {name: old["nodeConfig"][name] for name in _NODE_COMPUTED if name in old["nodeConfig"]}
        config = {**kept, **inputs.get("nodeConfig", {})}
        _check_machine(config)
        _check_settings(inputs, config)
        kept = {name: old[name] for name in self.computed_inputs if name in old}
        spec = {**kept, **inputs, "nodeConfig": config}
        zones = self._zones(inputs, parsed(_POOL, resource_id, "NodePool id")[1])
        status = "PROVISIONING" if row["status"] == "ERROR" else row["status"]
        calling(
            doing, lambda: self.cloud.change("nodePool", resource_id, spec=spec, zones=zones, status=status)
        )
        return self._rested(resource_id, inputs, timeout, "updated")

    def delete(self, resource_id: str, state: Json) -> None:
        if self.may_delete(repr(resource_id), state):
            with suppress(CloudError):
                self.cloud.delete("nodePool", resource_id)

    def _parent(self, inputs: Json) -> tuple[str, ...]:
        if "/" in inputs["cluster"]:
            return parsed(_CLUSTER, inputs["cluster"], "cluster")
        return self.settings.need_project(inputs), self.settings.need_location(inputs), inputs["cluster"]

    def _zones(self, inputs: Json, location: str) -> list[str]:
        region = region_of(location)
        own = [location] if location != region else zones_of(location)
        zones: list[str] = inputs.get("nodeLocations") or own
        for zone in zones:
            if not re.fullmatch(rf"{re.escape(region)}-[a-z]", zone):
                raise invalid(
                    _CREATING,
                    f'Location "{zone}" is not valid: node locations must be zones of the cluster\'s region {region}',
                )
        return sorted(zones)

    def _rested(self, name: str, inputs: Json, timeout: float, verb: str) -> Made:
        """Wait until the pool's first nodes are there, or cannot be had."""
        deadline = time.monotonic() + timeout
        while (row := calling(_CREATING, lambda: self.cloud.get("nodePool", name)))[
            "status"
        ] == "PROVISIONING":
            if time.monotonic() > deadline:
                made = self._made(row, inputs)
                return Made(
                    made.id,
                    made.state,
                    f"timeout while waiting for NodePool {row['pool']} to be {verb} (last state: 'PROVISIONING', "
                    f"timeout: {timeout:.0f}s)",
                )
            time.sleep(0.1)
        made = self._made(row, inputs)
        if row["status"] == "ERROR":
            made.problem = (
                f'NodePool {row["pool"]} was {verb} in the error state "ERROR": '
                f"Google Compute Engine: Not all instances running. {row['statusMessage']}"
            )
        return made

    def _made(self, row: Json, inputs: Json) -> Made:
        spec: Json = row["spec"]
        groups = [Pool(row).group_url(zone) for zone in row["zones"]]
        taints = spec["nodeConfig"].get("taints", [])
        state = {
            **spec,
            "name": row["pool"],
            "project": row["project"],
            "location": row["location"],
            "cluster": inputs.get("cluster", row["cluster"]),
            "nodeLocations": row["zones"],
            "initialNodeCount": spec.get("initialNodeCount", spec.get("nodeCount", 0)),
            "maxPodsPerNode": spec.get("maxPodsPerNode", 110),
            "management": {"autoRepair": True, "autoUpgrade": True, **spec.get("management", {})},
            "upgradeSettings": {
                "maxSurge": 1,
                "maxUnavailable": 0,
                "strategy": "SURGE",
                **spec.get("upgradeSettings", {}),
            },
            "nodeConfig": {**spec["nodeConfig"], "effectiveTaints": taints},
            "instanceGroupUrls": [
                url.replace("/instanceGroups/", "/instanceGroupManagers/") for url in groups
            ],
            "managedInstanceGroupUrls": groups,
            "operation": "",
            "deletionPolicy": inputs.get("deletionPolicy", self.settings.deletion_policy),
        }
        return Made(row["name"], state)


def _starts_with_nodes(inputs: Json) -> bool:
    scaling = inputs.get("autoscaling", {})
    counts = (
        inputs.get("nodeCount"),
        inputs.get("initialNodeCount"),
        scaling.get("minNodeCount"),
        scaling.get("totalMinNodeCount"),
    )
    return any(counts)


def _check_autoscaling(inputs: Json) -> Iterator[CheckFailure]:
    scaling = inputs.get("autoscaling")
    if not isinstance(scaling, dict):
        return
    yield from one_of(inputs, "autoscaling.locationPolicy", "BALANCED", "ANY")
    zonal = scaling.get("minNodeCount"), scaling.get("maxNodeCount")
    total = scaling.get("totalMinNodeCount"), scaling.get("totalMaxNodeCount")
    if any(zonal) and any(total):
        yield CheckFailure(
            "autoscaling", "per zone limits (minNodeCount, maxNodeCount) cannot be used with total limits"
        )
    for least, most in (zonal, total):
        if any(isinstance(count, int) and count < 0 for count in (least, most)):
            yield CheckFailure("autoscaling", "node counts must be at least 0")
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield CheckFailure(
                "autoscaling", f"the minimum node count {least} is greater than the maximum {most}"
            )
    if not any(zonal) and not any(total):
        yield CheckFailure("autoscaling", "either maxNodeCount or totalMaxNodeCount is required")


def _check_lists(inputs: Json) -> Iterator[CheckFailure]:
    config = inputs.get("nodeConfig")
    if not isinstance(config, dict):
        return
    for kind, path, allowed in (
        ("taints", "effect", ("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE")),
        (
            "guestAccelerators",
            "gpuDriverInstallationConfig.gpuDriverVersion",
            ("GPU_DRIVER_VERSION_UNSPECIFIED", "INSTALLATION_DISABLED", "DEFAULT", "LATEST"),
        ),
        ("guestAccelerators", "gpuSharingConfig.gpuSharingStrategy", ("TIME_SHARING", "MPS")),
    ):
        items = config.get(kind)
        for index, item in enumerate(items if isinstance(items, list) else []):
            for failure in one_of(item, path, *allowed):
                yield CheckFailure(f"nodeConfig.{kind}[{index}].{path}", failure.reason)


def _check_machine(config: Json) -> None:
    name: str = config["machineType"]
    machine = MACHINE_TYPES.get(name)
    if machine is None:
        raise SandboxError(
            f"the sandbox does not emulate the machine type {name}; those it knows are in settings/machines.py."
        )
    gpus = machine.accelerators
    accelerators: list[Json] = config.get("guestAccelerators", [])
    # N1 is the only family that exists with GPUs and without.
    if gpus and not accelerators and not name.startswith("n1-"):
        raise SandboxError(
            f"the sandbox needs nodeConfig.guestAccelerators spelled out for {name}: {dict(gpus)}."
        )
    if len(accelerators) > 1:
        raise invalid(_CREATING, "only one accelerator type may be attached to a node")
    for accelerator in accelerators:
        kind, count = accelerator["type"].rpartition("/")[2], int(accelerator["count"])
        if kind not in gpus:
            raise invalid(_CREATING, f'Accelerator type "{kind}" is not compatible with machine type {name}')
        if count not in gpus[kind]:
            raise invalid(
                _CREATING,
                f'{count} accelerators of type "{kind}" are not valid for machine type {name}: '
                f"use {' or '.join(map(str, gpus[kind]))}",
            )
        size = accelerator.get("gpuPartitionSize")
        if size and size not in PARTITIONS.get(kind, {}):
            raise invalid(
                _CREATING, f'GPU partition size "{size}" is not valid for accelerator type "{kind}"'
            )


def _check_settings(inputs: Json, config: Json) -> None:
    if config["imageType"].upper() not in ("COS_CONTAINERD", "UBUNTU_CONTAINERD"):
        raise invalid(_CREATING, f'Image type "{config["imageType"]}" is not supported')
    if config["diskType"] not in ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"):
        raise invalid(_CREATING, f'Disk type "{config["diskType"]}" is not supported')
    for key in config.get("labels", {}):
        domain = key.rpartition("/")[0]
        if domain.endswith(("kubernetes.io", "k8s.io", "cloud.google.com")):
            raise invalid(_CREATING, f'Node label key "{key}" is reserved')
    upgrade: Json = inputs.get("upgradeSettings", {})
    surge, unavailable = upgrade.get("maxSurge", 1), upgrade.get("maxUnavailable", 0)
    if UNKNOWN not in (surge, unavailable) and not 0 < surge + unavailable <= _MAX_PARALLEL_UPGRADES:
        raise invalid(
            _CREATING,
            f"maxSurge ({surge}) and maxUnavailable ({unavailable}) must add up to 1 to {_MAX_PARALLEL_UPGRADES}",
        )
