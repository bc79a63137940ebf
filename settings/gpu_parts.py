"""GPUs that several engines have a part of: shared in time, or partitioned by the hardware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from settings import vllm_arguments
from settings.base import Violation
from settings.gke import GpuPool
from settings.machines import PARTITIONS
from settings.vllm import VllmModel

_OPTION = "gpu-memory-utilization"


def per_node(pool: GpuPool) -> int:
    """How many GPUs, or parts of one, a node offers."""
    parts = PARTITIONS.get(pool.accelerator, {}).get(pool.partition or "", 1)
    return pool.accelerator_count * parts * (pool.sharing.clients if pool.sharing else 1)


def broken(models: Mapping[str, VllmModel], pool: GpuPool, key: str) -> Iterator[Violation]:
    """What is wrong with the parts, and with engines that run on them.

    `models` are those on the pool, by their keys; `key` is the pool's.
    """
    sizes = PARTITIONS.get(pool.accelerator, {})
    if pool.partition and pool.partition not in sizes:
        yield Violation(
            f"{key}.partition",
            f"{pool.accelerator} has no partitions of {pool.partition}"
            if sizes
            else f"{pool.accelerator} takes no partitions",
            "GKE would refuse the node pool",
            f"partition: one of {', '.join(sizes)}"
            if sizes
            else f"no partition; {', '.join(PARTITIONS)} have some",
        )
    for place, model in models.items():
        if (pool.partition or pool.sharing) and model.gpus > 1:
            yield Violation(
                f"{place}.gpus",
                f"the engine asks for {model.gpus}, and {key} gives each engine a part of one GPU",
                "GKE lets no pod have two shares, and vLLM computes on one partition alone",
                "gpus: 1, or a pool of whole GPUs",
            )
        if pool.sharing and not _takes_its_part(model.extra_args, pool.sharing.clients):
            yield Violation(
                f"{place}.extraArgs",
                f"{pool.sharing.clients} engines share a GPU of {key}, whose memory is not divided, and vLLM takes most of it",
                "the engines that start later would end at once for lack of memory",
                f'extraArgs: ["--{_OPTION}", "{0.9 / pool.sharing.clients:.2f}"], or less',
            )


def _takes_its_part(words: Sequence[str], clients: int) -> bool:
    try:
        told = vllm_arguments.given(words).get(_OPTION)
    except ValueError:  # said by the model's own rule
        return True
    return told is not None and float(told) <= 1 / clients
