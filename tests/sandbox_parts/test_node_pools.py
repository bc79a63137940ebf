"""The autoscaler's decisions: which pods fit which pool, growing, shrinking, stock-outs, what it says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.cluster.watched import Watched
from sandbox.google.cloud import Cloud
from sandbox.nodes.autoscaler import Autoscaler, Decision
from sandbox.nodes.gke_nodes import Pool
from sandbox.nodes.node_pools import NodePools
from sandbox.nodes.node_sizes import MACHINE_TYPES, allocatable
from sandbox.nodes.scheduling import quantities, requests, why_not
from sandbox.paths import HOME_VARIABLE
from tests.support.fake_cluster import FakeCluster

Json = dict[str, Any]
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
UNTOLERATED = "node(s) had untolerated taint {nvidia.com/gpu: present}"
TOLERATES = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def row(name: str = "gpu", status: str = "RUNNING", zones: str = "a", **spec: Any) -> Json:
    spec.setdefault("autoscaling", {"totalMinNodeCount": 0, "totalMaxNodeCount": 1})
    return {
        "name": f"projects/demo/locations/r1/clusters/c/nodePools/{name}",
        "project": "demo",
        "location": "r1",
        "cluster": "c",
        "pool": name,
        "zones": [f"europe-west4-{zone}" for zone in zones],
        "status": status,
        "spec": {
            "nodeConfig": {
                "machineType": "g2-standard-4",
                "guestAccelerators": [{"type": "nvidia-l4", "count": 1}],
                "labels": {"llm-gateway/pool": name},
            },
            **spec,
        },
    }


def pod(name: str = "vllm", node: str | None = None, gpu: str = "1", **spec: Any) -> Json:
    bound = {"nodeName": node} if node else {}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {
        "metadata": {"name": name, "namespace": "vllm", "uid": name},
        "spec": {
            "containers": [
                {"resources": {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"nvidia.com/gpu": gpu}}}
            ],
            "tolerations": TOLERATES,
            **bound,
            **spec,
        },
        "status": {"phase": "Pending", "conditions": [] if node else [condition]},
    }


def ready(node: Json) -> Json:
    node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return node


def autoscaler(boot: float = 0) -> Autoscaler:
    return Autoscaler(lambda: boot, idle_seconds=60)


def decide(
    rows: list[Json], nodes: list[Json] | None = None, pods: list[Json] | None = None, stockout: bool = False
) -> Decision:
    return autoscaler().decide([Pool(row) for row in rows], nodes or [], pods or [], stockout, now=0)


def gpu_node(**spec: Any) -> Json:
    return ready(Pool(row(**spec)).node("europe-west4-a"))


def fits(asked: Json, labels: dict[str, str] | None = None, taints: list[Json] | None = None) -> list[str]:
    free = quantities({"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1", "pods": "110"})
    return why_not(asked, labels or {}, taints or [], free)


@pytest.mark.parametrize(
    ("tolerations", "reasons"),
    [
        ([], [UNTOLERATED]),
        ([{"key": "nvidia.com/gpu", "operator": "Exists"}], []),
        ([{"operator": "Exists"}], []),
        ([{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}], []),
        ([{"key": "nvidia.com/gpu", "value": "other"}], [UNTOLERATED]),
        ([{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}], [UNTOLERATED]),
    ],
)
def test_tolerations(tolerations: list[Json], reasons: list[str]) -> None:
    assert fits(pod(tolerations=tolerations), taints=[GPU_TAINT]) == reasons


def test_prefer_no_schedule_keeps_nothing_away() -> None:
    assert fits(pod(tolerations=[]), taints=[{**GPU_TAINT, "effect": "PreferNoSchedule"}]) == []


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ["gpu"], True),
        ("In", ["cpu"], False),
        ("NotIn", ["gpu"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_required_node_affinity(operator: str, values: list[str], matches: bool) -> None:
    rule = {"key": "pool", "operator": operator, "values": values}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    asked = pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
    assert (fits(asked, {"pool": "gpu"}) == []) is matches


def test_node_selector_and_resources_are_named() -> None:
    asked = pod(gpu="2", nodeSelector={"pool": "other"})
    assert fits(asked, {"pool": "gpu"}) == [
        "node(s) didn't match Pod's node affinity/selector",
        "Insufficient nvidia.com/gpu",
    ]


def test_requests_count_sidecars_and_the_largest_init_step() -> None:
    def container(cpu: str, **more: Any) -> Json:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    asked = pod(
        containers=[container("1")],
        initContainers=[container("500m", restartPolicy="Always"), container("3")],
        overhead={"cpu": "100m"},
    )
    assert requests(asked) == {"cpu": Decimal("3.6"), "pods": 1}


def test_a_waiting_pod_gets_a_node_with_the_pools_labels_taints_and_gpu() -> None:
    decision = decide([row()], pods=[pod()])
    (node,) = decision.create
    labels = node["metadata"]["labels"]
    assert node["metadata"]["name"].startswith("gke-c-gpu-")
    assert labels["cloud.google.com/gke-nodepool"] == "gpu"
    assert labels["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    assert labels["llm-gateway/pool"] == "gpu"
    assert labels["topology.kubernetes.io/region"] == "europe-west4"
    assert node["spec"]["taints"] == [GPU_TAINT]
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert [event.reason for event in decision.events] == ["TriggeredScaleUp"]
    assert "0->1 (max: 1)" in decision.events[0].message


def test_a_missing_toleration_is_named_and_adds_no_node() -> None:
    decision = decide([row()], pods=[pod(tolerations=[])])
    assert decision.create == []
    (event,) = decision.events
    assert event.reason == "NotTriggerScaleUp"
    assert event.message == f"pod didn't trigger scale-up: 1 {UNTOLERATED}"


def test_a_pool_at_its_maximum_grows_no_further() -> None:
    node = gpu_node()
    busy = pod("first", node=node["metadata"]["name"])
    decision = decide([row()], [node], [busy, pod("second")])
    assert decision.create == []
    assert "max node group size reached" in decision.events[0].message


def test_a_node_that_has_room_is_not_doubled() -> None:
    assert decide([row()], [gpu_node()], [pod()]).create == []


def test_two_small_pods_share_one_new_node() -> None:
    small: Json = {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}
    rows = [row(autoscaling={"minNodeCount": 0, "maxNodeCount": 5})]
    assert len(decide(rows, pods=[pod("a", **small), pod("b", **small)]).create) == 1
    assert len(decide(rows, pods=[pod("a"), pod("b")]).create) == 2


def test_a_machine_takes_its_time_and_is_ordered_once() -> None:
    scaler, pools = autoscaler(boot=90), [Pool(row())]
    assert scaler.decide(pools, [], [pod()], False, now=0).create == []
    assert scaler.decide(pools, [], [pod()], False, now=89).events == []
    assert len(scaler.decide(pools, [], [pod()], False, now=90).create) == 1
    assert scaler.decide(pools, [gpu_node()], [pod()], False, now=91).create == []


def test_stockout_makes_no_node_and_warns() -> None:
    decision = decide([row()], pods=[pod()], stockout=True)
    assert decision.create == []
    (event,) = decision.events
    assert (event.reason, event.warning) == ("FailedScaleUp", True)
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in event.message


def test_stockout_fails_a_pool_that_needs_nodes_at_once() -> None:
    pool = row(status="PROVISIONING", initialNodeCount=1)
    assert decide([pool], stockout=True).status[pool["name"]][0] == "ERROR"


def test_a_pool_is_running_when_its_first_nodes_are_ready() -> None:
    pool = row(status="PROVISIONING", zones="abc", autoscaling={"minNodeCount": 1, "maxNodeCount": 2})
    decision = decide([pool])
    zones = sorted(node["metadata"]["labels"]["topology.gke.io/zone"] for node in decision.create)
    assert zones == pool["zones"]
    assert decision.status == {}
    assert decide([pool], [ready(node) for node in decision.create]).status == {pool["name"]: ("RUNNING", "")}


def test_an_empty_node_goes_after_its_idle_time_but_not_below_the_minimum() -> None:
    node, scaler = gpu_node(), autoscaler()
    name = node["metadata"]["name"]
    for now, gone in ((0, []), (59, []), (60, [name])):
        assert scaler.decide([Pool(row())], [node], [], False, now).delete == gone
    held = [Pool(row(autoscaling={"totalMinNodeCount": 1, "totalMaxNodeCount": 1}))]
    assert scaler.decide(held, [node], [], False, now=200).delete == []


def test_a_busy_node_stays_and_its_idle_time_starts_anew() -> None:
    node, scaler = gpu_node(), autoscaler()
    busy = pod(node=node["metadata"]["name"])
    for now, pods in ((0, []), (50, [busy]), (70, []), (129, [])):
        assert scaler.decide([Pool(row())], [node], pods, False, now).delete == []


def test_nodes_of_a_deleted_or_changed_pool_go() -> None:
    node = gpu_node()
    name = node["metadata"]["name"]
    assert decide([], [node]).delete == [name]
    larger = row()
    larger["spec"]["nodeConfig"]["machineType"] = "g2-standard-8"
    assert decide([larger], [node]).delete == [name]


def test_nodes_of_others_are_left_alone() -> None:
    base = gpu_node()
    del base["metadata"]["annotations"]
    assert decide([], [base]).delete == []


def test_the_cluster_follows_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    cluster, cloud = FakeCluster(), Cloud(tmp_path / "cloud.db")
    pools, pool = NodePools(cast(Watched, cluster), cloud), row()
    cloud.create("nodePool", pool["name"], pool)
    for _ in range(2):
        cluster.add("Pod", "vllm", "vllm", **pod())
        pools.reconcile()
    [node] = cluster.list("Node")
    assert [reason for _, reason, _ in cluster.events] == ["TriggeredScaleUp"]
    pool["spec"]["nodeConfig"]["labels"] = {"a": "b"}
    cloud.update("nodePool", pool["name"], pool)
    pools.reconcile()
    [relabelled] = cluster.list("Node")
    assert relabelled["metadata"]["labels"].items() >= {"a": "b"}.items()
    cluster.add("Pod", "vllm", "vllm", **pod(node=node["metadata"]["name"]))
    cloud.delete("nodePool", pool["name"])
    pools.reconcile()
    assert cluster.list("Node") == cluster.list("Pod") == []


def test_allocatable_is_what_gke_publishes() -> None:
    four = allocatable(MACHINE_TYPES["e2-standard-4"])
    assert four["cpu"] == "3920m"
    assert 13 * 1024**2 < int(four["memory"].removesuffix("Ki")) < 14 * 1024**2


def test_a_pod_whose_volume_lies_in_a_zone_gets_its_node_there() -> None:
    asked, pools = pod(), [Pool(row(zones="abc"))]
    found = autoscaler().decide(pools, [], [asked], False, 0, {"vllm": {"europe-west4-c"}})
    (node,) = found.create
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "europe-west4-c"
    elsewhere = autoscaler().decide(pools, [], [asked], False, 0, {"vllm": {"europe-west4-d"}})
    assert elsewhere.create == []
    (said,) = elsewhere.events
    assert "volume node affinity conflict" in said.message


def asks(accelerator: str, count: str, **more: str) -> Json:
    """The affinity of a pod that says which GPUs its node must have."""
    labels = {"gke-accelerator": accelerator, "gke-accelerator-count": count, **more}
    rules = [
        {"key": f"cloud.google.com/{key}", "operator": "In", "values": [value]}
        for key, value in labels.items()
    ]
    terms = {"nodeSelectorTerms": [{"matchExpressions": rules}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def test_autopilot_brings_nodes_with_the_gpus_that_pods_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    cloud, cluster = Cloud(tmp_path / "cloud.db"), FakeCluster()
    cloud.ensure_cluster("demo", "europe-west4", "auto", "127.0.0.1:6443", "Q0E=", autopilot=True)
    pods = (
        pod("one", **asks("nvidia-l4", "1")),
        pod("spot", **asks("nvidia-l4", "1", **{"gke-spot": "true"})),
        pod("no-such", **asks("nvidia-l4", "3")),
        pod("no-gpu", gpu="0"),
    )
    for each in pods:
        cluster.add("Pod", each["metadata"]["name"], "vllm", spec=each["spec"], status=each["status"])
    controller = NodePools(cast(Watched, cluster), cloud)
    for _ in range(3):
        controller.reconcile()
    assert [row["pool"] for row in cloud.list("nodePool")] == ["nap-l4-1", "nap-l4-1-spot"]
    labels = [node["metadata"]["labels"] for node in cluster.list("Node")]
    assert sorted(found.get("cloud.google.com/gke-spot", "false") for found in labels) == ["false", "true"]
    assert {found["cloud.google.com/gke-accelerator"] for found in labels} == {"nvidia-l4"}


def test_a_standard_cluster_brings_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    cloud, cluster = Cloud(tmp_path / "cloud.db"), FakeCluster()
    cloud.ensure_cluster("demo", "europe-west4", "standard", "127.0.0.1:6443", "Q0E=")
    asking = pod("one", **asks("nvidia-l4", "1"))
    cluster.add("Pod", "one", "vllm", spec=asking["spec"], status=asking["status"])
    NodePools(cast(Watched, cluster), cloud).reconcile()
    assert cloud.list("nodePool") == cluster.list("Node") == []


@pytest.mark.parametrize(
    ("more", "offered", "label"),
    [
        (
            {"gpuSharingConfig": {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 3}},
            "3",
            "time-sharing",
        ),
        ({"gpuPartitionSize": "3g.20gb"}, "2", None),
    ],
    ids=["shared", "partitioned"],
)
def test_a_node_offers_the_parts_of_its_gpus(more: Json, offered: str, label: str | None) -> None:
    config = {
        "machineType": "a2-highgpu-1g",
        "guestAccelerators": [{"type": "nvidia-tesla-a100", "count": 1, **more}],
    }
    pool = Pool(row(nodeConfig=config))
    assert pool.sizes()[0]["nvidia.com/gpu"] == pool.sizes()[1]["nvidia.com/gpu"] == offered
    labels = pool.labels("europe-west4-a")
    assert labels.get("cloud.google.com/gke-gpu-sharing-strategy") == label
    assert labels.get("cloud.google.com/gke-gpu-partition-size") == more.get("gpuPartitionSize")
