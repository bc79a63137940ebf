"""The gateway that runs in a sandbox, for those who call it from this machine: its URL, its keys, two requests to try.

On 127.0.0.1 listens what `kubectl port-forward` to the proxy's Service would be on GKE; in the cluster itself, addresses and
policies are the cluster's (sandbox/network).
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Sequence
from typing import Any

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.nodes import pods_daemon
from sandbox.operations import run
from sandbox.paths import REPOSITORY, Home
from sandbox.phases import say
from sandbox.processes import fork_command
from sandbox.start import Sandbox

_WAIT_SECONDS = 180.0
"""How long the gateway may take to answer after an `up`."""


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


def show(box: Sandbox) -> None:
    """Wait until the gateway answers, and say how to call it."""
    outputs = _outputs(box)
    names, models = outputs.get("virtualKeySecrets") or {}, outputs.get("modelAliases") or []
    start = time.monotonic()
    while not _answers(box.home):
        if time.monotonic() - start > _WAIT_SECONDS:
            say(
                f"the gateway does not answer yet; `kubectl get pods -A` in `make shell` says why. Log: {box.home.pods_log}"
            )
            return
        time.sleep(0.5)
    say(f"gateway: {url(box.home)} answers")
    stack = "" if box.stack == "dev" else f" STACK={box.stack}"
    if not names or not models:
        return
    name, model = next(iter(names)), models[0]
    call = f"curl -s $(make -s url{stack})"
    bearer = f'-H "Authorization: Bearer $(make -s key NAME={name}{stack})"'
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hello."}]})
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


def _answers(home: Home) -> bool:
    if not home.gateway_port.exists():
        return False
    connection = http.client.HTTPConnection("127.0.0.1", int(home.gateway_port.read_text()), timeout=5)
    try:
        connection.request("GET", "/health/readiness")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
