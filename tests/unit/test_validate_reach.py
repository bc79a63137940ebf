"""The ways to reach a proxy, with scripts on PATH in place of kubectl and gcloud."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tools.validate.admin import Admin
from tools.validate.errors import NotRunError, ValidateError
from tools.validate.installation import Installation, master_key
from tools.validate.reach import Kubectl, Url, through_cluster

HERE = Installation(["m"], "llm-gateway", "litellm-pg", "c", "europe-west4", "p", "projects/p/secrets/master")
KUBECTL = """#!/bin/sh
echo "$KUBECONFIG $*" >> "{log}"
case "$*" in
  *"get pods -l app."*) cat "{pods}" ;;
  *"get pods -l cnpg."*) echo pod/litellm-pg-1 ;;
  *"get deployments"*) echo deployment.apps/litellm ;;
  *psql*) echo 0.25 ;;
  *port-forward*) printf '%b\n' "{forward}"; {stay} ;;
esac
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    gcloud = f'#!/bin/sh\necho "$KUBECONFIG $*" >> "{tmp_path}/log"; echo sk-from-gcloud\n'
    program(tmp_path / "gcloud", gcloud)
    kubectl(tmp_path, "Forwarding from 127.0.0.1:4321 -> 4000")
    pods(tmp_path, "a", "b")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def kubectl(folder: Path, forward: str, stay: str = "exec sleep 60") -> None:
    script = KUBECTL.format(log=folder / "log", pods=folder / "pods.json", forward=forward, stay=stay)
    program(folder / "kubectl", script)


def pods(folder: Path, *names: str) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    items = [{"metadata": {"name": name}, "status": ready} for name in names]
    (folder / "pods.json").write_text(json.dumps({"items": items}))


def calls(folder: Path) -> str:
    return (folder / "log").read_text()


def test_the_tunnel_uses_a_kubeconfig_of_its_own(programs: Path) -> None:
    with through_cluster(HERE, None) as reach:
        assert reach.url == "http://127.0.0.1:4321"
        assert reach.recorded_spend("0" * 64) == 0.25
    first, *rest = calls(programs).splitlines()
    kubeconfig, _, arguments = first.partition(" ")
    assert arguments == "container clusters get-credentials c --location europe-west4 --project p"
    assert all(line.startswith(f"{kubeconfig} --namespace llm-gateway ") for line in rest)
    assert not Path(kubeconfig).parent.exists()


def test_a_context_of_the_callers(programs: Path) -> None:
    with through_cluster(HERE, "mine") as reach:
        assert reach.replicas() == 2
    assert "gcloud" not in calls(programs)
    assert "--context mine --namespace llm-gateway get pods" in calls(programs)


def test_a_pod_beside_the_tunnels_is_deleted(programs: Path) -> None:
    with through_cluster(HERE, "mine") as reach:
        assert reach.url
        reach.restart()
    assert "delete pod/b --wait=true" in calls(programs)
    assert "rollout" not in calls(programs)


def test_the_only_pod_is_rolled_over(programs: Path) -> None:
    pods(programs, "a")
    with through_cluster(HERE, "mine") as reach:
        assert reach.url
        reach.restart()
    assert "rollout restart deployment.apps/litellm" in calls(programs)
    assert "delete" not in calls(programs)


def test_no_tunnel(programs: Path) -> None:
    kubectl(programs, "error: unable to forward port", stay="exit 1")
    with pytest.raises(ValidateError, match="opened no tunnel to a: error: unable"):
        _ = Kubectl(HERE).url


def test_a_warning_before_the_tunnel_is_no_failure(programs: Path) -> None:
    kubectl(programs, "W1126 06:00:00 the login plugin is old\\nForwarding from 127.0.0.1:4321 -> 4000")
    with through_cluster(HERE, "mine") as reach:
        assert reach.url == "http://127.0.0.1:4321"


def test_a_tunnel_that_never_opens_is_given_up(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.validate.reach.TUNNEL", 0.2)
    kubectl(programs, "waiting")
    with pytest.raises(ValidateError, match="opened no tunnel to a: waiting"):
        _ = Kubectl(HERE).url


def test_no_proxy(programs: Path) -> None:
    pods(programs)
    with pytest.raises(ValidateError, match="no proxy is ready"):
        _ = Kubectl(HERE).url


def test_the_master_key_comes_from_secret_manager(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    key = master_key(HERE.master_key_secret, None)
    assert key == "sk-from-gcloud"
    assert "sk-from" not in repr(Admin(Url("http://gateway"), key, "run"))
    assert "secrets versions access latest --project p --secret master" in calls(programs)


def test_a_failing_program_says_no_key(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    program(programs / "gcloud", "#!/bin/sh\necho 'denied for sk-abc' >&2; exit 1\n")
    with pytest.raises(
        ValidateError, match=r"`gcloud secrets .* --secret master` failed: denied for sk-\*\*\*"
    ):
        master_key(HERE.master_key_secret, None)


def test_a_file_without_the_master_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValidateError, match=f"--master-key-file {tmp_path}/none cannot be read: .*No such file"
    ):
        master_key(HERE.master_key_secret, tmp_path / "none")


def test_a_database_that_exists_is_not_looked_for_in_the_cluster(programs: Path) -> None:
    outputs = {
        "modelAliases": ["m"],
        "namespaces": {"gateway": "llm-gateway"},
        "databaseHost": "10.20.0.5",
        "cluster": {"name": "c", "location": "europe-west4", "project": "p"},
        "secretNames": {"masterKey": "projects/p/secrets/master"},
    }
    with through_cluster(Installation.of(outputs), None) as reach:
        assert reach.cluster
        with pytest.raises(NotRunError, match=r"postgres\.existing"):
            reach.cluster.recorded_spend("hash")
    assert "cnpg.io" not in calls(programs)
    cluster = Installation.of(outputs | {"databaseHost": "litellm-pg-2-rw.gateway.svc.cluster.local"})
    assert cluster.database == "litellm-pg-2"
