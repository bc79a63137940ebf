"""When a gate believes that a Secret holds what its ExternalSecret asks for."""

from typing import Any

import pytest

from components.sync_gate import synced


def external_secret(generation: int, status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": status}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
FAILED = {"conditions": [{"type": "Ready", "status": "False"}]}


@pytest.mark.parametrize(
    ("generation", "status", "expected"),
    [
        (1, {}, False),
        (2, READY | {"syncedResourceVersion": "2-c0ffee"}, True),
        # Ready from the sync before: what a wait for the condition alone would take for done.
        (2, READY | {"syncedResourceVersion": "1-c0ffee"}, False),
        (1, READY | {"syncedResourceVersion": "12-c0ffee"}, False),
        (2, FAILED | {"syncedResourceVersion": "2-c0ffee"}, False),
        (1, READY, False),
    ],
)
def test_synced(generation: int, status: dict[str, Any], expected: bool) -> None:
    assert synced(external_secret(generation, status)) is expected
