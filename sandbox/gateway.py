"""The gateway that runs in a sandbox, for those who call it from this machine: its URL, its keys, two requests to try.

On 127.0.0.1 listens what `kubectl port-forward` to the proxy's Service would be on GKE; in the cluster itself, addresses and
policies are the cluster's (sandbox/network).
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from sandbox import stack_file
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.nodes import pods_daemon
from sandbox.paths import REPOSITORY, Home, write_atomically
from sandbox.phases import say
from sandbox.processes import fork_command, run
from sandbox.start import Sandbox

_WAIT_SECONDS = 180.0
"""How long the gateway may take to answer after an `up`."""
_ANSWER_SECONDS = 30.0
"""How long it may take to complete a chat: a model outside of the cluster cannot be reached from here."""
_OK = 200


def url(home: Home) -> str:
    """The gateway's URL on loopback. Raises SandboxError where none runs."""
    if not pods_daemon.runs(home):
        raise SandboxError(
            f"no gateway runs in {home.root}: its pods are played, or nothing was deployed yet."
        )
    if not pods_daemon.is_up(home) or not home.gateway_port.exists():
        raise SandboxError(f"no gateway runs in {home.root}: `make up` starts it.")
    return f"http://127.0.0.1:{home.gateway_port.read_text()}"


def key(box: Sandbox, name: str) -> str:
    """The value of a declared virtual key, as Secret Manager has it. Raises SandboxError."""
    secrets = _outputs(box).get("virtualKeySecrets") or {}
    if name not in secrets:
        raise SandboxError(
            f"stack {box.stack} declares no virtual key {name!r}; it has {', '.join(secrets) or 'none'}."
        )
    return _payload(box, secrets[name])


def ask(box: Sandbox) -> bool:
    """Wait until the gateway answers, and have it complete a chat with the first declared key and the first model that
    one can chat with. Returns whether it answers.

    What came of the chat is kept for the report, with the key's name and without its value. Where pods are played, and of
    another program than the gateway's, nothing is asked.
    """
    settings = yaml.safe_load(box.home.stack_file(box.stack).read_text())
    if not pods_daemon.runs(box.home) or not stack_file.is_gateway(settings):
        return False
    start = time.monotonic()
    while not _is_ready(box.home):
        if time.monotonic() - start > _WAIT_SECONDS:
            say(
                f"the gateway does not answer yet; `kubectl get pods -A` in `make shell` says why. Log: {box.home.pods_log}"
            )
            return False
        time.sleep(0.5)
    outputs = _outputs(box)
    keys, models = outputs.get("virtualKeySecrets"), outputs.get("modelAliases")
    if keys and models and (model := _chats(box, models)):
        write_atomically(box.home.answer, json.dumps(_answer(box, next(iter(keys)), model)))
    return True


def _chats(box: Sandbox, models: Sequence[str]) -> str | None:
    """The first of the models that one can chat with, as the gateway tells its master key; None where there is none."""
    master = {"authorization": f"Bearer {_payload(box, _outputs(box)['secretNames']['masterKey'])}"}
    status, _, text = _call(box.home, _ANSWER_SECONDS, "GET", "/model/info", None, master)
    rows = json.loads(text)["data"] if status == _OK else []
    modes = {row["model_name"]: row["model_info"].get("mode") for row in rows}
    return next(
        (model for model in models if modes.get(model) in (None, "chat", "completion", "responses")), None
    )


def show(box: Sandbox) -> None:
    """Say where the gateway is, what it answered, and how to call it."""
    answer = json.loads(box.home.answer.read_text()) if box.home.answer.exists() else None
    table = Table("outcome", "URL", title="Gateway", title_justify="left")
    row = ["ready", url(box.home)]
    if answer:
        for column in ("key", "model", "answer"):
            table.add_column(column)
        said = f"{answer['status'] or 'none'} after {answer['seconds']:.1f} s"
        if answer["status"] == _OK:
            tokens = answer["prompt_tokens"] + answer["completion_tokens"]
            said += f", {tokens} tokens, {answer['spend']:.8f} USD"
        row += [answer["key"], answer["model"], said]
    table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)
    if not answer:
        return
    stack = "" if box.stack == "dev" else f" STACK={box.stack}"
    call = f"curl -s $(make -s url{stack})"
    bearer = f'-H "Authorization: Bearer $(make -s key NAME={answer["key"]}{stack})"'
    body = json.dumps(_question(answer["model"]))
    say(f"  {call}/v1/chat/completions {bearer} -H \"Content-Type: application/json\" -d '{body}'")
    say(f"  {call}/key/info {bearer}")


def validate(box: Sandbox, arguments: Sequence[str]) -> int:
    """Have the project's validation look at the gateway, with the sandbox's kubeconfig and the master key; its exit code.

    Raises SandboxError where no gateway runs.
    """
    url(box.home)
    secret = _outputs(box)["secretNames"]["masterKey"]
    env = {**box.env, "PYTHONPATH": str(REPOSITORY), "LITELLM_MASTER_KEY": _payload(box, secret)}
    context = json.loads(box.home.kubeconfig.read_text())["current-context"]
    command = [
        *fork_command(box.home, "tools.validate"),
        "--stack",
        box.stack,
        "--context",
        context,
        *arguments,
    ]
    return run(command, env, box.root)


def _payload(box: Sandbox, secret: str) -> str:
    """A secret's newest value. Raises SandboxError."""
    rows = Cloud(box.home.cloud).list("secretVersion", f"{secret}/versions/")
    if not rows:
        raise SandboxError(f"{secret} has no version: `make up STACK={box.stack}` writes one.")
    return base64.b64decode(max(rows, key=lambda row: int(row["version"]))["payload"]).decode()


def _outputs(box: Sandbox) -> dict[str, Any]:
    """The stack's outputs. Raises SandboxError where it has none."""
    checkpoint = box.home.checkpoint(box.stack)
    latest = json.loads(checkpoint.read_text())["checkpoint"]["latest"] if checkpoint.exists() else {}
    outputs = next((resource.get("outputs") for resource in latest.get("resources", [])), None)
    if not outputs:
        raise SandboxError(
            f"stack {box.stack} was not brought up here: `make up STACK={box.stack}` does that."
        )
    return outputs


def _question(model: str) -> dict[str, Any]:
    return {"model": model, "temperature": 0, "messages": [{"role": "user", "content": "Say hello."}]}


def _answer(box: Sandbox, name: str, model: str) -> dict[str, Any]:
    """What comes of the question, as `tools.report --answer` reads it."""
    question = _question(model)
    headers = {"authorization": f"Bearer {key(box, name)}", "content-type": "application/json"}
    start = time.monotonic()
    status, received, text = _call(
        box.home, _ANSWER_SECONDS, "POST", "/v1/chat/completions", json.dumps(question), headers
    )
    answer = {
        "url": url(box.home),
        "key": name,
        "model": model,
        "question": question["messages"][0]["content"],
        "status": status,
        "seconds": time.monotonic() - start,
    }
    if status != _OK:  # the text of a refusal may hold parts of the key
        return answer
    completion = json.loads(text)
    return answer | {
        "text": completion["choices"][0]["message"]["content"] or "",
        "prompt_tokens": completion["usage"]["prompt_tokens"],
        "completion_tokens": completion["usage"]["completion_tokens"],
        "spend": float(received.get("x-litellm-response-cost", 0)),
    }


def _is_ready(home: Home) -> bool:
    return home.gateway_port.exists() and _call(home, 5, "GET", "/health/readiness")[0] == _OK


def _call(home: Home, timeout: float, *request: Any) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of the gateway's response to a method, a path, a body and headers; 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", int(home.gateway_port.read_text()), timeout=timeout)
    try:
        connection.request(*request)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()
