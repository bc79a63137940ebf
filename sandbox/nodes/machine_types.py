"""Compute Engine machine types the sandbox knows: size, the GPUs that go with them, and what GKE leaves to pods.

Not a catalogue: the families a gateway's node pools are built from. Zones are not weighed (every zone has every type).
Sizes: https://cloud.google.com/compute/docs/machine-resource and .../docs/gpus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_GIB = 1024**3


@dataclass(frozen=True)
class MachineType:
    """One machine type. `gpus` maps each accelerator type that may be attached to its allowed counts."""

    name: str
    cpus: int
    memory_gib: float
    gpus: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return self.name.split("-")[0]

    @property
    def needs_gpu(self) -> bool:
        """Whether the type exists only with its GPUs (g2, a2, a3), as against n1 that may go without."""
        return bool(self.gpus) and self.family != "n1"

    def allocatable(self) -> dict[str, str]:
        """CPU and memory left to pods on GKE, by its published reservations (plan-node-sizes)."""
        cpu = self.cpus * 1000 - _tiers(
            self.cpus * 1000, [(1000, 0.06), (1000, 0.01), (2000, 0.005), (None, 0.0025)]
        )
        memory = (
            self.memory_gib
            - _tiers(self.memory_gib, [(4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06), (None, 0.02)])
            - 100 / 1024
        )
        return {"cpu": f"{int(cpu)}m", "memory": f"{int(memory * _GIB / 1024)}Ki"}

    def capacity(self) -> dict[str, str]:
        return {"cpu": str(self.cpus), "memory": f"{int(self.memory_gib * _GIB / 1024)}Ki"}


def ephemeral_storage(disk_gb: int) -> tuple[str, str]:
    """Capacity and allocatable bytes of a node's boot disk, by GKE's reservation and eviction threshold."""
    capacity = disk_gb * 10**9 * 0.95
    reserved = min(capacity * 0.5, 6 * _GIB + capacity * 0.35, 100 * _GIB)
    return str(int(capacity)), str(int(capacity * 0.9 - reserved))


def _tiers(amount: float, tiers: list[tuple[float | None, float]]) -> float:
    reserved = 0.0
    for size, share in tiers:
        part = amount if size is None else min(amount, size)
        reserved += part * share
        amount -= part
    return reserved


def _known() -> dict[str, MachineType]:
    n1_gpus = {
        "nvidia-tesla-t4": (1, 2, 4),
        "nvidia-tesla-p4": (1, 2, 4),
        "nvidia-tesla-v100": (1, 2, 4, 8),
        "nvidia-tesla-p100": (1, 2, 4),
    }
    types = [MachineType("e2-medium", 2, 4), MachineType("e2-small", 2, 2)]
    for family in ("e2", "n2", "n2d", "n4", "c3d"):
        types += [MachineType(f"{family}-standard-{cpus}", cpus, cpus * 4) for cpus in (4, 8, 16, 32)]
        types += [MachineType(f"{family}-highmem-{cpus}", cpus, cpus * 8) for cpus in (4, 8, 16)]
    types += [MachineType(f"{family}-standard-2", 2, 8) for family in ("e2", "n2", "n2d", "n4")]
    types += [MachineType(f"n1-standard-{cpus}", cpus, cpus * 3.75, n1_gpus) for cpus in (1, 2, 4, 8, 16, 32)]
    for cpus, gpus in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items():
        types.append(MachineType(f"g2-standard-{cpus}", cpus, cpus * 4, {"nvidia-l4": (gpus,)}))
    for gpus in (1, 2, 4, 8):
        types.append(MachineType(f"a2-highgpu-{gpus}g", 12 * gpus, 85 * gpus, {"nvidia-tesla-a100": (gpus,)}))
        types.append(
            MachineType(f"a2-ultragpu-{gpus}g", 12 * gpus, 170 * gpus, {"nvidia-a100-80gb": (gpus,)})
        )
        types.append(MachineType(f"a3-highgpu-{gpus}g", 26 * gpus, 234 * gpus, {"nvidia-h100-80gb": (gpus,)}))
    return {machine.name: machine for machine in types}


MACHINE_TYPES = _known()
