"""The states in the sandbox's backend, as the sandbox looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import other_stack
from sandbox.errors import SandboxError
from sandbox.paths import Home


def test_a_state_of_which_half_was_written_is_named_with_its_copy(tmp_path: Path) -> None:
    home, stack = Home(tmp_path), "organization/llm-gateway/dev"
    other_stack.write_outputs(home, stack, {})
    assert other_stack.is_ours(home, stack)
    (state,) = tmp_path.rglob("dev.json")
    state.write_text(state.read_text()[:40])
    with pytest.raises(SandboxError, match=rf"is cut off.*cp {state}\.bak {state}"):
        other_stack.is_ours(home, stack)
