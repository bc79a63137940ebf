"""Programs on PATH in the place of those that come as packages, where their major version is the image's."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path


def folder(program: str, image: str, beside: str = "") -> Path | None:
    """The folder of a program on PATH, and of the one `beside` it; None where the version that it tells is not the image's."""
    found = shutil.which(program)
    tag = re.search(r":v?(\d+)[^/]*$", image.partition("@")[0])
    if not found or not tag or _major(found) != tag[1]:
        return None
    place = Path(found).resolve().parent
    return place if (place / (beside or program)).exists() else None


@functools.cache
def _major(program: str) -> str:
    """The major version that `--version` tells; empty where it tells none."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.\d", told)
    return found[1] if found else ""
