"""Our settings for the database, on the real proxy: what it does while the database is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.litellm.conftest import rendered
from tests.litellm.driver import Double, double


def status(proxy: Double, key: str) -> int:
    answer = proxy.client.post(
        "/v1/chat/completions",
        json={"model": "qwen-local", "messages": [{"role": "user", "content": "ping"}]},
        headers={"authorization": f"Bearer {key}"},
    )
    return answer.status_code


@pytest.mark.parametrize("serves", [True, False], ids=["fail open", "fail closed"])
def test_without_its_database(serves: bool, tmp_path: Path) -> None:
    pod = rendered({"litellm": {"serveWithoutDatabase": serves}})
    with double(config=pod.file(tmp_path), environment=pod.environment) as proxy:
        used, unused = (
            proxy.client.post("/key/generate", json={}).raise_for_status().json()["key"] for _ in range(2)
        )
        assert [status(proxy, key) for key in (used, "sk-wrong")] == [200, 401]

        proxy.take_database(True)
        # A key that the pod has seen is good for a minute; one that it has not costs the first who asks a refusal.
        assert status(proxy, used) == 200
        assert status(proxy, unused) == 503
        assert status(proxy, unused) == (200 if serves else 503)
        # Failing open is failing open for everybody.
        assert status(proxy, "sk-wrong") == (200 if serves else 503)
        assert status(proxy, proxy.master_key) == 200
        # What the chart's probes ask for: readiness fails whichever way the setting is, liveliness never.
        for probe, answer in (("readiness", 503), ("liveliness", 200)):
            assert proxy.client.get(f"/health/{probe}").status_code == answer
