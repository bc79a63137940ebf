"""What the pinned LiteLLM sends to providers. Run by the interpreter of `environment.python()`, by path.

Reads a `model_list` and prints, per model, {"url", "headers", "body"} of the request that asks it to chat, or {"error": ...}
where there is none. Nothing leaves this machine: each request is answered with 400 here. Whoever logs in as a pod of GKE gets
the token `of-<account>` from a metadata server on loopback.
"""

# Runs where litellm is installed, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = "proxy@example-llm-dev.svc.id.goog"


class _Metadata(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        account = {"email": ACCOUNT, "scopes": [], "aliases": ["default"]}
        token = {"access_token": f"of-{ACCOUNT}", "expires_in": 3600, "token_type": "Bearer"}
        answer = {"/token": token, "/project-id": "project-of-the-cluster"}.get(
            self.path[self.path.rfind("/") :].partition("?")[0], account
        )
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header(
            "Content-Type", "application/text" if isinstance(answer, str) else "application/json"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


async def main() -> None:
    """Ask each model."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["GCE_METADATA_HOST"] = os.environ["GCE_METADATA_IP"] = f"127.0.0.1:{server.server_port}"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import httpx
    import litellm

    asked: list[dict[str, Any]] = []

    async def send(_: httpx.AsyncClient, request: httpx.Request, **__: Any) -> httpx.Response:
        asked.append(
            {
                "url": str(request.url),
                "headers": dict(request.headers),
                "body": json.loads(request.content or "{}"),
            }
        )
        return httpx.Response(400, request=request)

    httpx.AsyncClient.send = send
    answers: list[dict[str, Any]] = []
    for route in json.load(sys.stdin):
        asked.clear()
        said = "it was answered"
        try:
            router = litellm.Router(model_list=[route], num_retries=0)
            await router.acompletion(route["model_name"], [{"role": "user", "content": "ping"}])
        except Exception as error:  # litellm raises many
            said = str(error)
        answers.append(asked[0] if asked else {"error": said})
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(main())
