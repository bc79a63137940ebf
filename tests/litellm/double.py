"""The real LiteLLM proxy on a real database, with switches for faults.

Run by the interpreter of `environment.python()`, by path: `double.py [--config FILE] [--port N]`, with DATABASE_URL. Prints
one line of JSON, `{"url": ..., "masterKey": ...}`, once it answers, and serves until SIGTERM. Endpoints, models that
validate, errors, authentication, limits, budgets and asynchronous spend are the pinned version's own code, and so is its
Prisma client. What it does not do: call a model (`upstream.py` answers for all of them), share state through a Redis, run with
a licence, listen beyond loopback.

It adds, without authentication:
  GET  /_calls   calls a path since the start or the last DELETE, e.g. {"POST /key/generate": 3}
  GET  /_state   {"keys": [...], "teams": [...]}: the rows, tokens hashed
  POST /_faults  {"path": "/key/generate", "status": 500, "times": 2}: the next two such calls are answered with it.
                 "delay": seconds to wait before that; "after": true lets the call take effect before.
"""

# Runs where litellm and prisma are installed, which is not where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import tempfile
from pathlib import Path
from typing import Any

MASTER_KEY = "sk-double-master-key"


def configuration(input_cost: float, output_cost: float) -> dict[str, Any]:
    """LiteLLM's configuration with the models `small` and `large` at these costs, in USD per token."""
    upstream = {"api_base": "http://upstream.test/v1", "api_key": "upstream-key"}
    params = {**upstream, "input_cost_per_token": input_cost, "output_cost_per_token": output_cost}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}}
        for name in ("small", "large")
    ]
    return {"model_list": models, "general_settings": {"master_key": "os.environ/PROXY_MASTER_KEY"}}


class Control:
    """An ASGI application around the proxy's: counts, faults, and a look at the rows."""

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy
        self.calls: collections.Counter[str] = collections.Counter()
        self.faults: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path.startswith("/_"):
            await _answer(send, 200, await self._control(scope["method"], path, receive))
            return
        if scope["type"] != "http":
            await self.proxy(scope, receive, send)
            return
        self.calls[f"{scope['method']} {path}"] += 1
        fault = next((fault for fault in self.faults if fault["path"] == path), None)
        if fault is None:
            await self.proxy(scope, receive, send)
            return
        fault["times"] -= 1
        if not fault["times"]:
            self.faults.remove(fault)
        if fault.get("after"):
            await self.proxy(scope, receive, _nowhere)
        await asyncio.sleep(fault.get("delay", 0))
        if "status" in fault:
            error = {"message": "fault", "type": "fault", "param": None, "code": str(fault["status"])}
            await _answer(send, fault["status"], {"error": error})
        else:
            await self.proxy(scope, receive, send)

    async def _control(self, method: str, path: str, receive: Any) -> Any:
        from litellm.proxy import proxy_server

        match method, path:
            case "GET", "/_calls":
                return self.calls
            case "DELETE", "/_calls":
                self.calls.clear()
                return {}
            case "GET", "/_state":
                return {
                    "keys": await proxy_server.prisma_client.db.litellm_verificationtoken.find_many(),
                    "teams": await proxy_server.prisma_client.db.litellm_teamtable.find_many(),
                }
            case "POST", "/_faults":
                fault = json.loads((await receive())["body"])
                self.faults.append({"times": 1, **fault})
                return {}
            case _:
                raise LookupError(f"{method} {path}")


async def _nowhere(message: Any) -> None:
    pass


async def _answer(send: Any, status: int, value: Any) -> None:
    body = json.dumps(value, default=lambda row: row.model_dump(mode="json")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve(port: int, master_key: str) -> None:
    """Serve on a loopback port (0: a free one) until SIGTERM."""
    import uvicorn
    from litellm.proxy.proxy_server import app

    server = uvicorn.Server(
        uvicorn.Config(Control(app), host="127.0.0.1", port=port, log_level="warning", lifespan="on")
    )
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):
        await asyncio.sleep(0.02)
    if server.started:
        bound = server.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"url": f"http://127.0.0.1:{bound}", "masterKey": master_key}), flush=True)
    await serving


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser()
    without = "models `small` and `large` without it"
    parser.add_argument("--config", type=Path, help=f"LiteLLM's config.yaml; {without}")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()

    import upstream

    with tempfile.TemporaryDirectory() as folder, upstream.serving() as models:
        config = options.config or Path(folder) / "config.yaml"
        if not options.config:
            config.write_text(json.dumps(configuration(0.001, 0.002)))
        os.environ.setdefault("PROXY_MASTER_KEY", MASTER_KEY)
        os.environ |= {
            "CONFIG_FILE_PATH": str(config),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_SALT_KEY": "double-salt",
            # Seconds between writes of spend; 10 by default.
            "PROXY_BATCH_WRITE_AT": os.environ.get("PROXY_BATCH_WRITE_AT", "1"),
            "http_proxy": models.url,
            "https_proxy": models.url,
            "no_proxy": "localhost",
            "AIOHTTP_TRUST_ENV": "True",
        }
        asyncio.run(serve(options.port, os.environ["PROXY_MASTER_KEY"]))


if __name__ == "__main__":
    main()
