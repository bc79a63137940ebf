"""Whether the engines of the models find room on the nodes and GPUs of their pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from settings import gpu_parts
from settings.base import Violation, gibibytes
from settings.gke import GpuPool
from settings.vllm import VllmModel

IMAGE_GB = 25
"""GB of a node's disk that vLLM's unpacked image and the node's own system take, rounded up."""
_PENDING = "the engine would fit no node and stay Pending"
_WAITS = "an engine would stay Pending and `up` would wait for it until its timeout"


@dataclass(frozen=True)
class Room:
    """A pool, its key in the settings, and the models whose engines run on it, by their keys."""

    key: str
    pool: GpuPool
    models: Mapping[str, VllmModel]

    def too_small_nodes(self) -> Iterator[Violation]:
        """Engines that are larger than a node."""
        pool, machine = self.pool, self.pool.machine
        for key, model in self.models.items():
            if model.gpus > gpu_parts.per_node(pool):
                yield Violation(
                    f"{key}.gpus",
                    f"the engine asks for {model.gpus} GPUs, a node of {self.key} has {pool.accelerator_count}",
                    _PENDING,
                    f"gpus: {pool.accelerator_count}, or a larger {self.key}.machineType",
                )
            if machine and model.cpu >= machine.cpus:
                yield Violation(
                    f"{key}.cpu",
                    f"the engine asks for {model.cpu} cores, {pool.machines} has {machine.cpus} and GKE keeps some",
                    _PENDING,
                    f"cpu: {max(1, machine.cpus - 2)}, or a larger {self.key}.machineType",
                )
            if machine and gibibytes(model.memory) > machine.memory * 0.9:
                yield Violation(
                    f"{key}.memory",
                    f"the engine asks for {model.memory}, {pool.machines} has {machine.memory:g}Gi and GKE keeps some",
                    _PENDING,
                    f"memory: {int(machine.memory / 2)}Gi, or a larger {self.key}.machineType",
                )

    def too_small_disks(self) -> Iterator[Violation]:
        """Caches on a node's disk that are larger than it."""
        for key, model in self.models.items():
            if model.cache != "ephemeral" or model.weights:
                continue
            if self.pool.autopilot:
                yield Violation(
                    f"{key}.cache",
                    "Autopilot gives a pod 1 GiB of its node's disk, and the chart has no key to ask for more",
                    "GKE would evict each engine while it downloads the model",
                    "cache: disk, cache: shared, or weights: gs://<bucket>/<folder>",
                )
                continue
            engines = max(1, gpu_parts.per_node(self.pool) // model.gpus)
            # A disk's GB are decimal; the kubelet evicts pods when less than a tenth of it is free.
            needed = (engines * gibibytes(model.cache_size) * 2**30 / 1e9 + IMAGE_GB) / 0.9
            if needed > self.pool.disk_size_gb:
                yield Violation(
                    f"{key}.cacheSize",
                    f"{engines} engine(s) with {model.cache_size} of weights each, and the image's {IMAGE_GB} GB, "
                    f"do not fit a node's disk of {self.pool.disk_size_gb} GB",
                    "the node would run out of disk and evict the engine",
                    f"{self.key}.diskSizeGb: {ceil(needed)}, a smaller cacheSize, or cache: disk",
                )

    def disks_without_a_machine(self) -> Iterator[Violation]:
        """Caches on disks that the machines do not take."""
        machine = self.pool.machine
        for key, model in self.models.items() if machine and machine.hyperdisk_only else ():
            if model.cache == "disk" and model.cache_storage_class is None:
                yield Violation(
                    f"{key}.cacheStorageClass",
                    f"{self.pool.machines} takes no Persistent Disk, which the cluster's default class makes",
                    "the engine's volume could not be attached, and the engine would stay Pending",
                    "cacheStorageClass: a class of type hyperdisk-balanced or hyperdisk-ml, or cache: ephemeral",
                )

    def too_few_nodes(self) -> Iterator[Violation]:
        """More engines than all nodes have GPUs for."""
        asked = sum(model.gpus * model.replicas for model in self.models.values())
        gpus_per_node, nodes = gpu_parts.per_node(self.pool), self.pool.max_nodes
        if asked > nodes * gpus_per_node and not self.pool.autopilot:
            yield Violation(
                f"{self.key}.maxNodes",
                f"the models ask for {asked} GPUs, {nodes} node(s) have {nodes * gpus_per_node}",
                _WAITS,
                f"maxNodes: {-(-asked // gpus_per_node)}, or fewer replicas",
            )

    def too_many_together(self) -> Iterator[Violation]:
        """Engines that a node must take at least, for all to find one, and that are together larger than it."""
        sizes = sorted(
            gibibytes(model.memory) for model in self.models.values() for _ in range(model.replicas)
        )
        together, machine = ceil(len(sizes) / self.pool.max_nodes), self.pool.machine
        if machine is None or self.pool.autopilot or together < 2:
            return
        needed = sum(sizes[:together])
        if needed > machine.memory * 0.9:
            yield Violation(
                f"{self.key}.machineType",
                f"{together} engines share a node and ask for {needed:g}Gi, {self.pool.machine_type} has {machine.memory:g}Gi and GKE keeps some",
                _WAITS,
                f"a larger machineType, less memory for each engine, or maxNodes: {self.pool.max_nodes + 1}",
            )
