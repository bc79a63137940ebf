"""One headless Chromium for these tests, with a profile of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing of its own on the network, and able to start as root and without a GPU, as in a container.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def find(playwright: Playwright) -> str:
    """A Chromium on PATH, or playwright's own, which is installed where there is none; fails where that fails."""
    for path in filter(None, map(shutil.which, NAMES)):
        return path
    own = Path(playwright.chromium.executable_path)
    if not own.exists():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if not own.exists():
        pytest.fail(
            f"no browser: none of {', '.join(NAMES)} is on PATH, and playwright could not install its own (see above). "
            "Install one; on Debian: apt-get install chromium."
        )
    return str(own)


# No longer than these tests: while it is there, playwright's event loop runs, and no other can.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(playwright), args=ARGUMENTS)
        yield browser
        browser.close()
