"""The states in the sandbox's backend, as the sandbox looks at them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sandbox import other_stack
from sandbox.errors import SandboxError
from sandbox.paths import Home

STACK = "organization/llm-gateway/dev"


def cut_off(home: Home) -> Path:
    other_stack.write_outputs(home, STACK, {"a": "é"})
    assert other_stack.is_ours(home, STACK)
    state = home.checkpoint("dev")
    shutil.copy(state, f"{state}.bak")
    state.write_bytes(state.read_bytes()[:40])
    return state


def test_a_state_of_which_a_part_was_written_comes_back_from_its_copy(tmp_path: Path) -> None:
    state = cut_off(Home(tmp_path))
    with pytest.raises(SandboxError, match="is cut off") as refused:
        other_stack.is_ours(Home(tmp_path), STACK)
    assert f"put the engine's copy back (cp {state}.bak {state}), and run it again" in str(refused.value)
    shutil.copy(f"{state}.bak", state)
    assert other_stack.is_ours(Home(tmp_path), STACK)


@pytest.mark.parametrize("copy", [None, b"", b'{"version": 3, "checkpoint": {"stack": "\xc3'])
def test_a_state_without_a_whole_copy_is_lost(tmp_path: Path, copy: bytes | None) -> None:
    state = cut_off(Home(tmp_path))
    state.with_name("dev.json.bak").unlink()
    if copy is not None:
        state.with_name("dev.json.bak").write_bytes(copy)
    with pytest.raises(
        SandboxError, match=r'the state is lost; .*"The state is lost" in docs/operations\.md'
    ) as refused:
        other_stack.is_ours(Home(tmp_path), STACK)
    assert "put the engine's copy back" not in str(refused.value)


def test_what_a_killed_stack_init_leaves_makes_way(tmp_path: Path) -> None:
    home = Home(tmp_path)
    state = home.checkpoint("dev")
    state.parent.mkdir(parents=True)
    state.write_text(f'{{"version":3,"checkpoint":{{"stack":"{STACK}"}}}}')
    other_stack.forget(home, STACK)
    assert not state.exists()
