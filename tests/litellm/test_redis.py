"""An existing Redis, alone and as a cluster, on the real proxy: TLS, a user and a password, and counts that are shared."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from components.litellm import AUTHORITIES
from tests.litellm.conftest import rendered
from tests.litellm.driver import Proxy, proxy
from tests.litellm.valkey import PASSWORD, USER, valkey
from tests.support.certificates import Authority
from tests.support.engine import SETTINGS

LIMITED = {**SETTINGS["models"][0], "rpm": 1}


def status(of: Proxy) -> int:
    message = {"role": "user", "content": "ping"}
    body = {"model": "qwen-local", "messages": [message], "num_retries": 0}
    return of.client.post("/v1/chat/completions", json=body).status_code


@contextlib.contextmanager
def counting(folder: Path, tls: str, where: Mapping[str, Any], authority: Authority) -> Generator[Proxy]:
    """A proxy of two replicas, with a model of one request per minute."""
    folder.mkdir()
    state = {"kind": "redis", **where, "tls": tls, "ca": authority.pem}
    state |= {"username": USER, "passwordSecret": "redis-password"}
    pod = rendered({"models": [LIMITED], "litellm": {"replicas": 2, "sharedState": state}})
    (folder / "redis.pem").write_text(authority.pem)
    config = folder / "config.yaml"
    config.write_text(pod.config.replace(AUTHORITIES, str(folder)))
    with proxy(config, {**pod.environment, "REDIS_PASSWORD": PASSWORD}) as running:
        yield running
    assert "Error connecting" not in running.log.read_text()


def test_a_redis_whose_certificate_has_its_address(tmp_path: Path) -> None:
    authority = Authority()
    with valkey(tmp_path, authority.server(tmp_path, "127.0.0.1")) as (server,):
        where = {"host": "127.0.0.1", "port": server.port}
        with counting(tmp_path / "one", "verify-full", where, authority) as one:
            assert [status(one), status(one)] == [200, 429]
        assert server.keys()


def test_replicas_count_together_in_a_cluster_whose_certificates_have_no_address(tmp_path: Path) -> None:
    """As Memorystore's have none."""
    authority = Authority()
    with valkey(tmp_path, authority.server(tmp_path), nodes=2) as nodes:
        where = {"nodes": [f"127.0.0.1:{nodes[0].port}"], "nodeAddresses": ["127.0.0.1/32"]}
        with (
            counting(tmp_path / "one", "verify-ca", where, authority) as one,
            counting(tmp_path / "other", "verify-ca", where, authority) as other,
        ):
            assert sorted([status(one), status(other)]) == [200, 429]
