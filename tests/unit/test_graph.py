"""What waits for what: every ordering edge, on the registrations of the whole program."""

import pytest

from tests.support.edges import EDGES, PROD_EDGES, TENANT_EDGES, Edge
from tests.support.engine import Recording, run_program


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_edge(program: Recording, edge: Edge) -> None:
    dependent, dependency = program.one(edge.kind, edge.name), program.one(edge.needs_kind, edge.needs)
    assert dependency.urn in program.direct_dependencies(dependent)


@pytest.mark.parametrize("edge", [*EDGES, *TENANT_EDGES, *PROD_EDGES], ids=str)
def test_edge_with_every_part(everything: Recording, edge: Edge) -> None:
    dependent, dependency = everything.one(edge.kind, edge.name), everything.one(edge.needs_kind, edge.needs)
    assert dependency.urn in everything.direct_dependencies(dependent)


def test_gateway_waits_neither_for_the_gpu_nor_for_vllm(program: Recording) -> None:
    waited = program.waits_for(program.one("Release", "gateway-litellm-release"))
    assert program.one("NodePool", "gateway-gpu-pool-nodes").urn not in waited
    assert program.one("Release", "gateway-vllm-release").urn not in waited


def test_gpu_and_database_chains_run_side_by_side(program: Recording) -> None:
    vllm = program.waits_for(program.one("Release", "gateway-vllm-release"))
    assert program.one("Cluster", "gateway-postgres-cluster").urn not in vllm
    external_secrets = program.waits_for(program.one("Release", "gateway-external-secrets-release"))
    assert program.one("Release", "gateway-cnpg-release").urn not in external_secrets


def test_gates_are_proven_before_they_open(program: Recording) -> None:
    secrets = ("litellm-secrets", "litellm-pg-app", "vllm-api-key")
    synced = [f"secret-sync-{secret}-synced" for secret in secrets]
    for gate in ("external-secrets-webhook-open", "cnpg-webhook-open", *synced):
        hook = f"gateway-{gate}".replace("-open", "-answers")
        hooks = program.one("ConfigMap", f"gateway-{gate}").request.hooks
        assert hook in hooks.before_create
        assert list(hooks.before_update) == [hook]
        assert hook in program.hooks


def test_awaited_objects_are_waited_for(program: Recording) -> None:
    for kind, name in (
        ("ClusterSecretStore", "gateway-secret-sync-store"),
        ("Cluster", "gateway-postgres-cluster"),
    ):
        annotations = program.one(kind, name).inputs["metadata"]["annotations"]
        assert annotations["pulumi.com/waitFor"] == "condition=Ready", name


def test_only_its_gate_waits_for_an_external_secret(program: Recording) -> None:
    """A wait for its condition would end first, in words that name no cause."""
    for name in ("litellm-secrets", "litellm-pg-app", "vllm-api-key"):
        metadata = program.one("ExternalSecret", f"gateway-secret-sync-{name}").inputs["metadata"]
        assert "pulumi.com/waitFor" not in metadata["annotations"], name


def test_every_resource_has_an_explicit_provider(program: Recording) -> None:
    for (type_, name), registration in program.resources.items():
        if not type_.startswith(("pulumi:", "llmgateway:")):
            package = registration.request.provider.split("::")[-2]
            assert package in {"google", "gke", "random"}, f"{type_} {name} uses a default provider"


def test_every_child_has_its_component_as_parent(program: Recording) -> None:
    for (type_, name), registration in program.resources.items():
        if name != "gateway" and not type_.startswith("pulumi:"):
            *_, types, parent = registration.request.parent.split("::")
            assert name.startswith(f"{parent}-"), f"{type_} {name} is not named after its parent {parent}"
            assert type_.startswith("llmgateway:") or not types.endswith(":LlmGateway"), f"{type_} {name}"


def test_an_existing_vllm_key_is_only_referenced() -> None:
    recording = run_program({"secrets": {"existingVllmApiKey": "shared-vllm-key"}})
    made = {name for type_, name in recording.resources if type_.startswith(("random:", "gcp:secretmanager"))}
    assert "gateway-secrets-vllm-api-key" not in made
    assert "gateway-secrets-shared-vllm-key-reader" in made
    data = recording.one("ExternalSecret", "gateway-secret-sync-vllm-api-key").inputs["spec"]["data"]
    assert data == [{"secretKey": "api-key", "remoteRef": {"key": "shared-vllm-key", "version": "latest"}}]


def test_pool_is_never_replaced_by_its_node_count(program: Recording) -> None:
    pool = program.one("NodePool", "gateway-gpu-pool-nodes")
    assert set(pool.request.ignoreChanges) == {"initialNodeCount", "nodeCount"}
    assert "nodeCount" not in pool.inputs
    bounds = {"totalMinNodeCount": 0, "totalMaxNodeCount": 1, "locationPolicy": "ANY"}
    assert pool.inputs["autoscaling"] == bounds


def test_vllm_runs_on_the_pool_and_tolerates_its_taint(program: Recording) -> None:
    pool = program.one("NodePool", "gateway-gpu-pool-nodes").inputs
    engine = program.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"]
    taint = pool["nodeConfig"]["taints"][0]
    (toleration,) = engine["tolerations"]
    tolerated = {"key": taint["key"], "operator": "Equal", "value": taint["value"], "effect": "NoSchedule"}
    assert toleration == tolerated
    on_the_pool = {"key": "cloud.google.com/gke-nodepool", "operator": "In", "values": [pool["name"]]}
    assert engine["modelSpec"][0]["nodeSelectorTerms"] == [{"matchExpressions": [on_the_pool]}]


def test_charts_come_from_the_mirror_when_one_is_set() -> None:
    folder = run_program({"charts": {"mirror": "/srv/charts"}})
    assert folder.one("Release", "gateway-litellm-release").inputs["chart"] == "/srv/charts/litellm-helm"
    web = run_program({"charts": {"mirror": "https://charts.example.com"}})
    vllm = web.one("Release", "gateway-vllm-release").inputs
    assert vllm["repositoryOpts"] == {"repo": "https://charts.example.com"}
    assert vllm["chart"] == "vllm-stack"
