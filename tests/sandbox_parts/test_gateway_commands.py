"""`make key`, `make validate`, the end of `make up`: what they read and say, and what they say where there is nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from sandbox import gateway
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.paths import Home
from sandbox.start import Sandbox
from tools.report.answer import Answer

SECRET = "projects/p/secrets/key"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    home = Home(tmp_path)
    home.stack_file("dev").parent.mkdir(parents=True)
    home.stack_file("dev").write_text("config: {llm-gateway:gcp: {project: p}}")
    home.pods_mode.write_text("run")
    return Sandbox(home, "dev", tmp_path, {})


def deployed(box: Sandbox, **latest: Any) -> None:
    checkpoint = box.home.checkpoint("dev")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text(json.dumps({"checkpoint": {"latest": latest}}))


def test_a_key_is_that_of_the_newest_version(box: Sandbox) -> None:
    deployed(box, resources=[{"outputs": {"virtualKeySecrets": {"app": SECRET}}}])
    cloud = Cloud(box.home.cloud)
    for version in range(1, 11):
        payload = base64.b64encode(f"sk-{version}".encode()).decode()
        cloud.create(
            "secretVersion", f"{SECRET}/versions/{version}", {"version": str(version), "payload": payload}
        )
    assert gateway.key(box, "app") == "sk-10"
    with pytest.raises(SandboxError, match="declares no virtual key 'other'; it has app"):
        gateway.key(box, "other")


def test_a_secret_without_a_version(box: Sandbox) -> None:
    deployed(box, resources=[{"outputs": {"virtualKeySecrets": {"app": SECRET}}}])
    with pytest.raises(SandboxError, match="has no version"):
        gateway.key(box, "app")


@pytest.mark.parametrize("latest", [None, {}, {"resources": [{"outputs": {}}]}])
def test_a_stack_that_is_not_up_is_not_validated(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, latest: dict[str, Any] | None
) -> None:
    monkeypatch.setattr(gateway, "url", lambda home: "http://127.0.0.1:1")
    if latest is not None:
        deployed(box, **latest)
    with pytest.raises(SandboxError, match="was not brought up here"):
        gateway.validate(box, [])


KEY = "sk-0123456789"
COMPLETION = {
    "choices": [{"message": {"content": "Hello!"}}],
    "usage": {"prompt_tokens": 31, "completion_tokens": 10},
}


MODELS = ["embedder", "qwen-local"]
MASTER_KEY = "sk-master"
MASTER_SECRET = "projects/p/secrets/litellm-master-key"


class Gateway(BaseHTTPRequestHandler):
    """Answers as LiteLLM does: ready, and a chat with `status` and `body`; a refusal tells of the key."""

    status: ClassVar = 200
    body: ClassVar[dict[str, Any]] = COMPLETION

    def do_GET(self) -> None:
        if self.path == "/model/info":
            assert self.headers["authorization"] == f"Bearer {MASTER_KEY}"
            rows = [("embedder", {"mode": "embedding"}), ("qwen-local", {"mode": None})]
            data = [{"model_name": name, "model_info": info} for name, info in rows]
            self._send(200, {"data": data})
        else:
            assert self.path == "/health/readiness"
            self._send(200, {})

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        assert self.headers["authorization"] == f"Bearer {KEY}"
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert body["model"] == "qwen-local"
        self._send(self.status, self.body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("x-litellm-response-cost", "3.55e-06")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def answering(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a gateway that answers in the sandbox, for one declared key."""
    outputs = {
        "virtualKeySecrets": {"app": SECRET},
        "modelAliases": MODELS,
        "secretNames": {"masterKey": MASTER_SECRET},
    }
    deployed(box, resources=[{"outputs": outputs}])
    for secret, value in ((SECRET, KEY), (MASTER_SECRET, MASTER_KEY)):
        payload = base64.b64encode(value.encode()).decode()
        Cloud(box.home.cloud).create(
            "secretVersion", f"{secret}/versions/1", {"version": "1", "payload": payload}
        )
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        Thread(target=server.serve_forever).start()
        box.home.gateway_port.write_text(str(server.server_port))
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(gateway, "url", lambda home: url)
        yield url
        server.shutdown()


def test_an_up_ends_with_what_the_gateway_answers(
    box: Sandbox, answering: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gateway.ask(box)
    gateway.show(box)
    table, calls = capfd.readouterr()
    row = [cell.strip() for cell in table.splitlines()[4].strip("│").split("│")]
    assert row[:4] == ["ready", answering, "app", "qwen-local"]
    assert row[4].startswith("200 after ")
    assert row[4].endswith(" s, 41 tokens, 0.00000355 USD")
    assert "key NAME=app" in calls
    assert Answer(**json.loads(box.home.answer.read_text())).text == "Hello!"
    assert KEY not in table + calls + box.home.answer.read_text()


def test_a_refusal_is_said_without_its_words(
    box: Sandbox, answering: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Gateway, "status", 429)
    monkeypatch.setattr(Gateway, "body", {"error": {"message": f"Received={KEY}"}})
    assert gateway.ask(box)
    gateway.show(box)
    text = "".join(capfd.readouterr()) + box.home.answer.read_text()
    assert "429 after" in text
    assert KEY not in text


def test_a_stack_without_keys_is_asked_nothing(
    box: Sandbox, answering: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box.home.checkpoint("dev").write_text(
        '{"checkpoint": {"latest": {"resources": [{"outputs": {"a": 1}}]}}}'
    )
    assert gateway.ask(box)
    gateway.show(box)
    table, calls = capfd.readouterr()
    assert ["ready", answering] == table.splitlines()[4].replace("│", " ").split()
    assert (calls, box.home.answer.exists()) == ("", False)


@pytest.mark.parametrize(("mode", "config"), [("played", "llm-gateway:gcp"), ("run", "other:a")])
def test_played_pods_and_other_programs_are_asked_nothing(
    box: Sandbox, answering: str, mode: str, config: str
) -> None:
    box.home.pods_mode.write_text(mode)
    box.home.stack_file("dev").write_text(f"config: {{{config}: {{}}}}")
    assert not gateway.ask(box)
    assert not box.home.answer.exists()


def test_a_gateway_that_does_not_answer_is_asked_nothing(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gateway, "_WAIT_SECONDS", -1)
    assert not gateway.ask(box)
    assert "the gateway does not answer yet" in capfd.readouterr().err
    assert not box.home.answer.exists()
