"""Where the container images come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import StringConstraints

from settings.base import SecretReference, Section, Violation, rule, setting
from versions import EXTERNAL_SECRETS_IMAGE, IMAGES, Image

ImagePrefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9-]+(\.[a-z0-9-]+)+(:[1-9][0-9]{0,4})?|[a-z0-9-]+:[1-9][0-9]{0,4})(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
    ),
]
"""A registry's host, with its port where it has one, and the folders before an image's own path."""
REGISTRIES = sorted({image.registry for image in IMAGES})
READ_BY_NODES = (".pkg.dev", "gcr.io")
"""Ends of the hosts of Artifact Registry, which a GKE node's kubelet logs in to as the node's service account."""


class Images(Section):
    """Where nodes pull the container images from, all of them: the operators' and what these start included."""

    otherwise = "no node could pull an image, and no pod would start"

    mirrors: dict[str, ImagePrefix] = setting(
        default_factory=dict,
        about="What stands in place of each upstream registry, `host` or `host/folders`; an image keeps its path, tag and digest behind it. "
        "Names every registry or none: one that nodes are to reach itself stands for itself.",
        write=f"mirrors: {{{', '.join(f'{host}: mirror.example.com/{host}' for host in REGISTRIES)}}}",
    )
    pull_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with a Docker configuration in JSON that logs in to the registries, or "
        "`<id>/versions/<number>`. Nodes read Artifact Registry as their own service account, without one.",
        write="pullSecret: registry-login",
    )

    def at(self, image: Image) -> Image:
        """The image where nodes pull it from."""
        prefix = self.mirrors.get(image.registry)
        return replace(image, repository=f"{prefix}/{image.path}") if prefix else image

    @property
    def read_by_nodes(self) -> bool:
        """Whether nodes pull External Secrets' image without a pull secret, as far as its host tells."""
        host = self.at(EXTERNAL_SECRETS_IMAGE).registry
        return host == EXTERNAL_SECRETS_IMAGE.registry or host.endswith(READ_BY_NODES)

    @rule
    def every_registry_is_mirrored(self) -> Iterator[Violation]:
        for host in sorted(self.mirrors.keys() - REGISTRIES):
            yield Violation(
                f"mirrors.{host}",
                f"no image comes from {host}",
                "the entry would be ignored, and the images that are meant pulled from upstream",
                f"mirrors of {', '.join(REGISTRIES)}",
            )
        for host in REGISTRIES:
            if self.mirrors and host not in self.mirrors:
                paths = ", ".join(image.path for image in IMAGES if image.registry == host)
                yield Violation(
                    "mirrors",
                    f"nothing says where the images of {host} come from ({paths})",
                    f"nodes would pull them from {host} itself",
                    f"{host}: the mirror's host and folders, or {host}: {host} where that is meant",
                )
