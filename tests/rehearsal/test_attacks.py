"""Two attacks on the salt of the table; `python -m tests.rehearsal.attacks` runs all."""

from __future__ import annotations

import pytest

from sandbox.paths import REPOSITORY
from tests.rehearsal import attacks
from tests.support.driver import Sandbox


@pytest.mark.parametrize(
    ("deeds", "settings"),
    [
        (["versions add, state delete, import version 2"], "saltKey: 2"),
        (["unprotect, up --replace SecretVersion", "secrets delete at Google"], "no saltCopy"),
    ],
)
def test_no_attack_changes_the_salt(own_dev: Sandbox, deeds: list[str], settings: str) -> None:
    own_dev.up(config=attacks.BASE).succeeded()
    row = attacks.attack(own_dev, deeds, settings)
    assert row.held, attacks.table([row])


def test_the_same_seed_draws_the_same_attacks() -> None:
    assert attacks.drawn(1, 36) == attacks.drawn(1, 36) != attacks.drawn(2, 36)
    deeds, settings = (
        {deed for deeds, _ in attacks.drawn(1, 36) for deed in deeds},
        {settings for _, settings in attacks.drawn(1, 36)},
    )
    assert (deeds, settings) == (set(attacks.DEEDS), set(attacks.SETTINGS))


def test_the_page_has_the_attacks_that_its_command_draws() -> None:
    page = (REPOSITORY / "docs/attacks.md").read_text()
    assert "python -m tests.rehearsal.attacks --seed 1 --count 36" in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows[1:]] == [
        [", ".join(deeds) or "-", settings] for deeds, settings in attacks.drawn(1, 36)
    ]
    assert {tuple(row[3:7]) for row in rows[1:]} == {("kept",) * 4}
