"""`python -m tools.validate` against the double: everything passes once, and each check fails once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.litellm.double import configuration
from tests.litellm.driver import Double, double
from tools.validate.__main__ import options, validate
from tools.validate.checks import CHECKS

OUTPUTS = {
    "modelAliases": ["small", "large"],
    "namespaces": {"gateway": "llm-gateway"},
    "databaseHost": "litellm-pg-rw.llm-gateway.svc.cluster.local",
    "cluster": {"name": "c", "location": "europe-west4", "project": "p"},
    "secretNames": {"masterKey": "projects/p/secrets/litellm-master-key"},
}


class FakeCluster:
    """The double in place of a cluster. It does not restart: a request in between is all that is lost here."""

    def __init__(self, of: Double) -> None:
        self.of, self.url, self.cluster = of, of.url, self
        self.lost, self.beside, self.forget = False, 1, False

    def recorded_spend(self, token: str) -> float:
        if self.forget:
            return 0.0
        return next(row["spend"] for row in self.of.state()["keys"] if row["token"] == token)

    def replicas(self) -> int:
        return 1 + self.beside

    def restart(self) -> None:
        if self.lost:
            self.of.fault(path="/v1/models", status=500, times=1)
        time.sleep(1)


@pytest.fixture(scope="module")
def paid() -> Iterator[Double]:
    with double() as running:
        yield running


@pytest.fixture(autouse=True)
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.parent.mkdir()
    pulumi.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(OUTPUTS)}\nEND\n")
    pulumi.chmod(pulumi.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{pulumi.parent}:{os.environ['PATH']}")
    return pulumi


def checked(
    of: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str], reach: Any = None, *more: str
) -> tuple[bool, dict[str, str]]:
    """Whether it passed, and each check's verdict; no key is in what it printed or wrote."""
    file, key = tmp_path / "results.json", tmp_path / "master-key"
    key.write_text(of.master_key)
    arguments = ["--stack", "dev", "--url", of.url, "--master-key-file", str(key), "--json", str(file)]
    passed = validate(options([*arguments, "--timeout", "12", *more]), reach)
    said = capsys.readouterr()
    text = said.out + said.err + file.read_text()
    assert of.master_key not in text
    assert "sk-" not in text.replace("sk-***", "")
    document = json.loads(file.read_text())
    assert document["passed"] == passed
    print(file.read_text())
    return passed, {check["name"]: check["verdict"] for check in document["checks"]}


def only(*names: str) -> list[str]:
    return [option for name in CHECKS if name not in names for option in ("--without", name)]


def left(of: Double) -> list[dict[str, Any]]:
    return [row for row in of.state()["keys"] if (row["key_alias"] or "").startswith("validate-")]


@pytest.mark.parametrize("beside", [0, 1])
def test_everything_passes(paid: Double, tmp_path: Path, capsys: Any, beside: int) -> None:
    cluster = FakeCluster(paid)
    cluster.beside = beside
    more = [] if beside else only("restart")
    passed, verdicts = checked(paid, tmp_path, capsys, cluster, *more)
    assert passed
    assert {verdict for name, verdict in verdicts.items() if name not in more} == {"pass"}
    assert not left(paid)


def test_a_url_has_no_cluster(paid: Double, tmp_path: Path, capsys: Any) -> None:
    passed, verdicts = checked(paid, tmp_path, capsys, None, *only("database", "restart"))
    assert not passed
    assert verdicts["database"] == verdicts["restart"] == "not run"


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("ready", {"path": "/health/readiness", "status": 503}),
        ("wrong-key", {"path": "/v1/chat/completions", "status": 200}),
        ("models", {"path": "/v1/models", "status": 500}),
        ("high", {"path": "/v1/chat/completions", "status": 500}),
        ("spend-logs", {"path": "/spend/logs", "status": 500}),
        ("rpm", {"path": "/key/generate", "status": 500}),
        ("tpm", {"path": "/key/generate", "status": 500}),
    ],
)
def test_a_fault_fails_its_check(
    paid: Double, tmp_path: Path, capsys: Any, check: str, fault: dict[str, Any]
) -> None:
    paid.fault(**fault)
    beside = "models" if check != "models" else "ready"
    passed, verdicts = checked(paid, tmp_path, capsys, None, *only(check, beside))
    assert not passed
    assert (verdicts[check], verdicts[beside], verdicts["cleanup"]) == ("fail", "pass", "pass")
    assert not left(paid)


@pytest.mark.parametrize(
    ("check", "limit"), [("rpm", "rpm_limit"), ("tpm", "tpm_limit"), ("low", "max_budget")]
)
def test_a_limit_that_does_not_bind_fails(
    paid: Double, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, check: str, limit: str
) -> None:
    from tools.validate.admin import Admin

    mint = Admin.mint
    monkeypatch.setattr(
        Admin,
        "mint",
        lambda self, name, model, **limits: mint(
            self, name, model, **{k: v for k, v in limits.items() if k != limit}
        ),
    )
    passed, verdicts = checked(paid, tmp_path, capsys, None, *only(check), "--requests", "4")
    assert not passed
    assert (verdicts[check], verdicts["cleanup"]) == ("fail", "pass")


def test_a_database_without_the_spend_fails(paid: Double, tmp_path: Path, capsys: Any) -> None:
    cluster = FakeCluster(paid)
    cluster.forget = True
    passed, verdicts = checked(paid, tmp_path, capsys, cluster, *only("database"), "--timeout", "2")
    assert (passed, verdicts["database"], verdicts["cleanup"]) == (False, "fail", "pass")


def test_a_request_lost_in_a_restart_fails(paid: Double, tmp_path: Path, capsys: Any) -> None:
    cluster = FakeCluster(paid)
    cluster.lost = True
    passed, verdicts = checked(paid, tmp_path, capsys, cluster, *only("restart"))
    assert (passed, verdicts["restart"], verdicts["cleanup"]) == (False, "fail", "pass")


class OneReplica(FakeCluster):
    """Its restart ends the double and starts another, on the database `after`."""

    def __init__(self, running: contextlib.ExitStack, before: str, after: str) -> None:
        super().__init__(running.enter_context(double(database=before)))
        self.running, self.after, self.beside = running, after, 0

    def restart(self) -> None:
        self.of.process.terminate()
        self.of.process.wait()
        self.of = self.running.enter_context(double(database=self.after))
        self.url = self.of.url


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [("kept", "kept", "pass"), ("lost", "another", "fail")]
)
def test_keys_and_spend_outlive_the_only_replica(
    tmp_path: Path, capsys: Any, before: str, after: str, verdict: str
) -> None:
    with contextlib.ExitStack() as running:
        cluster = OneReplica(running, before, after)
        first = cluster.of
        passed, verdicts = checked(first, tmp_path, capsys, cluster, *only("restart"))
        assert cluster.of is not first
        assert (verdicts["restart"], verdicts["cleanup"]) == (verdict, "pass")
        assert passed == (verdict == "pass")
        assert not left(cluster.of)


def test_keys_that_stay_fail(paid: Double, tmp_path: Path, capsys: Any) -> None:
    paid.fault(path="/key/delete", status=500, times=3)
    passed, verdicts = checked(paid, tmp_path, capsys, None, *only("high"))
    assert (passed, verdicts["high"], verdicts["cleanup"]) == (False, "pass", "fail")
    paid.client.post("/key/delete", json={"keys": [row["token"] for row in left(paid)]}).raise_for_status()


def test_a_key_whose_answer_was_lost_is_deleted(paid: Double, tmp_path: Path, capsys: Any) -> None:
    paid.fault(path="/key/generate", status=500, after=True)
    passed, verdicts = checked(paid, tmp_path, capsys, None, *only("high"))
    assert (passed, verdicts["high"], verdicts["cleanup"]) == (False, "fail", "pass")
    assert not left(paid)


def test_a_terminated_run_deletes_its_keys(paid: Double, tmp_path: Path) -> None:
    paid.forget_calls()
    paid.fault(path="/v1/chat/completions", delay=3)
    run = subprocess.Popen(
        [sys.executable, "-m", "tools.validate", "--stack", "dev", "--url", paid.url, *only("high")],
        env={**os.environ, "LITELLM_MASTER_KEY": paid.master_key},
    )
    while not paid.calls().get("POST /v1/chat/completions"):
        assert run.poll() is None
        time.sleep(0.1)
    assert left(paid)
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 128 + signal.SIGTERM
    assert not left(paid)


def test_a_model_without_cost_fails(tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(configuration(0, 0)))
    with double(config=config) as free:
        passed, verdicts = checked(free, tmp_path, capsys, None, *only("high", "low"))
    assert (passed, verdicts["high"], verdicts["low"], verdicts["cleanup"]) == (False, "pass", "fail", "pass")


def test_no_chat_is_sent_to_a_model_that_makes_none(tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "config.yaml"
    embedding = configuration(0.001, 0)
    for model in embedding["model_list"]:
        model["model_info"] = {"mode": "embedding"}
    config.write_text(json.dumps(embedding))
    with double(config=config) as of:
        _, verdicts = checked(of, tmp_path, capsys, None, *only("models", "high", "low", "rpm"))
        assert "POST /v1/chat/completions" not in of.calls()
    assert verdicts["models"] == "pass"
    assert {verdicts[name] for name in ("high", "low", "rpm")} == {"not run"}
