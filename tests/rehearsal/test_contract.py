"""The state that dev's `up` made when URNs and names became a contract: a later program finds nothing to change in it.

`python -m tests.rehearsal.test_contract HOME` takes the state of dev's sandbox at HOME anew. Until the first release that
is right when a change is meant; afterwards it hides one that replaces what people run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sandbox.paths import REPOSITORY, Home
from tests.support.driver import Sandbox

KEPT = Path(__file__).parent / "data" / "dev-state.json"
_HERE = "{repository}"
"""In the place of this clone's path, which charts are named by."""


def test_a_later_program_leaves_the_state_as_it_is(empty: Sandbox) -> None:
    kept = json.loads(KEPT.read_text().replace(_HERE, str(REPOSITORY)))
    empty.home.checkpoint("dev").write_text(json.dumps(kept["state"]))
    empty.home.passphrase.write_text(kept["passphrase"])
    empty.run("preview").succeeded()
    assert empty.changed("preview") == {}
    assert len(empty.steps("preview")) > 60


if __name__ == "__main__":
    home = Home(Path(sys.argv[1]))
    state = json.loads(home.checkpoint("dev").read_text())
    for resource in state["checkpoint"]["latest"]["resources"]:
        for where in ("sourcePosition", "stackTrace"):  # paths of the machine that it is made on
            resource.pop(where, None)
    content = json.dumps({"passphrase": home.passphrase.read_text(), "state": state}, indent=1)
    KEPT.write_text(content.replace(str(REPOSITORY), _HERE) + "\n")
