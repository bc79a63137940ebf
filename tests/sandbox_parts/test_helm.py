"""What is said of a helm that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.plugins.kubernetes.helm import HelmError, helm


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'WARNING: deprecated' >&2; echo 'Error: INSTALLATION FAILED: no such chart' >&2; exit 1",
            "no such chart",
        ),
        (
            "echo 'Traceback (most recent call last):' >&2; kill -KILL $$",
            "Helm was ended by SIGKILL before it was done",
        ),
        ("exit 3", "Helm ended with code 3 and said nothing"),
    ],
)
def test_the_cause_alone(script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "helm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(HelmError) as error:
        helm(["version"])
    assert str(error.value).startswith(said)
