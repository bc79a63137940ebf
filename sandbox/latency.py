"""How long things take: nothing by default, or a profile of seconds per kind of resource in the sandbox's home."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from sandbox.paths import Home, write_atomically

PROFILE = Path(__file__).with_suffix(".yaml")


def seconds(kind: str) -> float:
    """Seconds that one resource of `kind` takes in this sandbox; 0 without a profile.

    `kind` is a key of latency.yaml; raises KeyError for another one.
    """
    try:
        return float(yaml.safe_load(Home.from_env().latency.read_text())[kind])
    except FileNotFoundError:
        return 0.0


async def pause(kind: str) -> None:
    """Take the time that one resource of `kind` takes."""
    await asyncio.sleep(seconds(kind))


def set_scale(home: Home, scale: float) -> None:
    """Give the sandbox the profile, every figure times `scale`, which is not negative; 0 switches latencies off."""
    if scale == 0:
        home.latency.unlink(missing_ok=True)
        return
    profile = yaml.safe_load(PROFILE.read_text())
    scaled = {kind: figure * scale for kind, figure in profile.items()}
    write_atomically(home.latency, yaml.safe_dump(scaled))  # the emulators may be reading it
