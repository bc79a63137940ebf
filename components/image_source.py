"""Where the pods of a namespace get their images from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.secret_sync import SyncedSecret
from settings.images import Images
from versions import Image


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """The settings' mirrors, and the namespace's Secret that logs in to them; None where nodes need none."""

    images: Images
    login: SyncedSecret | None

    def at(self, image: Image) -> Image:
        """The image where nodes pull it from."""
        return self.images.at(image)

    @property
    def references(self) -> Sequence[kubernetes.core.v1.LocalObjectReferenceArgs] | None:
        """As a pod names it that the program makes itself."""
        return [kubernetes.core.v1.LocalObjectReferenceArgs(name=self.login.name)] if self.login else None

    @property
    def values(self) -> dict[str, list[dict[str, str]]]:
        """As most charts and a Cluster take it."""
        return {"imagePullSecrets": [{"name": self.login.name}]} if self.login else {}

    @property
    def ready(self) -> Sequence[pulumi.Resource]:
        """What pods wait for before they can be pulled."""
        return [self.login.ready] if self.login else []
