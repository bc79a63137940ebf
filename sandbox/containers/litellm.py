"""ghcr.io/berriai/litellm-database: the LiteLLM of sandbox/containers/litellm.in, with its Prisma client.

The client is generated as the image's is, with shallower types; below it is Prisma's query engine as WebAssembly
(prisma/engine.cjs), and the `prisma` command is a stand-in (prisma/prisma.cjs). Neither ddtrace nor the image's user
interface nor its supervisor is there.
"""

from __future__ import annotations

from sandbox.containers.launch import SHELL, Image, Launch


def image(launch: Launch) -> Image:
    environment, prisma = launch.programs.litellm, launch.programs.prisma
    binaries = environment / "bin"
    python = [str(binaries / "python"), "-X", f"sandbox={launch.home}"]
    (site,) = environment.glob("lib/python*/site-packages")
    folder = launch.folder / "app"
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in (("litellm", site / "litellm"), ("schema.prisma", prisma / "schema.prisma")):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    return Image(
        ["litellm"],
        ["--port", "4000"],
        {
            **SHELL,
            "litellm": [*python, str(binaries / "litellm")],
            "python": python,
            "python3": python,
            "prisma": [str(prisma / "bin" / "prisma")],
        },
        {
            "PATH": f"{prisma / 'bin'}:{binaries}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(prisma / "python"),
            "PRISMA_QUERY_ENGINE_BINARY": str(prisma / "bin" / "query-engine"),
            "NODE_OPTIONS": f"--require {launch.hooks / 'network.cjs'}",
        },
        "app",
    )
