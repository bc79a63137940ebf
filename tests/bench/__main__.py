"""Measures the gateway: `python -m tests.bench [PART ...]`, on a machine that does nothing else. It prints every figure.

Proxies, their upstream, the database and the load generator share this machine's cores: ratios tell more than figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import gateway, settings, start, tenants
from tests.support.driver import Sandbox

PARTS = {
    "start": start.measure,
    "gateway": gateway.measure,
    "settings": settings.measure,
    "tenants": tenants.measure,
}


def main() -> None:
    """Run the parts, each in a sandbox of its own."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    for part in parser.parse_args().parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            sandbox = Sandbox(Path(folder), played=False).make()
            try:
                PARTS[part](sandbox)
            finally:
                sandbox.run("down").succeeded()


if __name__ == "__main__":
    main()
