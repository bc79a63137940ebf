"""vLLM's OpenAI-compatible server, played with a real model of 135 million parameters on llama.cpp.

    python -m sandbox.containers.vllm_server serve MODEL [vLLM's options]

It answers under the served model's name, whatever model that names: with SmolLM2-135M-Instruct. Refusals, of a wrong key,
another model, too long a prompt, are vLLM 0.23.0's in status and words (vllm/entrypoints/openai). What it is not: vLLM. It
has no GPU, no batching worth measuring, no tools, images, embeddings, logprobs or guided decoding. It writes 256
tokens where a chat asks for no number, never more than 1,024, and takes a prompt that fits but leaves no room for them. It
takes the options of that version (settings/vllm_arguments.py), looks at few of them, and ends at any other with argparse's words.
LoRA adapters have their names, and answer as the model itself does; no weights are read, wherever they are said to be.
With `--runner pooling` it lists the model and, as vLLM, knows no path that chats or completes; embeddings it has none.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn

from sandbox.containers.hooks import network
from settings.vllm_arguments import add_options, rewritten

VERSION = "0.23.0"
_LONGEST = 8192
"""Tokens that the model behind was trained for."""
Send = Callable[[dict[str, Any]], None]
"""Sends one chunk of an answer. Raises ConnectionError where the client has gone."""


def parse(words: list[str]) -> argparse.Namespace:
    """The options of `vllm serve`. Ends the process as argparse does at one that is wrong."""
    parser = argparse.ArgumentParser(prog="vllm")
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    serve.add_argument("model_tag", nargs="?")
    add_options(serve)
    return parser.parse_args(rewritten(words))


def adapters(options: argparse.Namespace) -> dict[str, str]:
    """Where the LoRA adapters are, by the name that each is served under; they are played by the model itself."""
    words: list[str] = options.lora_modules or []
    if words and not options.enable_lora:
        sys.exit("vllm: --lora-modules is only played with --enable-lora")
    if any("=" not in word for word in words):
        sys.exit("vllm: --lora-modules is only played as <name>=<path>")
    return {name: path for name, _, path in (word.partition("=") for word in words)}


class Refusal(Exception):
    """A request that vLLM refuses."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Engine:
    """The model, and the names that it is served under."""

    def __init__(self, options: argparse.Namespace) -> None:
        sys.path.append(os.environ["SANDBOX_PROGRAMS"])
        import xllamacpp  # pyright: ignore[reportMissingImports]

        self.model: str = options.model_tag or options.model or "Qwen/Qwen3-0.6B"
        self.names: list[str] = options.served_model_name or [self.model]
        self.adapters = adapters(options)
        self.longest = min(options.max_model_len or _LONGEST, _LONGEST)
        self.keys = {key for key in options.api_key or [os.environ.get("VLLM_API_KEY")] if key}
        self.chats = options.runner != "pooling"
        self.tells_cached = bool(options.enable_prompt_tokens_details)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = os.environ["SANDBOX_MODEL"]
        parameters.n_ctx = self.longest
        parameters.n_parallel = 2
        parameters.kv_unified = True
        # One thread: more of them wait for each other in busy loops, which takes seconds where others want the CPU.
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.warmup = False
        parameters.api_keys = [secrets.token_hex(16)]  # it also listens itself, where nobody asks it
        self._server = xllamacpp.Server(parameters)
        self._slots = threading.Semaphore(2)

    def served(self) -> Iterator[tuple[str, str, str | None]]:
        """Name, where it is from, and the model that it is an adapter on, of all that may be asked for."""
        yield from ((name, self.model, None) for name in self.names)
        yield from ((name, path, self.names[0]) for name, path in self.adapters.items())

    def complete(self, chat: bool, body: dict[str, Any], send: Send | None) -> dict[str, Any]:
        """Answer a request; with `send` in chunks. Raises Refusal."""
        if body.get("model") not in (*self.names, *self.adapters):
            raise Refusal(404, "NotFoundError", f"The model `{body.get('model')}` does not exist.", "model")
        wrong = [
            f"{{'type': 'int_type', 'loc': ('body', '{name}'), 'msg': 'Input should be a valid integer'}}"
            for name in ("max_tokens", "max_completion_tokens")
            if not isinstance(body.get(name), int | None)
        ]
        if wrong:
            raise Refusal(400, "BadRequestError", f"[{', '.join(wrong)}]")
        if chat and not isinstance(body.get("messages"), list):
            raise Refusal(
                400,
                "BadRequestError",
                "[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}]",
            )
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or (None if chat else 16)
        if asked is not None and asked >= self.longest:
            raise Refusal(
                400,
                "BadRequestError",
                f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is "
                f"{self.longest} tokens.",
                "max_tokens",
            )
        wanted = {key: value for key, value in body.items() if key not in ("model", "user", "metadata")}
        wanted["max_tokens"] = min(asked or 256, 1024)
        identity = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        handle = self._server.handle_chat_completions if chat else self._server.handle_completions

        def dressed(answer: dict[str, Any]) -> dict[str, Any]:
            answer.pop("timings", None)
            answer.pop("system_fingerprint", None)
            if (usage := answer.get("usage")) and not self.tells_cached:
                usage["prompt_tokens_details"] = None
            return {**answer, "id": identity, "model": body["model"]}

        answer: dict[str, Any] = {}

        def stops(chunk: dict[str, Any]) -> bool:
            """Whether the model is to stop at this chunk."""
            nonlocal answer
            if "error" in chunk:
                answer = chunk
                return True
            try:
                if send:
                    send(dressed(chunk))
            except ConnectionError:
                return True
            return False

        with self._slots:
            try:
                if send is None:
                    answer = handle(wanted)
                else:
                    handle({**wanted, "stream": True}, stops)
            except ValueError as error:
                raise Refusal(400, "BadRequestError", str(error)) from error
        if "error" in answer:
            raise self._refusal(answer["error"], asked or 0)
        return dressed(answer) if answer else {}

    def _refusal(self, error: dict[str, Any], asked: int) -> Refusal:
        """What vLLM says to a request that llama.cpp refuses."""
        if error.get("type") != "exceed_context_size_error":
            return Refusal(400, "BadRequestError", error["message"])
        return Refusal(
            400,
            "BadRequestError",
            f"You passed {error['n_prompt_tokens']} input tokens and requested {asked} output tokens. However, the model's "
            f"context length is only {self.longest} tokens, resulting in a maximum input length of {self.longest - asked} "
            "tokens. Please reduce the length of the input prompt.",
            "input_tokens",
        )


class Handler(BaseHTTPRequestHandler):
    """vLLM's routes, as far as the stack's clients use them."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        engine = self.engine
        match self.path.partition("?")[0]:
            case "/health" | "/ping":
                self._answer(200, None)
            case "/version":
                self._answer(200, {"version": VERSION})
            case "/metrics":
                name = f'model_name="{engine.names[0]}"'
                text = f"vllm:num_requests_running{{{name}}} 0.0\nvllm:num_requests_waiting{{{name}}} 0.0\n"
                self._answer(200, text)
            case "/v1/models":
                if self._authorized():
                    made = [
                        {
                            "id": name,
                            "object": "model",
                            "created": int(time.time()),
                            "owned_by": "vllm",
                            "root": root,
                            "parent": parent,
                            "max_model_len": None if parent else engine.longest,
                            "permission": [],
                        }
                        for name, root, parent in engine.served()
                    ]
                    self._answer(200, {"object": "list", "data": made})
            case _:
                self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length", 0)))
        chat = {"/v1/chat/completions": True, "/v1/completions": False}.get(self.path.partition("?")[0])
        if self.path.startswith("/v1") and not self._authorized():
            return
        if chat is None or not self.engine.chats:
            self._answer(404, {"detail": "Not Found"})
            return
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ValueError("Input should be a valid dictionary")
            if body.get("stream"):
                self._stream(chat, body)
            else:
                self._answer(200, self.engine.complete(chat, body, None))
        except ValueError as error:
            self._answer(
                400, {"error": {"message": str(error), "type": "Bad Request", "param": None, "code": 400}}
            )
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body)
        except ConnectionError:  # the client has gone
            self.close_connection = True

    def _authorized(self) -> bool:
        kind, _, key = self.headers.get("authorization", "").partition(" ")
        if not self.engine.keys or (kind.lower() == "bearer" and key in self.engine.keys):
            return True
        self._answer(401, {"error": "Unauthorized"})
        return False

    def _stream(self, chat: bool, body: dict[str, Any]) -> None:
        begun = False

        def send(text: str) -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.send_response(200)
                self.send_header("content-type", "text/event-stream; charset=utf-8")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
            data = f"data: {text}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        self.engine.complete(chat, body, lambda chunk: send(json.dumps(chunk)))
        send("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, content: Any) -> None:
        kind = "text/plain; version=0.0.4" if isinstance(content, str) else "application/json"
        data = (
            b""
            if content is None
            else content.encode()
            if isinstance(content, str)
            else json.dumps(content).encode()
        )
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"INFO:     {self.client_address[0]}:{self.client_address[1]} - {format % args}", flush=True)


def main() -> NoReturn:
    options = parse(sys.argv[1:])
    network.install()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Handler.engine = Engine(options)
    server = ThreadingHTTPServer((options.host or "0.0.0.0", options.port or 8000), Handler)  # noqa: S104
    server.daemon_threads = True
    print("INFO:     Application startup complete.", flush=True)
    server.serve_forever()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
