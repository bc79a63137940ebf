"""Shared recordings: one run of the program serves every test that only reads it."""

import pytest

from tests.support.engine import EVERYTHING, Recording, run_program


@pytest.fixture(scope="session")
def program() -> Recording:
    return run_program()


@pytest.fixture(scope="session")
def everything() -> Recording:
    return run_program(EVERYTHING)
