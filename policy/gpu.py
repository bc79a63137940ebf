"""GPU node pools and what they may cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policy.base import UNKNOWN, Resource, each, resource_policy, stack_policy

NODE_POOL = "gcp:container/nodePool:NodePool"


def is_gpu_pool(resource: Resource) -> bool:
    """Whether a resource is a node pool with accelerators."""
    config = resource.props.get("nodeConfig")
    return resource.type == NODE_POOL and isinstance(config, dict) and bool(config.get("guestAccelerators"))


def _bounds(pool: Resource) -> dict[str, Any]:
    autoscaling = pool.props.get("autoscaling")
    return autoscaling if isinstance(autoscaling, dict) else {}


def _bounded(pool: Resource) -> Iterator[str]:
    bounds = _bounds(pool)
    if pool.props.get("autoscaling") is not UNKNOWN and not (
        bounds.get("totalMaxNodeCount") or bounds.get("maxNodeCount")
    ):
        yield f"{pool.name} has no upper bound on its nodes."


def _scales_to_zero(pool: Resource) -> Iterator[str]:
    bounds = _bounds(pool)
    # Of a pool that scales, the outputs say how many nodes there are now.
    fixed = None if bounds else pool.props.get("nodeCount")
    for count in (bounds.get("totalMinNodeCount"), bounds.get("minNodeCount"), fixed):
        if isinstance(count, int | float) and count > 0:
            yield f"{pool.name} keeps {count:g} GPU node(s) even when nobody uses them."


POLICIES = [
    resource_policy(
        "gpu-pools-are-bounded",
        "A GPU pool has an upper bound on its nodes: without one, every pending pod adds a node.",
        "`gpuPool.maxNodes` in the settings; in code `autoscaling` with `total_max_node_count`.",
        is_gpu_pool,
        _bounded,
    ),
    stack_policy(
        "gpu-pools-scale-to-zero",
        "Outside production a GPU pool may scale down to zero nodes, which it does once no engine runs: an idle GPU "
        "costs as much as a busy one.",
        "`gpuPool.minNodes: 0` in the settings, or `production: true`.",
        is_gpu_pool,
        each(is_gpu_pool, _scales_to_zero),
        production=False,
    ),
]
