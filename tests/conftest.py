"""The sandbox in which the dev stack is up, shared by every test that leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.driver import Sandbox
from tests.support.watcher import Watcher


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
