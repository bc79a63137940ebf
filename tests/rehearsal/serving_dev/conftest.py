"""Dev for real, one gateway for the tests of this folder: each leaves it answering, and finds the settings of those before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.driver import Result, Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.serving import ENGINE

ENVIRONMENT = {
    "PROXY_BUDGET_RESCHEDULER_MIN_TIME": "10",
    "PROXY_BUDGET_RESCHEDULER_MAX_TIME": "10",
    "STORE_MODEL_IN_DB": "True",
}
"""The proxy looks every ten seconds for budgets to reset, not every ten minutes, and takes models from its database, too."""


@pytest.fixture(scope="package")
def served(sandboxes: Sandboxes) -> Iterator[tuple[Sandbox, Result]]:
    """Dev, brought up with pods that run, and what that printed."""
    with sandboxes.served() as sandbox:
        ui = '"DISABLE_ADMIN_UI": "True",'
        more = "".join(f'"{name}": "{value}",' for name, value in ENVIRONMENT.items())
        sandbox.patch("components/litellm.py", ui, ui + more)
        sandbox.configure({"llm-gateway:models": [ENGINE]})
        yield sandbox, sandbox.up().succeeded()


@pytest.fixture(scope="package")
def gateway(served: tuple[Sandbox, Result]) -> Sandbox:
    return served[0]
