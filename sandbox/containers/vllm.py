"""vllm/vllm-openai: an OpenAI-compatible server with a small real model (vllm_server.py says what it is not)."""

from __future__ import annotations

from sandbox.containers.launch import SANDBOX, SHELL, Image, Launch


def image(launch: Launch) -> Image:
    server = launch.python("sandbox.containers.vllm_server")
    variables = {
        **SANDBOX,
        "SANDBOX_MODEL": str(launch.programs.model),
        "SANDBOX_PROGRAMS": str(launch.programs.programs),
    }
    return Image(["vllm", "serve"], [], {**SHELL, "vllm": server}, variables, "vllm-workspace")
