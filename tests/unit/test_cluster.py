"""The cluster is the one that the settings, or the outputs of the stack they name, say: never one from elsewhere."""

import json
import re
from typing import Any

import pulumi
import pytest

from tests.support.engine import EVERYTHING, SETTINGS, Mocks, Recording, run_program


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The arguments of every invoke of a run, by token."""
    asked: dict[str, dict[str, Any]] = {}
    answer = Mocks.call

    def call(mocks: Mocks, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        asked[args.token.rpartition(":")[2]] = args.args
        return answer(mocks, args)

    monkeypatch.setattr(Mocks, "call", call)
    return asked


def pool(recording: Recording) -> dict[str, Any]:
    return recording.one("NodePool", "gateway-gpu-pool-nodes").inputs


def test_by_name_in_the_project_of_the_secrets(lookups: dict[str, dict[str, Any]]) -> None:
    made = pool(run_program())
    where = {"project": "example-llm-dev", "location": "europe-west4"}
    assert lookups["getCluster"] == {**where, "name": "platform-dev"}
    assert made.items() >= where.items()


def test_by_name_in_a_project_of_its_own(lookups: dict[str, dict[str, Any]]) -> None:
    cluster = {"name": "shared", "location": "us-central1", "project": "platform-project"}
    recording = run_program({"cluster": cluster})
    assert lookups["getCluster"]["project"] == lookups["getProject"]["projectId"] == "platform-project"
    assert pool(recording)["project"] == "platform-project"
    reader = recording.one("SecretIamMember", "gateway-secrets-litellm-master-key-reader").inputs
    assert reader["project"] == "example-llm-dev"
    assert "/workloadIdentityPools/platform-project.svc.id.goog/" in reader["member"]


def test_from_the_outputs_of_another_stack(lookups: dict[str, dict[str, Any]]) -> None:
    recording = run_program({"cluster": {"stack": "organization/gke-cluster/dev"}})
    assert lookups["getCluster"] == {"project": "platform", "location": "us-central1-c", "name": "shared"}
    made = pool(recording)
    assert (made["project"], made["location"]) == ("platform", "us-central1-c")


def test_a_stack_without_the_outputs_is_named() -> None:
    with pytest.raises(Exception, match="organization/gke-cluster/empty has no output cluster"):
        run_program({"cluster": {"stack": "organization/gke-cluster/empty"}})


ON_DISK = [{**SETTINGS["models"][0], "vllm": {**SETTINGS["models"][0]["vllm"], "cache": "disk"}}]
DNS = {"endpoint": "gke-1.europe-west4.gke.goog", "allowExternalTraffic": True}


def server(recording: Recording) -> dict[str, str]:
    kubeconfig = json.loads(recording.one("kubernetes", "gke").inputs["kubeconfig"])
    plugin = kubeconfig["users"][0]["user"]["exec"]
    assert plugin["args"] == ["--use_application_default_credentials"]
    return kubeconfig["clusters"][0]["cluster"]


def with_cluster(**properties: Any) -> Mocks:
    mocks = Mocks()
    mocks.cluster = properties
    return mocks


def endpoints(**dns: Any) -> list[dict[str, Any]]:
    return [{"dnsEndpointConfigs": [{**DNS, **dns}], "ipEndpointsConfigs": [{"enabled": True}]}]


def test_the_control_plane_is_reached_as_the_settings_say() -> None:
    google = with_cluster(
        controlPlaneEndpointsConfigs=endpoints(), privateClusterConfigs=[{"privateEndpoint": "172.16.0.2"}]
    )

    def reached(endpoint: str) -> dict[str, str]:
        return server(run_program({"cluster": {**SETTINGS["cluster"], "endpoint": endpoint}}, google))

    assert reached("ip") == {"server": "https://192.0.2.1", "certificate-authority-data": "Y2E="}
    assert reached("private") == {"server": "https://172.16.0.2", "certificate-authority-data": "Y2E="}
    assert reached("dns") == {"server": "https://gke-1.europe-west4.gke.goog"}


@pytest.mark.parametrize(
    ("properties", "changes", "said"),
    [
        ({"workloadIdentityConfigs": []}, {}, "External Secrets could read no secret"),
        (
            {"workloadIdentityConfigs": [{"workloadPool": "other.svc.id.goog"}]},
            {},
            "no Workload Identity Federation",
        ),
        ({"datapathProvider": ""}, {}, "network.policies: platform-dev enforces no NetworkPolicy"),
        (
            {"enableAutopilot": True},
            {},
            "gpuPool: platform-dev is an Autopilot cluster, which takes no node pool",
        ),
        (
            {},
            {"gpuPool": {"autopilot": True}, "models": ON_DISK},
            "gpuPool.autopilot: platform-dev is a Standard cluster, so no node would come",
        ),
        ({"masterVersion": "1.29.15-gke.100"}, {}, "runs Kubernetes 1.29.15-gke.100"),
        ({}, {"cluster": {**SETTINGS["cluster"], "endpoint": "dns"}}, "has no dns endpoint"),
        (
            {"controlPlaneEndpointsConfigs": endpoints(allowExternalTraffic=False)},
            {"cluster": {**SETTINGS["cluster"], "endpoint": "dns"}},
            "gcloud container clusters update platform-dev --location europe-west4 --project example-llm-dev "
            "--enable-dns-access",
        ),
        ({}, {"cluster": {**SETTINGS["cluster"], "endpoint": "private"}}, "has no private endpoint"),
    ],
)
def test_a_cluster_that_lacks_something_is_refused(
    properties: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    google = with_cluster(**properties)
    with pytest.raises(Exception, match=re.escape(said)):
        run_program(changes, google)
    assert not {kind for kind in google.made if kind.startswith("kubernetes:")}


@pytest.mark.parametrize(
    ("properties", "changes"),
    [
        ({"datapathProvider": "", "networkPolicies": [{"enabled": True, "provider": "CALICO"}]}, {}),
        ({"datapathProvider": ""}, {"network": {"policies": False}}),
        ({"enableAutopilot": True}, {"models": EVERYTHING["models"][1:]}),
        ({"enableAutopilot": True}, {"gpuPool": {"autopilot": True}, "models": ON_DISK}),
        ({"masterVersion": "1.30.1-gke.1"}, {}),
        ({"masterVersion": "2.0.0-gke.1"}, {}),
    ],
)
def test_a_cluster_that_has_what_is_needed_is_taken(
    properties: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert run_program(changes, with_cluster(**properties)).one("Release", "gateway-litellm-release")
