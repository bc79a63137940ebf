"""The vllm-stack's router (lmcache/lmstack-router), as far as the stack uses it: it finds engines and passes requests on.

Engines are the ready pods of its namespace with its labels, which it asks the API server for as its ServiceAccount; each is
asked for its models with VLLM_API_KEY. A request goes to one of its model's engines in turn, with the client's own
Authorization. What it is not: the router. It knows no other routing logic than roundrobin, no sessions, no static backends,
no KV cache, no sleeping engines, files, batches or metrics; options that ask for these end it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from sandbox.containers.hooks import network

_LOOK_SECONDS = 2.0
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
_turns = itertools.count()


def parse(words: list[str]) -> argparse.Namespace:
    """The router's options. Ends the process at one that is not known."""
    parser = argparse.ArgumentParser(prog="vllm-router", allow_abbrev=False)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--service-discovery", choices=("k8s",), required=True)
    parser.add_argument("--k8s-namespace", default="default")
    parser.add_argument("--k8s-service-discovery-type", choices=("pod-ip",), default="pod-ip")
    parser.add_argument("--k8s-label-selector", default="")
    parser.add_argument("--k8s-port", type=int, default=8000)
    parser.add_argument("--routing-logic", choices=("roundrobin",), required=True)
    parser.add_argument("--engine-stats-interval", type=int, default=30)
    parser.add_argument("--request-stats-window", type=int, default=60)
    return parser.parse_args(words)


class Engines:
    """The engines that the API server knows of: their models by address."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._models: dict[str, list[dict[str, Any]]] = {}
        self._last = 0.0
        self._said = ""
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def healthy(self) -> bool:
        """Whether the API server has answered lately."""
        return time.monotonic() - self._last < 30

    def models(self) -> list[dict[str, Any]]:
        """Every model once."""
        return list({model["id"]: model for models in self._models.values() for model in models}.values())

    def serving(self, model: str) -> list[str]:
        """The addresses of the engines that serve a model."""
        return sorted(
            address
            for address, models in self._models.items()
            if any(served["id"] == model for served in models)
        )

    def _follow(self) -> None:
        while True:
            try:
                ready = list(self._ready())
                self._models = {address: self._models.get(address) or self._ask(address) for address in ready}
                self._last = time.monotonic()
                self._said = ""
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                if self._said != str(error):
                    print(f"ERROR: service discovery: {error}", flush=True)
                self._said = str(error)
            time.sleep(_LOOK_SECONDS)

    def _ready(self) -> Iterator[str]:
        account = Path(os.environ["SANDBOX_ACCOUNT"])
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        context.check_hostname = False  # the certificate names this machine, not the Service
        connection = http.client.HTTPSConnection(
            os.environ["KUBERNETES_SERVICE_HOST"],
            int(os.environ["KUBERNETES_SERVICE_PORT"]),
            timeout=10,
            context=context,
        )
        selector = quote(self._options.k8s_label_selector)
        path = f"/api/v1/namespaces/{self._options.k8s_namespace}/pods?labelSelector={selector}"
        connection.request(
            "GET", path, headers={"authorization": f"Bearer {(account / 'token').read_text()}"}
        )
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if "items" not in answer:
            raise ValueError(answer.get("message", "no list of pods"))
        for pod in answer["items"]:
            conditions = {
                condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])
            }
            if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                yield pod["status"]["podIP"]

    def _ask(self, address: str) -> list[dict[str, Any]]:
        key = os.environ.get("VLLM_API_KEY")
        try:
            connection = http.client.HTTPConnection(address, self._options.k8s_port, timeout=10)
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})
            return json.loads(connection.getresponse().read())["data"]
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            print(
                f"ERROR: Failed to get model names from http://{address}:{self._options.k8s_port}: {error}",
                flush=True,
            )
            return []


class Handler(BaseHTTPRequestHandler):
    """The router's routes."""

    protocol_version = "HTTP/1.1"
    engines: Engines
    port: int

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/health":
                if self.engines.healthy:
                    self._answer(200, {"status": "healthy"})
                else:
                    self._answer(503, {"status": "Service discovery module is down."})
            case "/v1/models":
                self._answer(200, {"object": "list", "data": self.engines.models()})
            case _:
                self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            model = json.loads(text)["model"]
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"error": "Invalid request: missing 'model' in request body."})
            return
        found = self.engines.serving(model)
        if not found:
            self._answer(400, {"error": f"Model {model} not found or vLLM engine is sleeping."})
            return
        self._pass_on(found[next(_turns) % len(found)], text)

    def _pass_on(self, address: str, text: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection = http.client.HTTPConnection(address, self.port, timeout=600)
        try:
            connection.request("POST", self.path, text, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._answer(500, {"error": f"Failed to route request: {error}"})
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {*_HOP, "server", "date"}:
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            while data := answer.read1(65536):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):  # one of the two has gone: the other is told
            self.close_connection = True
        finally:
            connection.close()

    def _answer(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"INFO:     {self.client_address[0]} - {format % args}", flush=True)


def main() -> NoReturn:
    options = parse(sys.argv[1:])
    network.install()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Handler.engines, Handler.port = Engines(options), options.k8s_port
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    server.daemon_threads = True
    server.serve_forever()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
