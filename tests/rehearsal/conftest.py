"""Fresh sandboxes to break."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.driver import Sandbox


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
