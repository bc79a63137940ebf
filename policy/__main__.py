"""The policy pack, as the engine's language host runs it."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    # The language host runs this folder, the command line the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pulumi_policy import EnforcementLevel, PolicyPack

    from policy import pack

    PolicyPack(pack.NAME, pack.POLICIES, EnforcementLevel.MANDATORY)


main()
