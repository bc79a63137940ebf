"""A preview refuses what a volume cannot do: shrink, change its class or access modes, go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from components import postgres_cluster, vllm
from components.volumes import changes
from tests.support.engine import SETTINGS, run_program

QWEN: Mapping[str, Any] = SETTINGS["models"][0]
POSTGRES = ("Cluster", "gateway-postgres-cluster", postgres_cluster)
SERVING = ("Release", "gateway-vllm-release", vllm)


def served(**options: Any) -> dict[str, Any]:
    return {"models": [{**QWEN, "vllm": {**QWEN["vllm"], **options}}]}


def refused(part: tuple[str, str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    kind, name, module = part
    before, after = (module.volumes(run_program(changes).one(kind, name).inputs) for changes in (old, new))
    return [*changes(before, after)]


@pytest.mark.parametrize(
    ("part", "old", "new", "said"),
    [
        (
            SERVING,
            served(cache="disk", cacheSize="20Gi"),
            served(cache="disk", cacheSize="10Gi"),
            "models[vllm.name qwen-local].vllm.cacheSize: 10Gi is less than the 20Gi",
        ),
        (
            SERVING,
            served(cache="disk"),
            served(cache="shared", cacheStorageClass="standard-rwx"),
            "ReadWriteOnce of class default and would be ReadWriteMany of class standard-rwx",
        ),
        (
            POSTGRES,
            {},
            {"postgres": {"storageSize": "9000M"}, "litellm": {"requestsPerDay": 1000}},
            "postgres.storageSize: 9000M is less",
        ),
        (
            POSTGRES,
            {"postgres": {"walStorageSize": "10Gi"}},
            {"postgres": {"walStorageSize": "5Gi"}},
            "postgres.walStorageSize: 5Gi is less",
        ),
        (POSTGRES, {"postgres": {"walStorageSize": "10Gi"}}, {}, "postgres.walStorageSize: it was 10Gi"),
        (POSTGRES, {}, {"postgres": {"storageClass": "premium-rwo"}}, "of class standard-rwo and would be"),
    ],
)
def test_what_a_volume_cannot_do_is_refused(
    part: tuple[str, str, Any], old: Mapping[str, Any], new: Mapping[str, Any], said: str
) -> None:
    (message,) = refused(part, old, new)
    assert said in message
    assert "Write" in message


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (SERVING, served(cache="disk"), served(cache="disk", cacheSize="20480Mi")),
        (SERVING, served(cache="disk"), served(cache="disk", cacheSize="30Gi")),
        (SERVING, served(cache="disk"), served(cacheSize="10Gi")),
        (SERVING, served(cacheSize="30Gi"), served(cacheSize="10Gi")),
        (SERVING, served(cache="disk"), served(cache="disk", replicas=0)),
        (POSTGRES, {}, {"postgres": {"storageSize": "20Gi", "walStorageSize": "10Gi"}}),
    ],
)
def test_what_a_volume_can_do_passes(
    part: tuple[str, str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    assert refused(part, old, new) == []


def test_the_hook_runs_before_updates() -> None:
    program = run_program()
    for kind, name, _ in (POSTGRES, SERVING):
        hooks = program.one(kind, name).request.hooks.before_update
        assert [hook for hook in hooks if hook.endswith("-volumes")] == [f"{name.rpartition('-')[0]}-volumes"]
        assert {*hooks} <= {*program.hooks}
