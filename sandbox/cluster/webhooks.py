"""The operators' admission webhooks: they answer while the Deployment behind their Service is Available.

A webhook configuration names a Service. While a Deployment whose pods that Service selects is Available, and
the operator's own latency has passed, the CA is injected into the configuration (as both operators do for
themselves) and the API server's call, which comes in over the cluster network's socket, is answered by
`admission`. Before and after, the call fails as it does on GKE: no endpoints, or a certificate that the API
server does not trust yet.

Where the control plane does not reach the pods' port (sandbox/google/firewall.py), the call fails, too.

What the API server asks a kubelet for goes on to the node runtime, where the sandbox has one.

What it does not do: answer for other Services, or anything else the API server sends to the cluster network.
A call that a firewall would swallow fails at once, not after the webhook's timeout.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import socketserver
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import trustme

from sandbox.cluster import admission
from sandbox.cluster.status import condition, moment, serves
from sandbox.cluster.watched import Json, Watched
from sandbox.google import firewall
from sandbox.google.cloud import Cloud
from sandbox.latency import seconds

_LOG = logging.getLogger(__name__)
_CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_LONGEST_HEADER = 4096
_KUBELET_PORT = 10250


class Webhooks:
    """Answers the API server's calls and keeps the CA in the webhook configurations."""

    kinds = frozenset({"Deployment", "Service", *_CONFIGURATIONS})

    def __init__(self, api: Watched, cloud: Cloud, socket: Path, kubelet: Path) -> None:
        self.kubelet = kubelet
        self._api = api
        self._cloud = cloud
        self._authority = trustme.CA(organization_name="llm-gateway sandbox")
        self._bundle = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        socket.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = _Network(str(socket), self)
        finally:
            os.umask(mask)
        threading.Thread(target=self._server.serve_forever, name="cluster-network", daemon=True).start()

    def reconcile(self) -> None:
        for kind in _CONFIGURATIONS:
            for configuration in self._api.list(kind):
                webhooks = [self._trusted(webhook) for webhook in configuration.get("webhooks", [])]
                if webhooks != configuration.get("webhooks", []):
                    self._api.patch(kind, configuration, {"webhooks": webhooks})

    def _trusted(self, webhook: Json) -> Json:
        client = webhook["clientConfig"]
        service = client.get("service")
        if service is None:
            return webhook
        found = self._api.get("Service", service["namespace"], service["name"])
        if not found or not self._backend(found):
            return webhook
        return {**webhook, "clientConfig": {**client, "caBundle": self._bundle}}

    def _backend(self, service: Json) -> Json | None:
        """The Deployment that answers for a Service; None while none does."""
        selector = service["spec"].get("selector")
        if not selector:
            return None
        for deployment in self._api.list("Deployment", service["metadata"]["namespace"]):
            labels = deployment["spec"]["template"]["metadata"].get("labels", {})
            if selector.items() <= labels.items() and serves(deployment):
                found = condition(deployment, "Available") or {}
                since = moment(found["lastTransitionTime"])
                late = (datetime.now(UTC) - since).total_seconds() < seconds("operator")
                return None if late else deployment
        return None

    def context_for(self, address: str) -> ssl.SSLContext | str:
        """The TLS side of the Service at "CLUSTER-IP:PORT", or why nothing answers there."""
        host, _, port = address.rpartition(":")
        for service in self._api.list("Service"):
            if service["spec"].get("clusterIP") != host:
                continue
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            backend = self._backend(service)
            if backend is None:
                return f'no endpoints available for service "{name}"'
            refused = firewall.refusal(self._cloud, target_port(service, int(port), backend))
            if refused:
                return refused
            if (namespace, name) not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(f"{name}.{namespace}.svc").configure_cert(context)
                self._contexts[namespace, name] = context
            return self._contexts[namespace, name]
        return f"{address} is no Service: the sandbox's cluster network carries admission webhooks only"


def target_port(service: Json, port: int, deployment: Json) -> int:
    """The pods' port behind a Service's port."""
    ports = {served["port"]: served for served in service["spec"]["ports"]}
    target = ports.get(port, {}).get("targetPort", port)
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for named in container.get("ports", []):
            if named.get("name") == target:
                return named["containerPort"]
    return int(target)


class _Network(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, webhooks: Webhooks) -> None:
        super().__init__(path, _Connection)
        self.webhooks = webhooks

    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("cluster network: connection dropped", exc_info=True)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < _LONGEST_HEADER:
            received = self.request.recv(_LONGEST_HEADER)
            if not received:
                return
            head += received
        method, _, rest = head.decode("latin-1").partition(" ")
        if method != "CONNECT":
            self.request.sendall(b"HTTP/1.1 405 only CONNECT is spoken here\r\n\r\n")
            return
        address = rest.split(" ", 1)[0]
        if address.endswith(f":{_KUBELET_PORT}"):
            self._to_kubelet()
            return
        context = cast(_Network, self.server).webhooks.context_for(address)
        if isinstance(context, str):
            self.request.sendall(f"HTTP/1.1 503 {context}\r\n\r\n".encode())
            return
        self.request.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
        with context.wrap_socket(self.request, server_side=True) as connection:
            _Admission(connection, self.client_address, self.server)

    def _to_kubelet(self) -> None:
        kubelet = socket.socket(socket.AF_UNIX)
        try:
            kubelet.connect(str(cast(_Network, self.server).webhooks.kubelet))
        except OSError:
            self.request.sendall(
                b"HTTP/1.1 503 the pods of this sandbox are played: there is no kubelet\r\n\r\n"
            )
            return
        self.request.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
        back = threading.Thread(target=_copy, args=(kubelet, self.request), daemon=True)
        back.start()
        _copy(self.request, kubelet)
        back.join()
        kubelet.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Send on what comes in until its end."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class _Admission(BaseHTTPRequestHandler):
    """One AdmissionReview, answered; HTTP/1.0, so that no connection outlives the operator."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        path = self.path.partition("?")[0]
        answer = json.dumps({**review, "request": None, "response": respond(path, request)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)


def respond(path: str, request: Json) -> Json:
    """The AdmissionResponse of the webhook at `path`."""
    response: Json = {"uid": request["uid"], "allowed": True}
    if path.startswith("/mutate-"):
        defaulted = admission.default(path, request)
        if defaulted != request["object"]:
            patch = json.dumps([{"op": "replace", "path": "/spec", "value": defaulted["spec"]}])
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch.encode()).decode()}
    elif request["operation"] != "DELETE":
        refusal = admission.validate(path, request)
        if refusal:
            response |= {"allowed": False, "status": {"code": refusal.code, "message": refusal.message}}
    return response
