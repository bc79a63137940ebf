"""Where an engine's weights come from, and where it keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import StringConstraints

from settings.base import Bytes, DnsSubdomain, SecretReference, Section, Violation, rule, setting

BucketFolder = Annotated[
    str, StringConstraints(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9_.-]+)*$")
]
"""A folder of a bucket of Cloud Storage, or all of it."""


class Weights(Section):
    """The weights of a self-hosted model."""

    otherwise = "vLLM would not start"

    model: str = setting(
        pattern=r"^[\w.-]+/[\w.-]+$",
        about="Hugging Face repository that vLLM loads; also the served model name.",
        otherwise="vLLM would fail to load the model and restart for ever",
        write="model: Qwen/Qwen2.5-0.5B-Instruct",
    )
    weights: BucketFolder | None = setting(
        None,
        about="Folder of a Cloud Storage bucket with the repository's files, weights as safetensors: each engine streams them from "
        "there into its GPUs, as its own Kubernetes service account, and asks Hugging Face for nothing. Unset means Hugging Face.",
        otherwise="vLLM would fail to load the model and restart for ever",
        write="weights: gs://example-llm-weights/qwen2.5-0.5b-instruct",
    )
    revision: str | None = setting(
        None,
        pattern=r"^[\w./-]+$",
        about="Branch, tag or commit of the repository; unset means its default branch.",
        write="revision: main",
    )
    hugging_face_token: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with a Hugging Face token, for gated models, or `<id>/versions/<number>`.",
        otherwise="the model could not be downloaded",
        write="huggingFaceToken: hf-token",
    )
    cache: Literal["ephemeral", "disk", "shared"] = setting(
        "ephemeral",
        about="Where an engine keeps the weights. ephemeral: on its node, downloaded anew with each new pod, in any "
        "zone; disk: on a volume that outlives the pod, for one engine, which only runs in that volume's zone; "
        "shared: on a volume that all engines of the model mount in any zone, of `cacheStorageClass`.",
        otherwise="the engines would have no place to load the model from",
        write="cache: disk",
    )
    cache_size: Bytes = setting(
        "20Gi",
        about="Room for the model's weights: on the node per engine, or the size of the volume, which can grow, "
        "never shrink.",
        otherwise="the engine would run out of disk while downloading the model",
    )
    cache_storage_class: DnsSubdomain | None = setting(
        None,
        about="StorageClass of the volume; shared needs one whose volumes many nodes write to (ReadWriteMany), such as "
        "GKE's standard-rwx (Filestore, 1Ti or more). Unset means the cluster's default one.",
        otherwise="no volume could be made and the engines would stay Pending",
        write="cacheStorageClass: standard-rwx",
    )

    @property
    def bucket(self) -> str | None:
        """The name of the bucket with the weights."""
        return self.weights.removeprefix("gs://").partition("/")[0] if self.weights else None

    @rule
    def cache_has_its_class(self) -> Iterator[Violation]:
        if self.cache == "shared" and self.cache_storage_class is None:
            yield Violation(
                "cacheStorageClass",
                "a shared cache needs a class whose volumes many nodes write to",
                "the cluster's default class would refuse the volume, and the engines would stay Pending",
                "cacheStorageClass: standard-rwx",
            )
        if self.cache == "ephemeral" and self.cache_storage_class:
            yield Violation(
                "cacheStorageClass",
                "an ephemeral cache is on the node's own disk",
                "the class would be ignored",
                "cache: disk, or no cacheStorageClass",
            )

    @rule
    def what_is_streamed_is_not_downloaded(self) -> Iterator[Violation]:
        if not self.weights:
            return
        beside = {"revision": self.revision, "huggingFaceToken": self.hugging_face_token}
        for key in [key for key, given in beside.items() if given]:
            yield Violation(
                key,
                "the weights come from a bucket",
                "it would be ignored, as Hugging Face is not asked",
                f"no {key}, and a folder of the bucket for each revision",
            )
        if self.cache != "ephemeral":
            yield Violation(
                "cache",
                "weights from a bucket go straight into the GPUs",
                "a volume would be paid for and stay empty",
                "cache: ephemeral, or no weights",
            )
