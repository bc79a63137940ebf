"""Which standby takes over from a primary that is not ready, and when."""

from typing import Any

import pytest

from sandbox.operators.cloudnativepg import failover

Json = dict[str, Any]
CLUSTER: Json = {"status": {"currentPrimary": "pg-1", "targetPrimary": "pg-1"}}


def pod(name: str, ready: bool) -> Json:
    status = {
        "podIP": "10.244.0.9",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return {"metadata": {"name": name}, "status": status}


@pytest.mark.parametrize(
    ("answers", "primary_ready", "chosen"),
    [
        ({"pg-2": (100, False), "pg-3": (200, False)}, False, "pg-3"),
        ({"pg-2": (100, False), "pg-3": (200, True)}, False, None),
        ({"pg-2": (100, True), "pg-3": (200, False)}, False, None),
        ({"pg-2": (100, False), "pg-3": (200, False)}, True, None),
        ({"pg-2": (100, False), "pg-3": None}, False, "pg-2"),
        ({"pg-2": None, "pg-3": None}, False, None),
    ],
    ids=[
        "the most advanced",
        "it still receives",
        "another still receives",
        "no need",
        "one is silent",
        "all are silent",
    ],
)
def test_a_standby_takes_over_once_none_receives_wal(
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, tuple[int, bool] | None],
    primary_ready: bool,
    chosen: str | None,
) -> None:
    def ask(asked: Json, path: str) -> Json | None:
        assert path == "/pg/status"
        answer = answers[asked["metadata"]["name"]]
        return {"position": answer[0], "receives": answer[1]} if answer else None

    monkeypatch.setattr(failover, "ask", ask)
    monkeypatch.setattr(failover, "runs", bool)
    pods = [pod("pg-1", primary_ready), *(pod(name, True) for name in answers)]
    assert failover.failing_over(CLUSTER, pods) == chosen
