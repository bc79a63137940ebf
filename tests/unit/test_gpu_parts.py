"""GPUs that several engines have a part of: what the pool is told, what fits, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import SETTINGS, Mocks, run_program

MODEL = SETTINGS["models"][0]
LITTLE = ["--gpu-memory-utilization", "0.45"]
SHARED: dict[str, Any] = {"sharing": {"clients": 2}}
A100 = {"machineType": "a2-highgpu-1g", "accelerator": "nvidia-tesla-a100"}


def entries(pool: dict[str, Any], **vllm: Any) -> dict[str, Any]:
    return {"models": [{**MODEL, "vllm": {**MODEL["vllm"], **vllm}}], "gpuPool": pool}


def mistakes(pool: dict[str, Any], **vllm: Any) -> list[tuple[str, str]]:
    given = {**SETTINGS, **entries(pool, **vllm)}
    try:
        settings.parse({f"llm-gateway:{name}": json.dumps(of) for name, of in given.items()}, "dev")
    except settings.SettingsError as refused:
        return [(mistake.key, str(refused)) for mistake in refused.mistakes]
    return []


def test_the_pool_is_told() -> None:
    pool = {**A100, "diskSizeGb": 200, "partition": "3g.20gb", "sharing": {"strategy": "MPS", "clients": 3}}
    recording = run_program(entries(pool, extraArgs=["--gpu-memory-utilization=0.3"]))
    (gpus,) = recording.one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]["guestAccelerators"]
    assert gpus["gpuPartitionSize"] == "3g.20gb"
    assert gpus["gpuSharingConfig"] == {"gpuSharingStrategy": "MPS", "maxSharedClientsPerGpu": 3}


def test_whole_gpus_are_told_as_before() -> None:
    (gpus,) = (
        run_program().one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]["guestAccelerators"]
    )
    assert not {"gpuPartitionSize", "gpuSharingConfig"} & gpus.keys()


@pytest.mark.parametrize(
    ("pool", "replicas", "fit"),
    [
        ({}, 2, False),
        (SHARED, 2, True),
        (SHARED, 3, False),
        ({**A100, "partition": "3g.20gb", "diskSizeGb": 200}, 2, True),
        ({**A100, "partition": "3g.20gb", "diskSizeGb": 200}, 3, False),
        ({**A100, "partition": "2g.10gb", **SHARED, "diskSizeGb": 300}, 6, True),
    ],
    ids=["whole", "shared", "too many shares", "partitions", "too many partitions", "shared partitions"],
)
def test_a_node_offers_its_parts(pool: dict[str, Any], replicas: int, fit: bool) -> None:
    found = mistakes(pool, replicas=replicas, memory="4Gi", extraArgs=LITTLE)
    assert ("gpuPool.maxNodes" in [key for key, _ in found]) is not fit


def test_engines_that_must_share_a_node_fit_it_together() -> None:
    """Of 16Gi, GKE keeps some."""
    assert mistakes(SHARED, replicas=2, memory="7Gi", extraArgs=LITTLE) == []
    ((key, said),) = mistakes(SHARED, replicas=2, memory="8Gi", extraArgs=LITTLE)
    assert key == "gpuPool.machineType"
    assert "2 engines share a node and ask for 16Gi, g2-standard-4 has 16Gi" in said
    assert mistakes(SHARED | {"maxNodes": 2}, replicas=2, memory="8Gi", extraArgs=LITTLE) == []


@pytest.mark.parametrize(
    ("pool", "vllm", "key", "said"),
    [
        (SHARED, {}, "models[0].vllm.extraArgs", 'extraArgs: ["--gpu-memory-utilization", "0.45"]'),
        (
            SHARED,
            {"extraArgs": ["--gpu_memory_utilization", "0.6"]},
            "models[0].vllm.extraArgs",
            "2 engines share a GPU of gpuPool",
        ),
        (
            SHARED,
            {"gpus": 2, "extraArgs": LITTLE},
            "models[0].vllm.gpus",
            "gives each engine a part of one GPU",
        ),
        ({"partition": "1g.5gb"}, {}, "gpuPool.partition", "nvidia-l4 takes no partitions"),
        ({**A100, "partition": "1g.10gb"}, {}, "gpuPool.partition", "partition: one of 1g.5gb, 2g.10gb"),
        (
            {"autopilot": True, **SHARED},
            {"cache": "disk", "extraArgs": LITTLE},
            "gpuPool.sharing",
            "GKE chooses it",
        ),
    ],
    ids=["memory not told", "too much memory", "two shares", "no partitions", "another size", "autopilot"],
)
def test_what_would_not_run_is_refused(
    pool: dict[str, Any], vllm: dict[str, Any], key: str, said: str
) -> None:
    found = [text for at, text in mistakes(pool, **vllm) if at == key]
    assert found
    assert said in found[0]


L4: dict[str, Any] = {"type": "nvidia-l4", "count": 1, "gpuPartitionSize": "", "gpuSharingConfigs": []}
BY_TWO = {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 2}


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (SHARED, [BY_TWO], True),
        ({}, [BY_TWO], False),
        (SHARED, [], False),
        ({"sharing": {"clients": 3}}, [BY_TWO], False),
        ({"sharing": {"strategy": "MPS", "clients": 2}}, [BY_TWO], False),
    ],
    ids=["as told", "not told", "not shared", "by another number", "otherwise"],
)
def test_an_existing_pool_shares_as_the_settings_say(
    ours: dict[str, Any], theirs: list[dict[str, Any]], same: bool
) -> None:
    node = {
        "machineType": "g2-standard-4",
        "guestAccelerators": [L4 | {"gpuSharingConfigs": theirs}],
        "taints": [],
        "effectiveTaints": [],
        "resourceLabels": {},
    }
    mocks = Mocks()
    mocks.cluster = {"nodePools": [{"name": "team-gpu", "nodeConfigs": [node]}]}
    pool = {"name": "team-gpu", "existing": True, **ours}
    given = entries(pool, extraArgs=["--gpu-memory-utilization", "0.3"])
    if same:
        assert run_program(given, mocks)
        return
    with pytest.raises(Exception, match="which the settings do not say"):
        run_program(given, mocks)
