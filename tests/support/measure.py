"""Measures what people wait for: `python -m tests.support.measure`, on a machine that does nothing else.

A first `up` of dev in a new sandbox, a second one that changes nothing, and five previews of it in turn with five of an
empty program that imports the same SDKs, all with played pods; then a first `up` whose pods run, until the gateway answers.
Prints seconds, and the previews' ratio (medians).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from sandbox.paths import REPOSITORY

SDKS = "import kubernetes\nimport pulumi\nimport pulumi_gcp\nimport pulumi_kubernetes\nimport pulumi_random\nimport pydantic\n"
PREVIEWS = 5


def seconds(home: Path, root: Path, *command: str) -> float:
    """How long one sandbox command takes. Raises CalledProcessError, having printed its output."""
    options = ["--home", str(home), "--root", str(root)]
    line = [sys.executable, "-m", "sandbox", command[0], *options, *command[1:]]
    start = time.monotonic()
    done = subprocess.run(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    took = time.monotonic() - start
    if done.returncode:
        print(done.stdout)
    done.check_returncode()
    return took


def main() -> None:
    """Run and print the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        home, served, empty = Path(folder, "home"), Path(folder, "served"), Path(folder, "empty")
        empty.mkdir()
        empty.joinpath("Pulumi.yaml").write_text("name: empty\nruntime: python\n")
        empty.joinpath("Pulumi.dev.yaml").write_text("config: {}\n")
        empty.joinpath("__main__.py").write_text(SDKS)
        preview = ("exec", "--", "pulumi", "preview")
        try:
            print(f"first up, played pods:       {seconds(home, REPOSITORY, 'up', '--played'):5.1f} s")
            print(f"second up:                   {seconds(home, REPOSITORY, 'up', '--played'):5.1f} s")
            seconds(home, empty, "start")
            runs = [
                (seconds(home, REPOSITORY, *preview), seconds(home, empty, *preview)) for _ in range(PREVIEWS)
            ]
            seconds(home, REPOSITORY, "down")
            print(f"first up, pods that run:     {seconds(served, REPOSITORY, 'up'):5.1f} s")
        finally:
            for folder in (home, served):
                seconds(folder, REPOSITORY, "down")
    dev, nothing = (median(times) for times in zip(*runs, strict=True))
    print(f"preview of dev:              {dev:5.1f} s")
    print(f"preview of an empty program: {nothing:5.1f} s")
    print(f"ratio:                       {dev / nothing:5.2f}")


if __name__ == "__main__":
    main()
