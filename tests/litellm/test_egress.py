"""A proxy on the way out that asks for a login and looks into TLS, on the real LiteLLM: what goes by it, what does not, and whom
TLS believes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from components import egress
from components.litellm import HOOK
from settings.egress import PROXY_LOGIN
from tests.litellm.conftest import rendered
from tests.litellm.driver import Proxy, proxy
from tests.litellm.environment import python
from tests.litellm.forward_proxy import ForwardProxy, forwarding
from tests.litellm.tls import terminated
from tests.litellm.upstream import Upstream, serving
from tests.litellm.valkey import free_port
from tests.support.certificates import Authority
from tests.support.engine import COSTS, HOSTED, run_program

NAMED = "http://proxy.example.com:3128"
LOGIN, WRITTEN = "gateway:s3cret@home", "gateway:s3cret%40home"
DIRECT = "http://127.0.0.1:9"
"""A private address of the settings, whose port is the upstream's here."""
HOSTS = ("api.anthropic.com", "api.openai.com", "models.example.com", "storage.example.com")
GPT = {"model": "openai/gpt-4o", "apiKeySecret": "openai-api-key"}
MODELS = [
    {"alias": "claude", **COSTS, "hosted": HOSTED},
    {"alias": "gpt", **COSTS, "hosted": GPT},
    {"alias": "outside", **COSTS, "endpoint": {"url": "https://models.example.com/v1", "model": "llama"}},
    {"alias": "service", **COSTS, "endpoint": {"url": "http://igw.models.svc:8080/v1", "model": "llama"}},
    {"alias": "private", **COSTS, "endpoint": {"url": f"{DIRECT}/v1", "model": "llama"}},
    {"alias": "excepted", **COSTS, "endpoint": {"url": "https://models.corp.invalid/v1", "model": "llama"}},
]


@dataclass(frozen=True)
class Outside:
    """LiteLLM, the proxy that it is to ask, what answers behind that, and its environment."""

    litellm: Proxy
    way: ForwardProxy
    upstream: Upstream
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder, authority, tls_port = tmp_path_factory.mktemp("egress"), Authority(), free_port()
    section = {
        "httpProxy": NAMED,
        "httpsProxy": NAMED,
        "proxySecret": "egress-proxy",
        "noProxy": ["corp.invalid", "googleapis.com"],
        "ca": authority.pem,
    }
    changes = {"models": MODELS, "litellm": {"retries": 0}, "egress": section}
    pod = rendered(changes)
    files = run_program(changes).one("ConfigMap", "gateway-litellm-authorities").inputs["data"]
    assert files.keys() == {egress.AUTHORITY, egress.STARTUP.name}
    for name, text in files.items():
        (folder / name).write_text(text)
    with (
        serving() as upstream,
        terminated(tls_port, urlsplit(upstream.url).port or 0, authority.server(folder, *HOSTS)),
        forwarding(tls_port, LOGIN) as way,
    ):
        found = {urlsplit(NAMED).netloc: urlsplit(way.url).netloc, f"value-of-{PROXY_LOGIN}": WRITTEN}
        environment = dict(pod.environment)
        for placeholder, real in found.items():
            environment = {name: value.replace(placeholder, real) for name, value in environment.items()}
        assert environment["HTTPS_PROXY"] == way.url.replace("://", f"://{WRITTEN}@")
        environment["PYTHONPATH"] = f"{HOOK.parent}:{folder}"
        config = folder / "config.yaml"
        config.write_text(pod.config.replace(DIRECT, upstream.url))
        with proxy(config, environment) as litellm:
            yield Outside(litellm, way, upstream, environment)


def ask(outside: Outside, alias: str) -> int:
    message = {"role": "user", "content": "ping"}
    body = {"model": alias, "messages": [message], "max_tokens": 5}
    return outside.litellm.client.post("/v1/chat/completions", json=body).status_code


@pytest.mark.parametrize(
    ("alias", "host"),
    [("claude", "api.anthropic.com"), ("gpt", "api.openai.com"), ("outside", "models.example.com")],
)
def test_each_client_asks_the_proxy_and_believes_its_authority(
    outside: Outside, alias: str, host: str
) -> None:
    """LiteLLM has a client of its own, and OpenAI's."""
    assert ask(outside, alias) == 200
    assert outside.way.asked[-1] == f"{host}:443"


def test_an_address_of_ones_own_is_asked_directly(outside: Outside) -> None:
    before = [*outside.way.asked]
    assert ask(outside, "private") == 200
    assert outside.way.asked == before


@pytest.mark.parametrize("alias", ["service", "excepted"])
def test_names_of_the_cluster_and_exceptions_are_not_asked_of_the_proxy(outside: Outside, alias: str) -> None:
    before = [*outside.way.asked]
    assert ask(outside, alias) == 500  # there is nobody of the name
    assert outside.way.asked == before


READS = "import sys, requests; print(requests.post('https://storage.example.com', json={'model': 'a', 'input': 'x'}).status_code)"


def test_requests_believes_it_too(outside: Outside) -> None:
    """By which Google's clients ask for tokens, and LiteLLM's callbacks send."""
    done = subprocess.run(
        [python(), "-c", READS], env=dict(outside.environment), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "200", done.stderr[-500:]
    assert outside.way.asked[-1] == "storage.example.com:443"


def test_who_does_not_log_in_is_let_out_nowhere(outside: Outside) -> None:
    """The proxy does ask."""
    before = [*outside.way.asked]
    stranger = dict(outside.environment) | {"HTTPS_PROXY": outside.way.url}
    done = subprocess.run([python(), "-c", READS], env=stranger, capture_output=True, text=True, check=False)
    assert "407" in done.stderr
    assert outside.way.asked == before


COUNTS = "import os, ssl, certifi; read = lambda f: ssl.create_default_context(cafile=f).cert_store_stats()['x509_ca']; print(read(os.environ['SSL_CERT_FILE']) - read(certifi.where()))"


def test_the_public_authorities_are_believed_as_before(outside: Outside) -> None:
    done = subprocess.run(
        [python(), "-c", COUNTS], env=dict(outside.environment), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_nobody_else_is_believed(outside: Outside, tmp_path: Path) -> None:
    """The proxy's certificate, without the setting that names its authority."""
    done = subprocess.run(
        [python(), "-c", READS],
        env={**outside.environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
