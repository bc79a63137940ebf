"""vLLM's stand-in: its options are the pinned version's, its refusals vLLM's. The model itself is a double here."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

import versions
from sandbox.containers import vllm_options, vllm_server
from sandbox.containers.vllm_server import Engine, Handler, adapters, parse

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


class Model:
    """Answers with how much it was asked for."""

    def handle_chat_completions(self, body: dict[str, Any], send: Callable[[Any], bool] | None = None) -> Any:
        if not body["messages"]:
            raise ValueError("no messages")
        if body["messages"] == ["long"]:
            error = {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 5000}
            return {"error": error} if send is None else send({"error": error})
        answer = {
            "choices": [],
            "model": "file.gguf",
            "timings": {},
            "usage": {"total_tokens": body["max_tokens"], "prompt_tokens_details": {"cached_tokens": 1}},
        }
        if send is None:
            return answer
        self.stopped = send(answer)
        return None

    handle_completions = handle_chat_completions


@pytest.fixture
def ask() -> Iterator[Callable[..., tuple[int, Any]]]:
    """POST, or GET without a body; status and decoded answer."""
    engine = Engine.__new__(Engine)
    engine.model, engine.names, engine.longest, engine.keys = MODEL, [MODEL], 4096, {"key"}
    engine.tells_cached, engine.chats = False, True
    engine.adapters = {"support": "my-org/support-lora"}
    engine._server, engine._slots = Model(), threading.Semaphore(2)  # pyright: ignore[reportPrivateUsage]
    handler = type("Bound", (Handler,), {"engine": engine, "log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def asked(path: str, body: Any = None, key: str | None = "key") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        text = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("GET" if text is None else "POST", path, text, headers)
        answer = connection.getresponse()
        data = answer.read().decode()
        return answer.status, json.loads(data) if data.startswith("{") else data

    asked.engine = engine  # pyright: ignore[reportFunctionMemberAccess]
    yield asked
    server.shutdown()


def test_the_stand_in_is_of_the_pinned_version() -> None:
    assert f"v{vllm_server.VERSION}" == versions.VLLM_IMAGE.tag


def test_options_are_vllms() -> None:
    words = [MODEL, "--max-model", "4k", "--gpu_memory_utilization=0.9", "--no-enable-prefix-caching"]
    found = parse(["serve", *words, "--dtype", "bfloat16", "--served-model-name", "a", "b"])
    assert (found.max_model_len, found.gpu_memory_utilization, found.enable_prefix_caching) == (
        4000,
        0.9,
        False,
    )
    assert found.served_model_name == ["a", "b"]


def test_adapters_are_models_beside_their_own(ask: Callable[..., tuple[int, Any]]) -> None:
    _, listed = ask("/v1/models")
    names = {model["id"]: (model["root"], model["parent"]) for model in listed["data"]}
    assert names == {MODEL: (MODEL, None), "support": ("my-org/support-lora", MODEL)}
    body = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 5}
    for name, status in ((MODEL, 200), ("support", 200), ("my-org/support-lora", 404)):
        assert ask("/v1/chat/completions", {"model": name, **body})[0] == status


def test_adapters_are_named_as_vllm_is_told() -> None:
    words = ["serve", MODEL, "--enable-lora", "--lora-modules", "a=my-org/a", "b=my-org/b"]
    assert adapters(parse(words)) == {"a": "my-org/a", "b": "my-org/b"}
    for wrong in (["--lora-modules", "a=b"], ["--enable-lora", "--lora-modules", '{"name": "a"}']):
        with pytest.raises(SystemExit, match="is only played"):
            adapters(parse(["serve", MODEL, *wrong]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max-modl-len", "1"], "unrecognized arguments: --max-modl-len 1"),
        (["--max-num", "1"], "ambiguous option: --max-num could match --max-num-batched-tokens"),
        (["--dtype", "bf"], "argument --dtype: invalid choice: 'bf'"),
        (["--port", "x"], "argument --port: invalid"),
        (["--swap-space", "4"], "unrecognized arguments"),
    ],
)
def test_a_wrong_option_ends_it(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["serve", MODEL, *words])
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_options_are_read_from_sources() -> None:
    sources = {
        "vllm/config/model.py": """
Kind = Literal["auto", "half"]
Kinds = Literal[Kind, "other"]
class Base:
    length: int | None = None
@config
class ModelConfig(Base):
    dtype: Kind | X = "auto"
    runner: "Kinds | None" = None
    format: Kind | str = "auto"
    max_model_len: int = 0
    eager: bool = False
    names: str | list[str] | None = None
    sizes: list[int] | None = None
    token: bool | str | None = None
    more: ModelConfig | None = None
    keywords: dict[str, Any] = {}
    overrides: dict[str, Any] | Callable[[X], X]
""",
        "vllm/engine/arg_utils.py": """
class EngineArgs:
    def add_cli_args(parser):
        model_kwargs = get_kwargs(ModelConfig)
        group.add_argument("--length", "-l", **model_kwargs["length"])
        group.add_argument("--dtype", **model_kwargs["dtype"])
        group.add_argument("--runner", **model_kwargs["runner"])
        group.add_argument("--format", **model_kwargs["format"])
        group.add_argument("--max-model-len", **model_kwargs["max_model_len"])
        group.add_argument("--eager", **{**model_kwargs["eager"], "default": None})
        group.add_argument("--names", **model_kwargs["names"])
        group.add_argument("--sizes", **model_kwargs["sizes"])
        group.add_argument("--token", **model_kwargs["token"])
        group.add_argument("--more", **model_kwargs["more"])
        group.add_argument("--keywords", **model_kwargs["keywords"])
        group.add_argument("--overrides", **model_kwargs["overrides"])
        moe_backend_kwargs = model_kwargs["moe_backend"]
        group.add_argument("--moe-backend", **moe_backend_kwargs)
        group.add_argument("--grpc", action="store_true")
        group.add_argument("--log", action=argparse.BooleanOptionalAction, default=False)
        group.add_argument("--rank", type=int, help="")
        group.add_argument("--file", help="")
""",
        "vllm/entrypoints/openai/cli_args.py": """
class BaseFrontendArgs:
    allowed_origins: list[str] = ["*"]
class FrontendArgs(BaseFrontendArgs):
    port: int = 8000
""",
    }
    assert vllm_options.options(sources) == {
        "--allowed-origins": "json",
        "--dtype": ["auto", "half"],
        "--eager": "bool",
        "--file": "text",
        "--format": "text",
        "--grpc": "flag",
        "--keywords": "json",
        "--length -l": "int or none",
        "--log": "bool",
        "--max-model-len": "length",
        "--moe-backend": "text",
        "--more": "json or none",
        "--names": "list",
        "--overrides": "text",
        "--port": "int",
        "--rank": "int",
        "--runner": ["auto", "half", "other"],
        "--sizes": "ints",
        "--token": "optional",
    }


def test_it_answers_under_the_served_name(ask: Callable[..., tuple[int, Any]]) -> None:
    status, answer = ask("/v1/chat/completions", {**ASKED, "max_tokens": 7})
    assert (status, answer["model"]) == (200, MODEL)
    assert answer["usage"] == {"total_tokens": 7, "prompt_tokens_details": None}, "as vLLM without the option"
    assert "timings" not in answer
    assert ask("/v1/models")[1]["data"][0]["id"] == MODEL


def test_it_streams(ask: Callable[..., tuple[int, Any]]) -> None:
    status, text = ask("/v1/chat/completions", {**ASKED, "stream": True})
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert (status, json.loads(events[0])["model"], events[-1]) == (200, MODEL, "[DONE]")


def test_with_the_pooling_runner_it_chats_with_nobody(ask: Any) -> None:
    ask.engine.chats = parse(["serve", MODEL, "--runner", "pooling"]).runner != "pooling"
    assert ask("/v1/chat/completions", ASKED) == (404, {"detail": "Not Found"})
    assert ask("/v1/models")[0] == 200


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
def test_a_wrong_key_is_refused(ask: Callable[..., tuple[int, Any]], path: str, key: str | None) -> None:
    body = ASKED if path.endswith("completions") else None
    assert ask(path, body, key) == (401, {"error": "Unauthorized"})
    assert ask("/health", None, key)[0] == 200


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"model": "other"}, 404, "The model `other` does not exist."),
        ({"messages": None}, 400, "Field required"),
        ({"messages": []}, 400, "no messages"),
        ({"max_tokens": 5000}, 400, "maximum context length is 4096 tokens"),
        ({"max_tokens": "7"}, 400, "Input should be a valid integer"),
        ({"messages": ["long"]}, 400, "You passed 5000 input tokens and requested 0 output tokens."),
    ],
)
def test_requests_that_vllm_refuses(
    ask: Callable[..., tuple[int, Any]], changes: dict[str, Any], status: int, says: str
) -> None:
    found = ask("/v1/chat/completions", {**ASKED, **changes})
    assert found[0] == status
    assert says in found[1]["error"]["message"]
    assert ask("/v1/chat/completions", {**ASKED, **changes, "stream": True})[0] == status


def test_a_client_that_has_gone_stops_the_model() -> None:
    engine, model = Engine.__new__(Engine), Model()
    engine.names, engine.longest, engine.tells_cached, engine.adapters = [MODEL], 4096, False, {}
    engine._server, engine._slots = model, threading.Semaphore(2)  # pyright: ignore[reportPrivateUsage]

    def send(chunk: dict[str, Any]) -> None:
        raise BrokenPipeError

    engine.complete(True, ASKED, send)
    assert model.stopped


def test_what_it_does_not_know_is_not_found(ask: Callable[..., tuple[int, Any]]) -> None:
    assert ask("/v1/embeddings", {"model": MODEL, "input": "x"})[0] == 404
    assert ask("/v1/chat/completions", b"no json")[0] == 400
    assert ask("/v1/chat/completions", b"[]")[0] == 400
