"""The table of attacks on the salt, a few of them; `python -m tests.rehearsal.attacks` runs all."""

from __future__ import annotations

from tests.rehearsal import attacks
from tests.support.driver import Sandbox


def test_no_attack_changes_the_salt(own_dev: Sandbox) -> None:
    own_dev.run("start").succeeded()
    sequences = (
        (["add version at Google", "state delete SecretVersion", "import version 2"], "as they were"),
        (["state delete SecretVersion", "state delete Secret", "import Secret"], "saltKey: 2"),
    )
    rows = [attacks.attack(own_dev, deeds, settings) for deeds, settings in sequences]
    assert all(row.held for row in rows), attacks.table(rows)


def test_the_same_seed_draws_the_same_attacks() -> None:
    assert attacks.drawn(1, 30) == attacks.drawn(1, 30) != attacks.drawn(2, 30)
    assert len(attacks.drawn(1, 30)) == 30
