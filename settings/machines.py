"""Compute Engine machine types and the GPUs that each can carry: the only table of them.

Sources: https://cloud.google.com/compute/docs/gpus, .../compute/docs/accelerator-optimized-machines and
.../compute/docs/general-purpose-machines. Zones, quotas and stock are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine type's vCPUs and memory (GiB), and the counts of each accelerator type it can carry."""

    cpus: int
    memory: float
    accelerators: Mapping[str, tuple[int, ...]]
    spot_only: bool = False
    hyperdisk_only: bool = False
    """It takes Hyperdisk alone, https://cloud.google.com/compute/docs/disks/hyperdisks#machine-type-support."""


# The most vCPUs that an N1 machine may have, by type and count of its GPUs.
_N1_GPUS: Mapping[str, Mapping[int, int]] = {
    "nvidia-tesla-t4": {1: 48, 2: 48, 4: 96},
    "nvidia-tesla-p4": {1: 24, 2: 48, 4: 96},
    "nvidia-tesla-p100": {1: 16, 2: 32, 4: 96},
    "nvidia-tesla-v100": {1: 12, 2: 24, 4: 48, 8: 96},
}


def _n1(cpus: int, memory: float) -> Machine:
    fitting = {
        kind: tuple(n for n, most in counts.items() if cpus <= most) for kind, counts in _N1_GPUS.items()
    }
    return Machine(cpus, memory, fitting)


MACHINES: Mapping[str, Machine] = {
    **{f"n1-standard-{cpus}": _n1(cpus, cpus * 3.75) for cpus in (1, 2, 4, 8, 16, 32, 64, 96)},
    **{f"n1-highmem-{cpus}": _n1(cpus, cpus * 6.5) for cpus in (2, 4, 8, 16, 32, 64, 96)},
    **{
        f"g2-standard-{cpus}": Machine(cpus, cpus * 4, {"nvidia-l4": (gpus,)})
        for cpus, gpus in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items()
    },
    **{
        f"a2-highgpu-{gpus}g": Machine(12 * gpus, 85 * gpus, {"nvidia-tesla-a100": (gpus,)})
        for gpus in (1, 2, 4, 8)
    },
    "a2-megagpu-16g": Machine(96, 1360, {"nvidia-tesla-a100": (16,)}),
    **{
        f"a2-ultragpu-{gpus}g": Machine(12 * gpus, 170 * gpus, {"nvidia-a100-80gb": (gpus,)})
        for gpus in (1, 2, 4, 8)
    },
    **{
        f"a3-highgpu-{gpus}g": Machine(
            26 * gpus, 234 * gpus, {"nvidia-h100-80gb": (gpus,)}, spot_only=gpus < 8
        )
        for gpus in (1, 2, 4, 8)
    },
    "a3-megagpu-8g": Machine(208, 1872, {"nvidia-h100-mega-80gb": (8,)}),
    "a3-ultragpu-8g": Machine(224, 2952, {"nvidia-h200-141gb": (8,)}, hyperdisk_only=True),
    "a4-highgpu-8g": Machine(224, 3968, {"nvidia-b200": (8,)}, hyperdisk_only=True),
}
"""The types that carry GPUs."""

CAPABILITIES: Mapping[str, float] = {
    "nvidia-tesla-k80": 3.7,
    "nvidia-tesla-p100": 6.0,
    "nvidia-tesla-p4": 6.1,
    "nvidia-tesla-v100": 7.0,
    "nvidia-tesla-t4": 7.5,
    "nvidia-tesla-a100": 8.0,
    "nvidia-a100-80gb": 8.0,
    "nvidia-l4": 8.9,
    "nvidia-h100-80gb": 9.0,
    "nvidia-h100-mega-80gb": 9.0,
    "nvidia-h200-141gb": 9.0,
    "nvidia-b200": 10.0,
}
"""Compute capability by accelerator type, https://developer.nvidia.com/cuda-gpus."""

CPU_MACHINES: Mapping[str, Machine] = {
    "e2-medium": Machine(2, 4, {}),
    **{
        f"{family}-{kind}-{cpus}": Machine(cpus, cpus * memory, {})
        for family in ("e2", "n2", "n2d", "n4")
        for kind, memory in {"standard": 4, "highmem": 8}.items()
        for cpus in (2, 4, 8, 16)
    },
}
"""Types without GPUs: not all of them, only the families that a cluster's other pools usually have."""

PARTITIONS: Mapping[str, Mapping[str, int]] = {
    "nvidia-tesla-a100": {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2, "7g.40gb": 1},
    "nvidia-a100-80gb": {"1g.10gb": 7, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1},
    "nvidia-h100-80gb": {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1},
}
"""Parts per GPU by their size, https://cloud.google.com/kubernetes-engine/docs/how-to/gpus-multi."""


def machines_with(accelerator: str, count: int) -> list[str]:
    """Names of the machine types that can carry `count` of an accelerator."""
    return [name for name, machine in MACHINES.items() if count in machine.accelerators.get(accelerator, ())]
