"""Where the pods of a namespace get their images from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

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
    def pull_secrets(self) -> list[dict[str, str]]:
        """As a pod names them."""
        return [{"name": self.login.name}] if self.login else []

    @property
    def values(self) -> dict[str, list[dict[str, str]]]:
        """As most charts and a Cluster take them."""
        return {"imagePullSecrets": self.pull_secrets} if self.login else {}

    @property
    def ready(self) -> Sequence[pulumi.Resource]:
        """What pods wait for before they can be pulled."""
        return [self.login.ready] if self.login else []
