"""valkey/valkey: a real valkey-server, which listens on the pod's address: one on PATH of the tag's major version, or else that
of sandbox/containers/programs.in."""

from __future__ import annotations

from sandbox.containers import on_path
from sandbox.containers.launch import SHELL, Image, Launch
from sandbox.nodes.pods.process import StartError


def image(launch: Launch) -> Image:
    """What the image starts. Raises StartError where the spec says where to listen."""
    if "--bind" in [*launch.words, *launch.arguments]:
        raise StartError("--bind is not emulated by the sandbox: valkey-server listens on the pod's address")
    found = on_path.folder("valkey-server", launch.container["image"])
    server = [str(found / "valkey-server" if found else launch.programs.valkey)]
    # A title of its own would be written over its environment, by which it is known.
    start = [*server, "--bind", launch.address, "--set-proc-title", "no"]
    return Image(["valkey-server"], [], {**SHELL, "valkey-server": start}, {}, "data")
