"""Models on an Autopilot cluster: no pool is made, and pods ask for their GPUs by GKE's labels."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import SETTINGS, Mocks, run_program

MODEL = SETTINGS["models"][0]
ON_DISK = {**MODEL, "vllm": {**MODEL["vllm"], "cache": "disk"}}
AUTOPILOT: dict[str, Any] = {"autopilot": True, "accelerator": "nvidia-tesla-t4", "acceleratorCount": 2}


def mistakes(pool: dict[str, Any], vllm: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    model = {**ON_DISK, "vllm": {**ON_DISK["vllm"], **(vllm or {})}}
    entries = {**SETTINGS, "models": [model], "gpuPool": pool}
    try:
        settings.parse({f"llm-gateway:{name}": json.dumps(of) for name, of in entries.items()}, "dev")
    except settings.SettingsError as refused:
        return [(mistake.key, str(refused)) for mistake in refused.mistakes]
    return []


@pytest.mark.parametrize("spot", [False, True])
def test_no_pool_is_made_and_engines_say_what_they_run_on(spot: bool) -> None:
    mocks = Mocks()
    mocks.cluster = {"enableAutopilot": True}
    recording = run_program({"models": [ON_DISK], "gpuPool": AUTOPILOT | {"spot": spot}}, mocks)
    assert not [of for of, _ in recording.resources if of.endswith(":NodePool")]
    engines = recording.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"]
    assert engines["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (term,) = engines["modelSpec"][0]["nodeSelectorTerms"]
    asked = {rule["key"].rpartition("/")[2]: rule["values"] for rule in term["matchExpressions"]}
    assert asked == {
        "gke-accelerator": ["nvidia-tesla-t4"],
        "gke-accelerator-count": ["2"],
        **({"gke-spot": ["true"]} if spot else {}),
    }
    assert recording.outputs["gpuNodePool"] == ""


@pytest.mark.parametrize(
    "key", ["existing", "machineType", "minNodes", "maxNodes", "zones", "diskSizeGb", "taint"]
)
def test_what_gke_chooses_is_refused(key: str) -> None:
    given = {
        "existing": True,
        "machineType": "n1-standard-8",
        "zones": ["europe-west4-a"],
        "diskSizeGb": 200,
        "taint": {"key": "dedicated"},
    }
    found = mistakes(AUTOPILOT | {key: given.get(key, 1)})
    assert f"gpuPool.{key}" in [at for at, _ in found]


@pytest.mark.parametrize(
    ("pool", "vllm", "key", "said"),
    [
        (
            AUTOPILOT | {"acceleratorCount": 3},
            {},
            "gpuPool.accelerator",
            "no machine type that is known carries 3",
        ),
        (AUTOPILOT, {"cache": "ephemeral"}, "models[0].vllm.cache", "1 GiB of its node's disk"),
        (
            AUTOPILOT,
            {"memory": "700Gi"},
            "models[0].vllm.memory",
            "the largest machine with nvidia-tesla-t4 has",
        ),
        (AUTOPILOT, {"gpus": 4}, "models[0].vllm.gpus", "asks for 4 GPUs"),
    ],
    ids=["count", "cache", "memory", "gpus"],
)
def test_what_would_never_run_is_refused(
    pool: dict[str, Any], vllm: dict[str, Any], key: str, said: str
) -> None:
    ((at, text),) = mistakes(pool, vllm)
    assert at == key
    assert said in text


def test_any_number_of_engines_and_weights_from_a_bucket_are_taken() -> None:
    assert mistakes(AUTOPILOT, {"replicas": 5, "cache": "shared", "cacheStorageClass": "standard-rwx"}) == []
    assert mistakes(AUTOPILOT, {"cache": "ephemeral", "weights": "gs://weights/qwen"}) == []
