"""The images whose containers run: what each stands for on this machine.

An image is known by its repository; any tag runs what is installed here (sandbox/containers/*.txt), and the container's log
does not tell. Containers of other images are played.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox.containers import litellm, names, postgres, router, valkey, vllm
from sandbox.containers.launch import Image, Launch, inside_of
from sandbox.nodes.pods.process import Program

IMAGES: dict[str, Callable[[Launch], Image]] = {
    names.LITELLM: litellm.image,
    names.POSTGRES: postgres.image,
    names.ROUTER: router.image,
    names.VALKEY: valkey.image,
    names.VLLM: vllm.image,
}
"""By the image's repository; those of names.KNOWN, which is known without importing what runs."""


def program(launch: Launch) -> Program:
    """What a known container runs. Raises NotFoundError."""
    return launch.program(IMAGES[names.repository(launch.container["image"])](launch))


def command(launch: Launch, words: Sequence[str]) -> list[str]:
    """A command in a known container. Raises NotFoundError."""
    return inside_of(launch, IMAGES[names.repository(launch.container["image"])](launch), words)
