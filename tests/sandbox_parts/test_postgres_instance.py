"""The instance manager's stand-in, around programs that are doubles: what it does when instances change places."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sandbox.cluster.client import ApiError, Unreachable
from sandbox.containers.postgres_instance import Instance

Json = dict[str, Any]


class Api:
    """Answers with one Cluster and its pods; a PATCH fails as often as `failing` says."""

    def __init__(self, status: Json, failing: int = 0) -> None:
        self.status, self.failing = status, failing
        self.sent: list[Json] = []

    def get(self, path: str) -> Json:
        if path.endswith("/clusters/pg"):
            return {"spec": {}, "status": self.status}
        if path.endswith("/pods/gone"):
            raise ApiError(404, "NotFound", 'pods "gone" not found')
        if "/secrets/" in path:
            raise ApiError(404, "NotFound", "no secret")
        return {"status": {"podIP": "10.8.128.9"}}

    def send(self, method: str, path: str, body: Json, kind: str) -> None:
        if self.failing:
            self.failing -= 1
            raise Unreachable("no answer")
        self.sent.append(body["status"])
        self.status.update(body["status"])


class Server(Instance):
    """An instance whose server is as `recovering` says, and is promoted when asked."""

    api: Any = None
    recovering = False
    stopped = False

    def accepts(self) -> bool:
        return True

    def query(self, statement: str) -> str:
        if "pg_promote" in statement:
            self.recovering = False
        return "t" if self.recovering else "f"

    def _stop(self) -> None:
        self.stopped = True


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The instance pg-2, with a data folder and a pg_basebackup that fails."""
    programs, data = tmp_path / "bin", tmp_path / "volume" / "pgdata"
    programs.mkdir()
    data.mkdir(parents=True)
    (data / "kept").touch()
    (programs / "pg_basebackup").write_text("#!/bin/sh\nexit 1\n")
    (programs / "pg_basebackup").chmod(0o755)
    for name, value in {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGDATA": str(data),
        "POD_NAME": "pg-2",
        "SANDBOX_ADDRESS": "127.203.128.2",
        "CLUSTER_NAME": "pg",
        "NAMESPACE": "n",
        "PGHOST": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    return Server()


def test_a_copy_that_fails_costs_no_data(instance: Server) -> None:
    instance.api = Api({"currentPrimary": "gone"})
    assert instance.join() == 1
    instance.api = Api({"currentPrimary": "pg-1"})
    with pytest.raises(SystemExit):
        instance.join()
    assert [path.name for path in instance.data.iterdir()] == ["kept"]


def test_a_copy_takes_the_place_of_what_was_there(instance: Server, tmp_path: Path) -> None:
    (tmp_path / "bin" / "pg_basebackup").write_text(
        "#!/bin/sh\nmkdir ${1#--pgdata=}; touch ${1#--pgdata=}/copied\n"
    )
    instance.api = Api({"currentPrimary": "pg-1"})
    assert instance.join() == 0
    assert {path.name for path in instance.data.iterdir()} == {"copied", "standby.signal"}


def test_a_promotion_is_told_until_the_api_server_has_heard(
    instance: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    instance.recovering = True
    instance.api = Api({"currentPrimary": "pg-1", "targetPrimary": "pg-2"}, failing=1)
    instance._follow()  # pyright: ignore[reportPrivateUsage]
    assert "no answer" in capsys.readouterr().out
    instance._follow()  # pyright: ignore[reportPrivateUsage]
    assert [status["currentPrimary"] for status in instance.api.sent] == ["pg-2"]


def test_a_primary_that_another_follows_stops(instance: Server) -> None:
    instance.api = Api({"currentPrimary": "pg-2", "targetPrimary": "pg-1"})
    instance._follow()  # pyright: ignore[reportPrivateUsage]
    assert instance.stopped


def test_a_standby_whose_primary_has_no_pod_goes_on(instance: Server) -> None:
    instance.recovering = True
    instance.api = Api({"currentPrimary": "gone", "targetPrimary": "gone"})
    instance._follow()  # pyright: ignore[reportPrivateUsage]
    assert "listen_addresses = '127.203.128.2'" in (instance.data / "postgresql.auto.conf").read_text()
