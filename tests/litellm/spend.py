"""What the pinned LiteLLM says that calls cost. Run by the interpreter of `environment.python()`, by path.

Reads {"routes": a `model_list`, "calls": [{"model": alias, "usage": the provider's own usage, "embed": bool}]} and prints
the USD of each call. The routes are used as they are, but for the address: `upstream.py` answers, with the usage given.
"""

# Runs where litellm is installed, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


async def main() -> None:
    """Make the calls."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    import upstream

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
            if call.get("embed"):
                answer = await router.aembedding(call["model"], input=usage)
            else:
                answer = await router.acompletion(call["model"], [{"role": "user", "content": usage}])
            costs.append(answer._hidden_params["response_cost"])
    print(json.dumps(costs))


if __name__ == "__main__":
    asyncio.run(main())
