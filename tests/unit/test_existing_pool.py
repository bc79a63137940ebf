"""A GPU pool that exists is used and never made, and what it is not is said before anything is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

import settings
from tests.support.engine import SETTINGS, Mocks, run_program

L4 = {"type": "nvidia-l4", "count": 1, "gpuPartitionSize": "", "gpuSharingConfigs": []}
GKES = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
OURS = {"key": "dedicated", "value": "models", "effect": "NO_SCHEDULE"}
EXISTING = {"name": "team-gpu", "existing": True}


def cluster(name: str = "team-gpu", **node: Any) -> Mocks:
    """Mocks of a cluster with a node pool of these nodes."""
    nodes = {
        "machineType": "g2-standard-4",
        "guestAccelerators": [L4],
        "taints": [GKES],
        "effectiveTaints": [],
    }
    mocks = Mocks()
    mocks.cluster = {"nodePools": [{"name": name, "nodeConfigs": [nodes | {"resourceLabels": {}} | node]}]}
    return mocks


def test_no_pool_is_made_and_engines_run_on_that_one() -> None:
    recording = run_program({"gpuPool": EXISTING}, cluster())
    assert not [of for of, _ in recording.resources if of.endswith(":NodePool")]
    engines = recording.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"]
    assert engines["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
    ]
    (term,) = engines["modelSpec"][0]["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert expression == {"key": "cloud.google.com/gke-nodepool", "operator": "In", "values": ["team-gpu"]}
    assert recording.outputs["gpuNodePool"] == "team-gpu"


def test_its_own_taint_is_tolerated_beside_gkes() -> None:
    recording = run_program({"gpuPool": EXISTING | {"taint": OURS}}, cluster(taints=[GKES, OURS]))
    engines = recording.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"]
    assert [toleration["key"] for toleration in engines["tolerations"]] == ["dedicated", "nvidia.com/gpu"]


SHARED = L4 | {"gpuSharingConfigs": [{"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 2}]}


@pytest.mark.parametrize(
    ("mocks", "says"),
    [
        (cluster("other"), "gpuPool.name: platform-dev has no node pool team-gpu.* It has other"),
        (cluster(machineType="g2-standard-8"), "gpuPool.machineType: .* Write machineType: g2-standard-8"),
        (cluster(guestAccelerators=[]), "gpuPool.accelerator: a node of team-gpu has no GPU"),
        (cluster(guestAccelerators=[L4 | {"type": "nvidia-tesla-t4"}]), "Write accelerator: nvidia-tesla-t4 and acceleratorCount: 1"),
        (cluster(guestAccelerators=[L4 | {"count": 2}]), "has 2 nvidia-l4, not 1 nvidia-l4"),
        (cluster(guestAccelerators=[SHARED]), "gpuPool.sharing: the GPUs of team-gpu are whole, each for 2 by TIME_SHARING"),
        (cluster(guestAccelerators=[L4 | {"gpuPartitionSize": "1g.5gb"}]), "are in partitions of 1g.5gb, each for one"),
        (cluster(taints=[], effectiveTaints=[OURS]), "gpuPool.taint: .* Write taint: {key: dedicated, value: models, effect: NO_SCHEDULE}"),
    ],
)  # fmt: skip
def test_what_the_pool_is_not_is_said_before_anything_is_made(mocks: Mocks, says: str) -> None:
    with pytest.raises(Exception, match=says):
        run_program({"gpuPool": EXISTING}, mocks)
    assert not [of for of in mocks.made if of.endswith((":NodePool", ":Release", ":Secret"))]


def test_a_pool_that_the_stack_made_is_not_let_go() -> None:
    made = run_program().one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]["resourceLabels"]
    assert made
    with pytest.raises(Exception, match=r"gpuPool\.existing: this stack made the node pool team-gpu"):
        run_program({"gpuPool": EXISTING}, cluster(resourceLabels=made))
    others = dict.fromkeys(made, "somebody-else")
    assert run_program({"gpuPool": EXISTING}, cluster(resourceLabels=others))


@pytest.mark.parametrize("key", ["minNodes", "zones", "driverVersion", "spot", "labels", "imageStreaming"])
def test_what_would_be_ignored_is_refused(key: str) -> None:
    value = {"minNodes": 1, "zones": ["europe-west4-a"], "driverVersion": "LATEST", "labels": {"a": "b"}}
    entries = {**SETTINGS, "gpuPool": {**EXISTING, key: value.get(key, True)}}
    with pytest.raises(settings.SettingsError) as refused:
        settings.parse({f"llm-gateway:{name}": json.dumps(of) for name, of in entries.items()}, "dev")
    (mistake,) = refused.value.mistakes
    assert mistake.key == f"gpuPool.{key}"
    assert "would be ignored" in str(refused.value)
