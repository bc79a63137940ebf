"""The cluster is the one that the settings, or the outputs of the stack they name, say: never one from elsewhere."""

from typing import Any

import pulumi
import pytest

from tests.support.engine import Mocks, Recording, run_program


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
