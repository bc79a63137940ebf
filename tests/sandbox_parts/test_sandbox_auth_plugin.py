"""The credential plugin of the sandbox's kubeconfigs."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.paths import HOME_VARIABLE, REPOSITORY
from sandbox.plugins.auth_plugin import credential

SERVER = "https://127.0.0.1:26443"
USER = {
    "client-certificate-data": base64.b64encode(b"CERTIFICATE").decode(),
    "client-key-data": base64.b64encode(b"KEY").decode(),
}
KUBECONFIG = {"clusters": [{"cluster": {"server": SERVER}}], "users": [{"user": USER}]}
CREDENTIAL = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential"}


def exec_info(**cluster: Any) -> str:
    return json.dumps({**CREDENTIAL, "spec": {"interactive": False, "cluster": cluster}})


def test_the_sandboxs_own_cluster_gets_its_certificate() -> None:
    status = {"clientCertificateData": "CERTIFICATE", "clientKeyData": "KEY"}
    assert credential(exec_info(server=SERVER), KUBECONFIG) == {**CREDENTIAL, "status": status}


@pytest.mark.parametrize("server", ["https://34.90.1.2", "https://gke.example.test:443"])
def test_a_real_cluster_gets_nothing(server: str) -> None:
    with pytest.raises(SandboxError, match="refused to talk to"):
        credential(exec_info(server=server), KUBECONFIG)


def test_another_cluster_on_this_machine_gets_nothing() -> None:
    with pytest.raises(SandboxError, match="refused credentials"):
        credential(exec_info(server="https://127.0.0.1:6443"), KUBECONFIG)


@pytest.mark.parametrize("asked", [None, "", "{}", exec_info()])
def test_a_kubeconfig_that_does_not_say_which_cluster_is_told_how(asked: str | None) -> None:
    with pytest.raises(SandboxError, match="provideClusterInfo: true"):
        credential(asked, KUBECONFIG)


def test_when_whoever_asked_is_gone_it_ends_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    reader, writer = os.pipe()
    os.close(reader)
    environment = {HOME_VARIABLE: str(tmp_path), "KUBERNETES_EXEC_INFO": exec_info(server=SERVER)}
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.plugins.auth_plugin"],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")
