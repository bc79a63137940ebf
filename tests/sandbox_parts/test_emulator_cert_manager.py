"""What the cert-manager emulation makes of an Issuer and its Certificates."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sandbox.cluster.status import condition
from sandbox.cluster.watched import Watched
from sandbox.operators.cert_manager import CertManager
from tests.support.fake_cluster import FakeCluster

CERTIFICATE = {
    "commonName": "barman-cloud",
    "dnsNames": ["barman-cloud"],
    "issuerRef": {"kind": "Issuer", "name": "own"},
    "secretName": "tls",
}


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.operator("cert-manager", "cert-manager")
    return cluster


def ready(cluster: FakeCluster, kind: str, name: str) -> dict[str, Any]:
    CertManager(cast(Watched, cluster)).reconcile()
    found = condition(cluster.items[kind, "ns", name], "Ready")
    assert found is not None
    return found


def test_a_certificate_becomes_a_secret(cluster: FakeCluster) -> None:
    cluster.add("Issuer", "own", "ns", spec={"selfSigned": {}})
    cluster.add("Certificate", "server", "ns", spec=CERTIFICATE)
    assert ready(cluster, "Certificate", "server")["status"] == "True"
    secret = cluster.items["Secret", "ns", "tls"]
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["data"].keys() == {"tls.crt", "tls.key", "ca.crt"}


def test_a_certificate_waits_for_its_issuer(cluster: FakeCluster) -> None:
    cluster.add("Certificate", "server", "ns", spec=CERTIFICATE)
    assert ready(cluster, "Certificate", "server")["status"] == "False"
    assert ("Secret", "ns", "tls") not in cluster.items


def test_another_issuer_is_not_emulated(cluster: FakeCluster) -> None:
    cluster.add("Issuer", "own", "ns", spec={"acme": {}})
    assert ready(cluster, "Issuer", "own")["message"] == "acme is not emulated by the sandbox"
