"""Shared recordings: one run of the program serves every test that only reads it."""

import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from components import existing_namespaces, recovery, served
from tests.support.engine import EVERYTHING, FAILED, Recording, run_program

# A failed program leaves futures that nobody awaits; Pulumi's language host does not report them either.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


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


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `pulumi stack export` would say: an empty state, which a test may fill."""
    resources: list[dict[str, Any]] = []
    monkeypatch.setattr(recovery, "exported", lambda: resources)
    return resources


@pytest.fixture(scope="session")
def program() -> Recording:
    return run_program()


@pytest.fixture(scope="session")
def everything() -> Recording:
    return run_program(EVERYTHING)


@pytest.fixture(autouse=True, scope="session")
def operators_are_there() -> Iterator[None]:
    """No unit test asks a cluster: where operators and namespaces are to be there, they are."""
    with pytest.MonkeyPatch.context() as patch:
        there = {"metadata": dict[str, Any]()}
        patch.setattr(existing_namespaces, "read", lambda _, names: dict.fromkeys(names.existing, there))
        patch.setattr(served, "served_versions", lambda _, crds: {crd: ["v1"] for crd in crds})
        yield
