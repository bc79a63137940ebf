"""valkey/valkey: a real valkey-server, which listens on the pod's address: one on PATH of the tag's major version, or else that
of sandbox/containers/programs.in."""

from __future__ import annotations

from sandbox.containers import on_path
from sandbox.containers.launch import SHELL, Image, Launch


def image(launch: Launch) -> Image:
    found = on_path.folder("valkey-server", launch.container["image"])
    server = [str(found / "valkey-server" if found else launch.programs.valkey)]
    bind = [] if "--bind" in launch.arguments else ["--bind", launch.address]
    # A title of its own would be written over its environment, by which it is known.
    start = [*server, *bind, "--set-proc-title", "no"]
    return Image(["valkey-server"], [], {**SHELL, "valkey-server": start}, {}, "data")
