"""The sentences that follow an operation that ended badly."""

from __future__ import annotations

import pytest

from tools.review.events import Diagnostic, Operation
from tools.review.notes import notes


def said(result: str, *errors: str) -> str:
    diagnostics = [Diagnostic("", "error", error) for error in errors]
    return "\n".join(notes(Operation([], {}, {}, diagnostics, [], set(), result, preview=False, duration=0)))


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        ("failed", "failed to run remediation: context canceled", "is no cause"),
        ("failed", "write /state: no space left on device", "The disk of this machine or of a node is full"),
        ("failed", "Detected that pulumi-resource-gcp exited prematurely.", "A provider's process ended"),
        ("interrupted", "", "takes over what was made"),
        ("canceled", "", "goes on from there"),
        ("failed", "update canceled", "goes on from there"),
        ("failed", "client rate limiter Wait returned an error: context canceled", "goes on from there"),
        (
            "failed",
            'before hook "x" failed: rpc error: code = Unavailable desc = ...',
            "Pulumi ended the program",
        ),
        (
            "failed",
            "an unhandled error occurred: program exited with non-zero exit code: -2",
            "or it was interrupted",
        ),
        ("succeeded", "an error", "although an error was shown"),
    ],
)
def test_an_end_is_explained_with_the_next_step(result: str, error: str, words: str) -> None:
    assert words in said(result, *([error] if error else []))


def test_what_speaks_for_itself_is_left_alone() -> None:
    assert said("failed", "a cause") == said("succeeded") == ""
    assert "interrupted" not in said("failed", "failed to run remediation: context canceled")
