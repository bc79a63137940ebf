"""Google Cloud: the project, the cluster and the GPU node pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic.alias_generators import to_camel

from settings.base import (
    Bytes,
    ClusterName,
    LabelKey,
    LabelValue,
    Location,
    ProjectId,
    Section,
    Violation,
    Zone,
    gibibytes,
    repeated,
    rule,
    setting,
)
from settings.machines import CPU_MACHINES, MACHINES, Machine, machines_with

TaintEffect = Literal["NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"]


class Gcp(Section):
    """The Google Cloud project everything is made in."""

    project: ProjectId = setting(
        about="Project id (not number) of the secrets and backups, and of the cluster unless cluster.project is set.",
        otherwise="Google Cloud would refuse every call, half-way through the first `up`",
        write="project: my-project-id",
    )


class Cluster(Section):
    """The existing GKE cluster: by name and location, or from the outputs of the stack that made it."""

    otherwise = "the cluster lookup would fail"

    name: ClusterName | None = setting(
        None, about="Name of the cluster, with `location`.", write="name: platform-dev"
    )
    location: Location | None = setting(
        None, about="Region or zone of the cluster, with `name`.", write="location: europe-west4"
    )
    project: ProjectId | None = setting(
        None,
        about="Project of the cluster, with `name`; unset means gcp.project.",
        write="project: my-platform-project",
    )
    stack: str | None = setting(
        None,
        pattern=r"^[\w.-]+/[\w.-]+/[\w.-]+$",
        about="Stack whose outputs clusterName, clusterLocation and clusterProject name the cluster, in place of `name`.",
        otherwise="the stack's outputs could not be read",
        write="stack: organization/gke-cluster/dev",
    )

    endpoint: Literal["ip", "dns", "private"] = setting(
        "ip",
        about="How Pulumi and kubectl reach the control plane: at its address, by its DNS-based endpoint, which needs no "
        "authorized network, or at its private address from inside the VPC.",
        otherwise="neither Pulumi nor kubectl could talk to the cluster",
    )

    @rule
    def is_named_once(self) -> Iterator[Violation]:
        if self.stack and (self.name or self.location or self.project):
            yield Violation(
                "stack",
                "both `stack` and `name`, `location` or `project` are given",
                "the wrong cluster could be changed",
                "either `stack` alone, or `name` and `location`",
            )

    @rule
    def is_named(self) -> Iterator[Violation]:
        if not self.stack:
            for key, value in (("name", self.name), ("location", self.location)):
                if value is None:
                    yield Violation(
                        key,
                        "the key is missing",
                        self.otherwise,
                        "name: platform-dev and location: europe-west4, or stack: organization/gke-cluster/dev",
                    )


GPU_TAINT = "nvidia.com/gpu"
"""Key of the taint that GKE itself puts on GPU nodes, beside what else a pool has."""


class Taint(Section):
    """The taint that keeps other workloads off the GPU nodes."""

    otherwise = "GKE would refuse the node pool"

    key: LabelKey = setting(GPU_TAINT, about="Taint key.")
    value: LabelValue = setting("present", about="Taint value.")
    effect: TaintEffect = setting("NO_SCHEDULE", about="Taint effect.")


class GpuSharing(Section):
    """GPUs that engines take turns on. Their memory is not divided: each engine must be told its part of it."""

    otherwise = "GKE would refuse the node pool"

    strategy: Literal["TIME_SHARING", "MPS"] = setting(
        "TIME_SHARING", about="How the engines share a GPU: by turns, or at once by NVIDIA's MPS."
    )
    clients: int = setting(ge=2, le=48, about="Engines per GPU, or per partition.", write="clients: 2")


_ON_AUTOPILOT = frozenset({"name", "autopilot", "accelerator", "accelerator_count", "spot"})
_OF_AN_EXISTING_POOL = frozenset(
    {
        *("name", "existing", "machine_type", "machine_cpus", "machine_memory"),
        *("accelerator", "accelerator_count", "partition", "sharing", "max_nodes", "disk_size_gb", "taint"),
    }
)


class GpuPool(Section):
    """The autoscaled node pool vLLM runs on."""

    otherwise = "GKE would refuse the node pool"

    name: ClusterName = setting("llm-gpu", about="Name of the node pool; changing it replaces the pool.")
    existing: bool = setting(
        False,
        about="The pool exists and is somebody else's: none is made, changed or deleted. machineType, accelerator, acceleratorCount and "
        "taint say what it is, and are compared with it; maxNodes and diskSizeGb, how much of it the engines may count on.",
        otherwise="a second pool would be made and paid for, or the one there taken over",
        write="existing: true",
    )
    autopilot: bool = setting(
        False,
        about="The cluster is an Autopilot one: no pool is made, and GKE brings a node with accelerator and acceleratorCount for each engine, of a "
        "machine, a disk and a driver of its own choice, as many as are asked for.",
        otherwise="a pool would be made, which an Autopilot cluster refuses, or no node would come on a Standard one",
        write="autopilot: true",
    )
    machine_type: str = setting(
        "g2-standard-4",
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$",
        about="Compute Engine machine type of the nodes.",
    )
    machine_cpus: int | None = setting(
        None,
        ge=1,
        le=1024,
        about="vCPUs of a machine type that this version does not know yet, with machineMemory: what is then checked is what they say.",
        write="machineCpus: 48",
    )
    machine_memory: Bytes | None = setting(
        None,
        about="Memory of a machine type that this version does not know yet, with machineCpus.",
        write="machineMemory: 180Gi",
    )
    accelerator: str = setting("nvidia-l4", pattern=r"^nvidia(-[a-z0-9]+)+$", about="GPU type of the nodes.")
    accelerator_count: int = setting(1, ge=1, le=16, about="GPUs per node.")
    partition: str | None = setting(
        None,
        pattern=r"^[1-7]g\.[0-9]+gb$",
        about="Size of the partitions (MIG) that each GPU is divided into, of which an engine gets one. Unset means whole GPUs.",
        write="partition: 3g.40gb",
    )
    sharing: GpuSharing | None = setting(
        None,
        about="Have several engines share a GPU. Unset means that each has its own.",
        write="sharing: {clients: 2}",
    )
    min_nodes: int = setting(
        0,
        ge=0,
        le=1000,
        about="Fewest nodes the autoscaler keeps, over all zones, each paid for by the hour. Above that, a node is paid for "
        "while an engine is on it, asked or not: only 0 here and replicas: 0 of every model end the GPU bill.",
    )
    max_nodes: int = setting(
        1,
        ge=1,
        le=1000,
        about="Most nodes the autoscaler makes, over all zones: the upper bound of the GPU bill, but for maxSurge.",
        otherwise="no GPU node could ever be made and vLLM would wait until its timeout",
    )
    zones: list[Zone] = setting(
        default_factory=list,
        about="Zones to put nodes in; empty means the cluster's own zones.",
        write="zones: [europe-west4-a, europe-west4-b]",
    )
    disk_size_gb: int = setting(
        100,
        ge=50,
        le=65536,
        about="Boot disk per node, GB; vLLM's image alone takes over 10 GB.",
        otherwise="nodes would run out of disk while pulling the image",
    )
    disk_type: Literal["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"] = setting(
        "pd-balanced", about="Boot disk type of the nodes."
    )
    image_type: Literal["COS_CONTAINERD", "UBUNTU_CONTAINERD"] = setting(
        "COS_CONTAINERD", about="Node image."
    )
    driver_version: Literal["DEFAULT", "LATEST"] | None = setting(
        None,
        about="NVIDIA driver that GKE installs: LATEST, the newest that the cluster's version has, on COS_CONTAINERD alone, or DEFAULT, its tried "
        "one, which may be older than vLLM's image needs (CUDA 13: 580 or later); a preview warns of it. Unset means LATEST on "
        "COS_CONTAINERD and DEFAULT on UBUNTU_CONTAINERD.",
        otherwise="nodes would come up without a driver and offer no GPU",
        write="driverVersion: DEFAULT",
    )
    spot: bool = setting(
        False, about="Use spot nodes: cheaper, but Google may take them away at any time.", write="spot: true"
    )
    reservation: str | None = setting(
        None,
        pattern=r"^(projects/[a-z][-a-z0-9]{4,28}[a-z0-9]/reservations/)?[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        about="Compute Engine reservation that the nodes use; one that another project shares is "
        "projects/<project>/reservations/<name>. Unset means none.",
        write="reservation: l4-europe-west4",
    )
    image_streaming: bool = setting(
        False,
        about="Stream container images from Artifact Registry (GKE image streaming); others are pulled as without it. It needs the Container "
        "File System API (containerfilesystem.googleapis.com), and of the nodes' service account roles/artifactregistry.reader.",
        write="imageStreaming: true",
    )
    max_surge: int = setting(
        0,
        ge=0,
        le=20,
        about="Extra nodes an upgrade may make; 0 where GPUs are scarce.",
        otherwise="an upgrade would wait for GPUs that cannot be had",
    )
    max_unavailable: int = setting(
        1,
        ge=0,
        le=20,
        about="Nodes an upgrade may take away at once.",
        otherwise="an upgrade could not proceed",
    )
    service_account: str | None = setting(
        None,
        pattern=r"^([a-z][-a-z0-9]{4,28}[a-z0-9]@[a-z][-a-z0-9]{4,28}[a-z0-9]\.iam|[0-9]+-compute@developer)\.gserviceaccount\.com$",
        about="Service account (email) of the nodes; unset means the project's default one.",
        write="serviceAccount: gke-nodes@my-project-id.iam.gserviceaccount.com",
    )
    labels: dict[LabelKey, LabelValue] = setting(
        default_factory=dict, about="More Kubernetes labels of the nodes.", write="labels: {team: platform}"
    )
    taint: Taint = setting(
        default_factory=Taint,
        about="Taint of the nodes.",
        write="taint: {key: nvidia.com/gpu, value: present, effect: NO_SCHEDULE}",
    )

    @property
    def driver(self) -> Literal["DEFAULT", "LATEST"]:
        """The driver that GKE is told to install."""
        return self.driver_version or ("LATEST" if self.image_type == "COS_CONTAINERD" else "DEFAULT")

    @property
    def machine(self) -> Machine | None:
        """What is known of the machine type, by the table or by the settings; None where that is nothing."""
        if self.autopilot:  # the largest that GKE may choose
            return max(
                (MACHINES[name] for name in machines_with(self.accelerator, self.accelerator_count)),
                key=lambda machine: machine.memory,
                default=None,
            )
        if self.machine_type in MACHINES or not (self.machine_cpus and self.machine_memory):
            return MACHINES.get(self.machine_type)
        counts = {self.accelerator: (self.accelerator_count,)}
        return Machine(self.machine_cpus, gibibytes(self.machine_memory), counts)

    @property
    def machines(self) -> str:
        """The machine type, as a message names it."""
        return f"the largest machine with {self.accelerator}" if self.autopilot else self.machine_type

    @rule
    def an_existing_pool_is_only_used(self) -> Iterator[Violation]:
        for field in GpuPool.model_fields:  # in their order
            if self.existing and field in self.model_fields_set - _OF_AN_EXISTING_POOL:
                yield Violation(
                    to_camel(field),
                    f"{self.name} exists, and the stack does not change it",
                    "it would be ignored",
                    f"no {to_camel(field)}, or existing: false and a name of its own",
                )

    @rule
    def autopilot_chooses_the_rest(self) -> Iterator[Violation]:
        for field in GpuPool.model_fields:  # in their order
            if self.autopilot and field in self.model_fields_set - _ON_AUTOPILOT:
                yield Violation(
                    to_camel(field),
                    "GKE chooses it on an Autopilot cluster",
                    "it would be ignored",
                    f"no {to_camel(field)}, or autopilot: false on a Standard cluster",
                )
        if self.autopilot and not machines_with(self.accelerator, self.accelerator_count):
            yield Violation(
                "accelerator",
                f"no machine type that is known carries {self.accelerator_count} {self.accelerator}",
                "no node would ever come, and the engines would stay Pending",
                "accelerator: nvidia-l4 and acceleratorCount: 1, 2, 4 or 8",
            )

    @rule
    def spot_or_reserved(self) -> Iterator[Violation]:
        if self.spot and self.reservation:
            yield Violation(
                "spot",
                "spot nodes cannot be taken from a reservation",
                self.otherwise,
                "spot: false, or no reservation",
            )

    @rule
    def bounds_are_in_order(self) -> Iterator[Violation]:
        if self.min_nodes > self.max_nodes:
            yield Violation(
                "minNodes",
                f"minNodes {self.min_nodes} is more than maxNodes {self.max_nodes}",
                self.otherwise,
                f"minNodes: {self.max_nodes}",
            )

    @rule
    def upgrades_can_proceed(self) -> Iterator[Violation]:
        if self.max_surge + self.max_unavailable == 0:
            yield Violation(
                "maxUnavailable",
                "maxSurge and maxUnavailable are both 0",
                "GKE would refuse the pool: an upgrade could neither add nor take away a node",
                "maxUnavailable: 1",
            )
        if self.max_surge + self.max_unavailable > 20:
            yield Violation(
                "maxSurge",
                f"maxSurge and maxUnavailable are {self.max_surge + self.max_unavailable} together",
                "GKE would refuse the pool: an upgrade handles 20 nodes at once at most",
                f"maxSurge: {20 - self.max_unavailable}",
            )

    @rule
    def zones_differ(self) -> Iterator[Violation]:
        for zone in repeated(self.zones):
            yield Violation("zones", f"{zone} is there twice", self.otherwise, "each zone once")

    @rule
    def machine_carries_the_accelerator(self) -> Iterator[Violation]:
        if self.autopilot:
            return
        machine = self.machine
        told = [key for key in ("machine_cpus", "machine_memory") if getattr(self, key)]
        if told and (self.machine_type in MACHINES or self.machine_type in CPU_MACHINES):
            yield Violation(
                to_camel(told[0]),
                f"{self.machine_type} is a machine type that is known",
                "it would be ignored",
                f"no {to_camel(told[0])}",
            )
        if machine is None:
            alike = machines_with(self.accelerator, self.accelerator_count) or list(MACHINES)
            new = (
                "" if self.machine_type in CPU_MACHINES else "; machineCpus and machineMemory for a new type"
            )
            yield Violation(
                "machineType",
                f"{self.machine_type} is no machine type that is known to carry GPUs",
                self.otherwise,
                f"machineType: one of {', '.join(alike)}{new}",
            )
            return
        counts = machine.accelerators.get(self.accelerator)
        if counts is None:
            carried = list(machine.accelerators)
            yield Violation(
                "accelerator",
                f"{self.machine_type} carries {' or '.join(carried)}, not {self.accelerator}",
                self.otherwise,
                f"accelerator: {carried[0]}",
            )
        elif self.accelerator_count not in counts:
            yield Violation(
                "acceleratorCount",
                f"{self.machine_type} carries {' or '.join(map(str, counts))} {self.accelerator}, "
                f"not {self.accelerator_count}",
                self.otherwise,
                f"acceleratorCount: {counts[0]}",
            )

    @rule
    def image_has_the_driver(self) -> Iterator[Violation]:
        if self.image_type == "UBUNTU_CONTAINERD" and self.driver_version == "LATEST":
            yield Violation(
                "driverVersion",
                "GKE installs its latest NVIDIA driver on Container-Optimized OS only",
                self.otherwise,
                "driverVersion: DEFAULT, or imageType: COS_CONTAINERD",
            )

    @rule
    def machine_takes_the_disk(self) -> Iterator[Violation]:
        machine = MACHINES.get(self.machine_type)
        if (
            machine
            and machine.hyperdisk_only
            and not (self.existing or self.autopilot)
            and self.disk_type != "hyperdisk-balanced"
        ):
            yield Violation(
                "diskType",
                f"{self.machine_type} takes no Persistent Disk such as {self.disk_type}",
                "Compute Engine would refuse every node of the pool",
                "diskType: hyperdisk-balanced",
            )

    @rule
    def machine_can_be_had(self) -> Iterator[Violation]:
        machine = MACHINES.get(self.machine_type)
        if machine and machine.spot_only and not (self.spot or self.existing or self.autopilot):
            yield Violation(
                "spot",
                f"{self.machine_type} exists as spot capacity only",
                "Compute Engine would refuse every node of the pool",
                "spot: true, or machineType: a3-highgpu-8g",
            )
