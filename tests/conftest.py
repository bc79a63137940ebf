"""The sandboxes that tests share: what reads one leaves it as it was, what changes one forks its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs]

from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.watcher import Watcher


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxes]:
    made = Sandboxes(tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="session")
def first_up(sandboxes: Sandboxes) -> Sandbox:
    """The stopped sandbox of dev's first `up`: its event log, its state, and what it printed (up.txt)."""
    return sandboxes.origin("dev")


@pytest.fixture(scope="session")
def watcher(first_up: Sandbox) -> Watcher:
    """What was seen in the gateway's namespace during dev's first `up`."""
    return Watcher(json.loads(first_up.root.parent.joinpath("watched.json").read_text()))


class Scopes(LoadScopeScheduling):
    """Has one process run the tests of a file, and of a folder whose files share what its conftest brings up."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        folder, _, _ = file.rpartition("/")
        return folder if folder.startswith("tests/rehearsal/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scopes | None:
    """Where `--dist loadscope` is asked for."""
    return Scopes(config, log) if config.getvalue("dist") == "loadscope" else None
