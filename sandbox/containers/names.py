"""Which images' containers run rather than being played. An image is known by its repository, whatever its tag."""

from __future__ import annotations

from sandbox.cluster.client import Json

LITELLM = "ghcr.io/berriai/litellm-database"
POSTGRES = "ghcr.io/cloudnative-pg/postgresql"
ROUTER = "lmcache/lmstack-router"
VALKEY = "valkey/valkey"
VLLM = "vllm/vllm-openai"
KNOWN = frozenset({LITELLM, POSTGRES, ROUTER, VALKEY, VLLM})


def known(container: Json) -> bool:
    """Whether a container runs."""
    return repository(container["image"]) in KNOWN


def any_known(pod: Json) -> bool:
    """Whether a pod has a container that runs."""
    return any(
        known(container) for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    )


def repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
