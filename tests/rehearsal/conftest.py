"""Sandboxes to change and to break, each a test's own, and those that the tests of a file only read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes


@pytest.fixture
def empty(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which nothing is deployed."""
    with sandboxes.forked("empty") as sandbox:
        yield sandbox


@pytest.fixture
def own_dev(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which the dev stack was brought up."""
    with sandboxes.forked("dev") as sandbox:
        yield sandbox


@pytest.fixture
def own_prod(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which the prod stack was brought up."""
    with sandboxes.forked("prod") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def dev(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which the dev stack is up, for tests that leave it as it was."""
    with sandboxes.forked("dev") as sandbox:
        sandbox.run("start").succeeded()
        yield sandbox


@pytest.fixture(scope="module")
def prod(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which the prod stack is up, for tests that leave it as it was."""
    with sandboxes.forked("prod") as sandbox:
        sandbox.run("start").succeeded()
        yield sandbox
