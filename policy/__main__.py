"""Entry point of the policy pack; the engine's language host runs it."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    # The language host runs this file as a script, so that `policy` itself is on the path, not its parent.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pulumi_policy import EnforcementLevel, PolicyPack

    from policy import pack

    PolicyPack(pack.NAME, pack.POLICIES, EnforcementLevel.MANDATORY)


main()
