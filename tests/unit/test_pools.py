"""Models run on the pool that they name, each pool is made once, and each model is compared with its own pool."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import COSTS, SETTINGS, run_program

T4 = {"name": "t4", "machineType": "n1-standard-8", "accelerator": "nvidia-tesla-t4"}
TAINTED = T4 | {"taint": {"key": "dedicated", "value": "t4", "effect": "NO_SCHEDULE"}}


def model(alias: str, pool: str | None = None, **vllm: Any) -> dict[str, Any]:
    placed = {"pool": pool} if pool else {}
    return {"alias": alias, **COSTS, "vllm": {"model": "a/b", **placed, **vllm}}


BOTH = {"models": [model("small"), model("old", "t4")], "moreGpuPools": [TAINTED]}


def refused(changes: dict[str, Any]) -> dict[str, settings.Violation]:
    entries = {f"llm-gateway:{key}": json.dumps(value) for key, value in {**SETTINGS, **changes}.items()}
    with pytest.raises(settings.SettingsError) as refusal:
        settings.parse(entries, "dev")
    return {mistake.key: mistake for mistake in refusal.value.mistakes}


def test_each_model_runs_on_its_pool() -> None:
    recording = run_program(BOTH)
    made = {
        name: of.inputs["name"]
        for (type_, name), of in recording.resources.items()
        if type_.endswith(":NodePool")
    }
    assert made == {"gateway-gpu-pool-nodes": "llm-gpu", "gateway-gpu-pool-t4-nodes": "t4"}
    release = recording.one("Release", "gateway-vllm-release")
    engines = release.inputs["values"]["servingEngineSpec"]
    placed = {
        spec["name"]: spec["nodeSelectorTerms"][0]["matchExpressions"][0]["values"]
        for spec in engines["modelSpec"]
    }
    assert placed == {"small": ["llm-gpu"], "old": ["t4"]}
    assert [toleration["key"] for toleration in engines["tolerations"]] == ["nvidia.com/gpu", "dedicated"]
    assert recording.outputs["gpuNodePool"] == "llm-gpu"


def test_the_first_pool_is_not_made_where_no_model_runs_on_it() -> None:
    recording = run_program({"models": [model("old", "t4")], "moreGpuPools": [T4]})
    assert [name for type_, name in recording.resources if type_.endswith(":NodePool")] == [
        "gateway-gpu-pool-t4-nodes"
    ]
    assert recording.outputs["gpuNodePool"] == "t4"


@pytest.mark.parametrize(
    ("changes", "key", "problem", "fix"),
    [
        ({"models": [model("a", "t5")]}, "models[0].vllm.pool", "there is no pool t5", "one of llm-gpu"),
        ({"moreGpuPools": [T4]}, "moreGpuPools[0].name", "no model runs on t4", "pool: t4"),
        ({"models": BOTH["models"], "moreGpuPools": [T4, T4]}, "moreGpuPools", "two pools are called t4", "its own"),
        (
            {"models": [model("a"), model("b", "t4", gpus=2)], "moreGpuPools": [T4]},
            "models[1].vllm.gpus",
            "a node of moreGpuPools[0] has 1",
            "moreGpuPools[0].machineType",
        ),
        (
            {"models": [model("a"), model("b", "t4", replicas=2)], "moreGpuPools": [T4]},
            "moreGpuPools[0].maxNodes",
            "ask for 2 GPUs",
            "maxNodes: 2",
        ),
        (
            {"models": [model("a", extraArgs=["--dtype", "bfloat16"]), model("b", "t4", extraArgs=["--dtype", "bfloat16"])], "moreGpuPools": [T4]},
            "models[1].vllm.extraArgs",
            "nvidia-tesla-t4 has 7.5",
            "half",
        ),
        ({"models": [model("b", "t4")], "moreGpuPools": [T4 | {"zones": ["us-central1-a"]}]}, "moreGpuPools[0].zones[0]", "not in", "europe-west4"),
        (
            {"models": [model("b", "t4")], "moreGpuPools": [T4 | {"accelerator": "nvidia-tesla-v100"}]},
            "moreGpuPools[0].accelerator",
            "7.0",
            "nvidia-l4",
        ),
    ],
)  # fmt: skip
def test_a_model_is_compared_with_its_own_pool(
    changes: dict[str, Any], key: str, problem: str, fix: str
) -> None:
    found = refused(changes)
    assert key in found
    assert len(found) == 1 or key.endswith(".gpus"), (
        found
    )  # too many GPUs per engine are too many of the pool, too
    assert problem in found[key].problem
    assert fix in found[key].write
