"""What a node of a machine type offers, and what GKE leaves of it to pods.

Source: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes.
"""

from __future__ import annotations

from settings.machines import CPU_MACHINES, MACHINES, Machine

MACHINE_TYPES = {**CPU_MACHINES, **MACHINES}
"""Every machine type that the sandbox knows; in its zones all of them can be had."""

_GIB = 1024**3
# How much of each (the first so many, the next so many, ...) GKE reserves: vCPUs, GiB of memory.
_CPU_TIERS = ((1, 0.06), (1, 0.01), (2, 0.005), (float("inf"), 0.0025))
_MEMORY_TIERS = ((4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06), (float("inf"), 0.02))
_EVICTION_GIB = 100 / 1024


def capacity(machine: Machine) -> dict[str, str]:
    """CPU and memory of a node, as Kubernetes quantities."""
    return {"cpu": str(machine.cpus), "memory": f"{int(machine.memory * _GIB / 1024)}Ki"}


def allocatable(machine: Machine) -> dict[str, str]:
    """CPU and memory left to pods, as Kubernetes quantities."""
    cpus = machine.cpus - _reserved(machine.cpus, _CPU_TIERS)
    memory = machine.memory - _reserved(machine.memory, _MEMORY_TIERS) - _EVICTION_GIB
    return {"cpu": f"{int(cpus * 1000)}m", "memory": f"{int(memory * _GIB / 1024)}Ki"}


def ephemeral_storage(disk_gb: int) -> tuple[str, str]:
    """Capacity and allocatable, in bytes, of a node's boot disk of `disk_gb` GB."""
    total = disk_gb * 10**9 * 0.95
    reserved = min(total * 0.5, 6 * _GIB + total * 0.35, 100 * _GIB)
    return str(int(total)), str(int(total * 0.9 - reserved))


def _reserved(amount: float, tiers: tuple[tuple[float, float], ...]) -> float:
    reserved = 0.0
    for size, share in tiers:
        part = min(amount, size)
        reserved += part * share
        amount -= part
    return reserved
