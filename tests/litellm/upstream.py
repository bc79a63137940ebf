"""An OpenAI-compatible upstream on loopback that records what reaches it, as the HTTP proxy of who talks to it.

As a proxy it takes requests for any host, so that configurations are used as they are. Every answer says `pong` and
counts 10 tokens in, 5 out; `stream` makes it an event stream, `stream_options.include_usage` counts there. A model
named `broken` is answered with 500, one named `missing` with 404, `short` as too long for it, `prude` by a content policy, `hung` after 20 s, and `stalled` by a stream that pauses
for 20 s after its first part; a message, or an embedding's input, that is `{"usage": ...}` in JSON with that usage. It
knows chat completions, embeddings, Anthropic's messages, images (Gemini's, too), videos, speech, transcriptions, and
reranks, of which it bills a search per 100 documents as Cohere does, or 10 tokens; no TLS: a CONNECT is refused.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PROMPT_TOKENS, COMPLETION_TOKENS = 10, 5
USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
}
IMAGE_TOKENS = 3000
IMAGE_USAGE = {
    "input_tokens": PROMPT_TOKENS,
    "output_tokens": IMAGE_TOKENS,
    "total_tokens": PROMPT_TOKENS + IMAGE_TOKENS,
}
HUNG_SECONDS = 20
_REFUSALS = {
    "short": {
        "code": "context_length_exceeded",
        "message": "This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens.",
    },
    "prude": {
        "code": "content_policy_violation",
        "message": "Your request was rejected as a result of our safety system.",
    },
}


@dataclass(frozen=True)
class Call:
    """A request that came in; header names in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any]


class Upstream:
    """The running server: `url` is its address, `calls` what it got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[Call] = []


@contextlib.contextmanager
def serving() -> Generator[Upstream]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    upstream = server.upstream = Upstream(f"http://127.0.0.1:{server.server_port}")  # pyright: ignore[reportAttributeAccessIssue]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        self._record({})
        self.send_error(502)

    def do_GET(self) -> None:
        self._record({})
        self.send_error(404)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"]))
        # Of a form, as speech comes in, nothing is read; in Google's URLs, not in the body, is the model.
        form = self.headers["content-type"].startswith("multipart/form-data")
        body: dict[str, Any] = {"model": ""} | ({} if form else json.loads(sent))
        self._record(body)
        body["id"] = uuid.uuid4().hex
        if body["model"] == "hung":
            time.sleep(HUNG_SECONDS)
        if body["model"] == "missing":
            self._answer({"error": {"message": "missing", "type": "not_found"}}, 404)
        elif body["model"] in _REFUSALS:
            self._answer({"error": _REFUSALS[body["model"]] | {"type": "invalid_request_error"}}, 400)
        elif body["model"] == "broken":
            self._answer({"error": {"message": "broken", "type": "server_error"}}, 500)
        elif answer := _made(urlsplit(self.path).path.rpartition("/")[2], body):
            self._answer(answer)
        elif urlsplit(self.path).path.endswith("/messages"):
            self._answer(_message(body) | _asked_usage(body))
        elif "input" in body:
            data = [{"object": "embedding", "index": 0, "embedding": [0.0]}]
            usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
            made = {"object": "list", "data": data, "model": body["model"], "usage": usage}
            self._answer(made | _asked_usage(body))
        elif body.get("stream"):
            self._stream(body)
        else:
            message = {"role": "assistant", "content": "pong"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._answer(_object(body, "chat.completion", [choice]) | {"usage": USAGE} | _asked_usage(body))

    def _record(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        calls: list[Call] = self.server.upstream.calls  # pyright: ignore[reportAttributeAccessIssue]
        calls.append(Call(self.command, self.path, headers, body))

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, body: dict[str, Any]) -> None:
        deltas = [{"role": "assistant", "content": "po"}, {"content": "ng"}, {}]
        kind = "chat.completion.chunk"
        events = [
            _object(body, kind, [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}])
            for delta in deltas
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(_object(body, kind, []) | {"usage": USAGE})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in [*map(json.dumps, events), "[DONE]"]:
            self.wfile.write(f"data: {event}\n\n".encode())
            if body["model"] == "stalled":
                time.sleep(HUNG_SECONDS)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _made(what: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request for something else than text or its embedding; empty for these."""
    match what:
        case "generations":
            return {"created": 1, "data": [{"b64_json": "AA=="}] * body.get("n", 1), "usage": IMAGE_USAGE}
        case "videos":
            video = {"id": f"video_{body['id']}", "object": "video", "created_at": 1, "status": "queued"}
            return video | {"seconds": body.get("seconds", "4")}
        case "transcriptions" | "speech":
            return {"text": "pong"}
        case "rerank":
            searches = -(-len(body["documents"]) // 100)
            result = {"index": 0, "relevance_score": 0.5}
            return {
                "id": body["id"],
                "results": [result],
                "meta": {"billed_units": {"search_units": searches}},
                "usage": {"total_tokens": PROMPT_TOKENS},
            }
    if what.endswith(":generateContent"):
        image = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 1290, "totalTokenCount": 1300}
        content = {"parts": [image], "role": "model"}
        return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}
    return {}


def _asked_usage(body: dict[str, Any]) -> dict[str, Any]:
    """The usage that the request itself asks to be answered with."""
    text = body["input"] if "input" in body else body["messages"][-1]["content"]
    if isinstance(text, list):
        (text,) = (part["text"] if isinstance(part, dict) else part for part in text)
    return json.loads(text) if text.startswith('{"usage"') else {}


def _object(body: dict[str, Any], kind: str, choices: list[Any]) -> dict[str, Any]:
    made = {"id": f"chatcmpl-{body['id']}", "object": kind, "created": 1}
    return {**made, "model": body["model"], "choices": choices}


def _message(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{body['id']}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": "pong"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS},
    }
