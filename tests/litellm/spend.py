"""What the pinned LiteLLM says that calls cost. Run by the interpreter of `environment.python()`, by path.

Reads {"routes": a `model_list`, "calls": [{"model": alias, "what": of `called`, "usage": the provider's own usage}]} and
prints {"costs": the USD of each call, "free": the aliases whose requests pass every budget}. The routes are used as they
are, but for the address: `upstream.py` answers, with the usage given where that is sold; 3 images, 8 s of video, 7 s of
speech and 250 documents are what they are.
"""

# Runs where litellm is installed, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import wave
from typing import Any


def speech() -> tuple[str, bytes]:
    """Name and bytes of a file with 7 s of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 1, 1000, 0, "NONE", ""))
        written.writeframes(b"\x80" * 7000)
    return "silence.wav", file.getvalue()


def called(router: Any, model: str, what: str, usage: str) -> Any:
    """The call, to be awaited."""
    match what:
        case "chat":
            return router.acompletion(model, [{"role": "user", "content": usage}])
        case "embedding":
            return router.aembedding(model, input=usage)
        case "image":
            return router.aimage_generation("a cat", model, n=3)
        case "video":
            return router.avideo_generation(model=model, prompt="a cat", seconds="8")
        case "transcription":
            return router.atranscription(model=model, file=speech())
        case "speech":
            return router.aspeech(model, input="a cat", voice="alloy")
        case "rerank":
            return router.arerank(model=model, query="cats", documents=["a cat"] * 250)
    raise ValueError(what)


async def main() -> None:
    """Make the calls."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    import upstream
    from litellm.proxy.auth.auth_checks import _is_model_cost_zero

    asked: dict[str, Any] = json.load(sys.stdin)
    with upstream.serving() as models:
        for route in asked["routes"]:
            params = route["litellm_params"]
            params |= {"api_key": "key", "api_base": models.url}
            if not params["model"].startswith("anthropic/"):
                params["api_base"] += "/v1"
        router = litellm.Router(model_list=asked["routes"], num_retries=0)
        costs: list[float] = []
        for call in asked["calls"]:
            usage = json.dumps({"usage": call["usage"]})
            answer = await called(router, call["model"], call["what"], usage)
            costs.append(answer._hidden_params["response_cost"])
    free = [
        route["model_name"] for route in asked["routes"] if _is_model_cost_zero(route["model_name"], router)
    ]
    print(json.dumps({"costs": costs, "free": free}))


if __name__ == "__main__":
    asyncio.run(main())
