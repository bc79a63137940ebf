"""Two attacks on the salt of the table; `python -m tests.rehearsal.attacks` runs all."""

from __future__ import annotations

import pytest

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
