"""valkey/valkey: a real valkey-server, of the version in sandbox/containers/programs.in. It listens on the pod's address."""

from __future__ import annotations

from sandbox.containers.launch import SHELL, Image, Launch


def image(launch: Launch) -> Image:
    server = [str(launch.programs.valkey)]
    bind = [] if "--bind" in launch.arguments else ["--bind", launch.address]
    # A title of its own would be written over its environment, by which it is known.
    start = [*server, *bind, "--set-proc-title", "no"]
    return Image(["valkey-server"], [], {**SHELL, "valkey-server": start}, {}, "data")
