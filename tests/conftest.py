"""The sandboxes that tests share: what reads one leaves it as it was, what changes one forks its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

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
