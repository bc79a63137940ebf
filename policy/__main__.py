"""The policy pack, for the engine; `python -m policy guard LOG` runs the guard over a preview's event log instead."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    # The language host runs this folder, the command line the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pulumi_policy import EnforcementLevel, PolicyPack

    from policy import guard, pack

    if sys.argv[1:2] == ["guard"]:
        sys.exit(guard.main(sys.argv[2:]))
    PolicyPack(pack.NAME, pack.POLICIES, EnforcementLevel.MANDATORY)


main()
