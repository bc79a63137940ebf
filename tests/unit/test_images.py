"""Every image that the program names is one of versions.py, at an exact tag."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import versions
from tests.support.engine import CLOUD_SQL, EVERYTHING, Recording, run_program
from versions import Image

DIGEST = f"sha256:{'0' * 64}"


def images(value: Any) -> Iterator[str]:
    """Every image in a tree of values: whole references, and maps of registry, repository and tag."""
    match value:
        case {"repository": str(repository), **rest}:
            registry = f"{rest['registry']}/" if rest.get("registry") else ""
            yield f"{registry}{repository}:{rest.get('tag', '')}"
        case {"image": str(image)} | {"imageName": str(image)}:
            yield image
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from images(item)


def test_no_image_is_named_elsewhere(everything: Recording) -> None:
    pinned = {str(image) for image in versions.IMAGES}
    # What reaches a database in Cloud SQL stands in place of what makes one.
    registered = [*everything.resources.values(), *run_program({"postgres": CLOUD_SQL}).resources.values()]
    named = {image for registration in registered for image in images(registration.inputs)}
    assert named - pinned == set()
    assert pinned - named == set(), "pinned, but nowhere used"


def test_no_tag_moves() -> None:
    for image in versions.IMAGES:
        assert re.search(r"\d+\.\d+", image.tag), f"{image} has no version in its tag"
        assert "latest" not in image.tag


def test_no_repository_is_pinned_twice() -> None:
    repositories = [image.repository for image in versions.IMAGES]
    assert len(repositories) == len(set(repositories))


@pytest.fixture
def digests() -> Iterator[None]:
    for image in versions.IMAGES:
        object.__setattr__(image, "digest", DIGEST)
    yield
    for image in versions.IMAGES:
        object.__setattr__(image, "digest", None)


@pytest.mark.usefixtures("digests")
def test_a_digest_reaches_every_place() -> None:
    resources = run_program(EVERYTHING).resources.values()
    named = {image for resource in resources for image in images(resource.inputs)}
    assert {image for image in named if not image.endswith(f"@{DIGEST}")} == set()


def test_a_digest_follows_the_tag() -> None:
    image = Image("registry.example.com/app", "v1.2", DIGEST)
    assert str(image) == f"registry.example.com/app:v1.2@{DIGEST}"
    assert f"{image.repository}:{image.pinned_tag}" == str(image)
    assert Image("app", "v1.2").pinned_tag == "v1.2"
