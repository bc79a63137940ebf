"""The cause and the next step of an operation that ended badly, where the engine's own messages leave them out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.review.events import Operation

_AGAIN = (
    "Run the same command again: it takes over what was made. If it fails because Google has a resource already, its message "
    "says what to do."
)
_WORDS = {
    "failed to run remediation": '"failed to run remediation: context canceled" is no cause: a resource failed, and the '
    "policies' run was ended with it. Correct the other error, and run the same command again.",
    "exited prematurely": f"A provider's process ended before its time (no memory left, or somebody ended it). {_AGAIN}",
    'hook "[^"]+" failed: rpc error: code = Unavailable': '"hook ... failed: rpc error: code = Unavailable" is no cause: Pulumi '
    "ended the program, because a resource failed or it was interrupted. Correct any other error, and run the same command "
    "again.",
    "program exited with non-zero exit code: -2": '"program exited with non-zero exit code: -2" is no cause: Pulumi ended the '
    "program, because a resource failed or it was interrupted. Correct any other error, and run the same command again.",
    "no space left on device": "The disk of this machine or of a node is full: make room (`df -h`), and run the same command "
    "again.",
}
"""Sentences by patterns of what an engine's error holds."""
_RESULTS = {
    "interrupted": "The engine was killed before it was done (Ctrl-C twice, no memory left, or a machine that went away). "
    f"{_AGAIN}",
    "canceled": "It was interrupted, and ended what it had begun. Run the same command again: it goes on from there.",
}
"""Sentences by how an operation ended."""


def notes(operation: Operation) -> Iterator[str]:
    """The sentences that an operation's end asks for."""
    errors = "\n".join(
        diagnostic.message for diagnostic in operation.diagnostics if diagnostic.severity == "error"
    )
    yield from (sentence for words, sentence in _WORDS.items() if re.search(words, errors))
    # An update's result is then "failed". A provider says the second, as do policies after another failure.
    if re.search("update canceled|(?<!remediation: )context canceled", errors):
        yield _RESULTS["canceled"]
    elif operation.result in _RESULTS:
        yield _RESULTS[operation.result]
    elif operation.succeeded and errors:
        yield "It succeeded although an error was shown: the state is as it should be only if `pulumi preview` changes nothing."
