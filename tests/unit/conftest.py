"""Shared recordings: one run of the program serves every test that only reads it."""

import gc
from collections.abc import Iterator

import pytest

from tests.support.engine import EVERYTHING, FAILED, Recording, run_program


@pytest.fixture(autouse=True)
def leftovers() -> Iterator[None]:
    """Collect what a program that fails leaves behind: its finalizers break an import that they come in the middle of.

    CPython 3.11.7 then raises "AST constructor recursion depth mismatch", https://github.com/python/cpython/issues/106905.
    What stays, above all the SDKs' modules, is not looked through again.
    """
    yield
    if FAILED:
        FAILED.clear()
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def program() -> Recording:
    return run_program()


@pytest.fixture(scope="session")
def everything() -> Recording:
    return run_program(EVERYTHING)
