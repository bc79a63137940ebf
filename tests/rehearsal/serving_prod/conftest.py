"""Prod for real, one gateway of two proxies for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rehearsal.serving_prod.declared import SETTINGS
from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.serving import proxies
from tests.support.waiting import wait_for


@pytest.fixture(scope="package")
def gateway(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """Prod, with one model more that has limits of its own."""
    with sandboxes.served("prod") as sandbox:
        sandbox.configure(SETTINGS)
        sandbox.up().succeeded()
        wait_for(lambda: len(proxies(sandbox)) == 2, 180)
        yield sandbox
