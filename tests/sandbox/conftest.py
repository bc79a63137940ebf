"""Throw-away sandboxes: one that is up, shared by the tests that leave it as it was, and fresh ones to break."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.sandbox.driver import Sandbox
from tests.sandbox.watcher import Watcher


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Sandbox]]:
    """A maker of new sandboxes, all stopped in the end."""
    made: list[Sandbox] = []
    numbers = itertools.count()

    def make() -> Sandbox:
        made.append(Sandbox(tmp_path_factory.mktemp(f"sandbox{next(numbers)}")))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.run("down").succeeded()


@pytest.fixture(scope="session")
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory, watcher: Watcher) -> Iterator[Sandbox]:
    """A sandbox in which the dev stack is up, watched from its first moment."""
    sandbox = Sandbox(tmp_path_factory.mktemp("dev"))
    with watcher.watching(sandbox.home):
        up = sandbox.run("up")
    sandbox.root.parent.joinpath("up.txt").write_text(up.text)
    try:
        up.succeeded()
        yield sandbox
    finally:
        sandbox.run("down").succeeded()
