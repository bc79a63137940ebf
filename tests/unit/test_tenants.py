"""Teams and virtual keys: what the settings allow, and what the program makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.gateway_secrets import OWNER
from components.reconciler import reconcile
from settings.errors import SettingsError
from tests.support.engine import EVERYTHING, Mocks, Recording, run_program, secret_marker

SEARCH = {"name": "search", "budget": 50, "rpm": 100, "models": ["qwen-local"]}
APP = {"name": "app", "team": "search"}


def app(**changes: Any) -> dict[str, Any]:
    return {"virtualKeys": [{**APP, **changes}]}


def tenants(**changes: Any) -> Recording:
    return run_program({"teams": [SEARCH], "virtualKeys": [APP], **changes})


@pytest.mark.parametrize(
    ("changes", "key", "problem"),
    [
        ({"teams": [SEARCH, SEARCH]}, "teams", "two are called search"),
        ({"virtualKeys": [APP, APP]}, "virtualKeys", "two are called app"),
        ({"teams": [{"name": "Search"}]}, "teams[0].name", "should match pattern"),
        ({"teams": [{**SEARCH, "budget": 0}]}, "teams[0].budget", "greater than 0"),
        ({"teams": [{**SEARCH, "budgetPeriod": "1w"}]}, "teams[0].budgetPeriod", "should match pattern"),
        ({"teams": [{**SEARCH, "budgetPeriod": "30h"}]}, "teams[0].budgetPeriod", "should match pattern"),
        ({"teams": [{**SEARCH, "budgetPeriod": "2mo"}]}, "teams[0].budgetPeriod", "should match pattern"),
        ({"teams": [{**SEARCH, "tpm": 0}]}, "teams[0].tpm", "greater than or equal to 1"),
        ({"teams": [{**SEARCH, "models": ["gpt"]}]}, "teams[0].models", "no model has the alias gpt"),
        ({"teams": [{**SEARCH, "metadata": {"tags": "a"}}]}, "teams[0].metadata.tags", "acts on tags"),
        (app(metadata={"managed_by": "me"}), "virtualKeys[0].metadata.managed_by", "acts on managed_by"),
        (app(team="none"), "virtualKeys[0].team", "there is no team none"),
        (app(budget=51), "virtualKeys[0].budget", "51 is more than team search has (50)"),
        (app(rpm=101), "virtualKeys[0].rpm", "101 is more than team search has"),
        (
            {"models": EVERYTHING["models"], **app(models=["claude"])},
            "virtualKeys[0].models",
            "not among the models of team search",
        ),
        (app(expires="2027-01-31"), "virtualKeys[0].expires", "should match pattern"),
        (app(expires="2027-02-31T00:00:00Z"), "virtualKeys[0].expires", "is no date and time"),
        (app(adopt=1, generation=2), "virtualKeys[0].adopt", "version 1 is kept"),
        (
            {"secrets": {"existingVllmApiKey": "litellm-key-app"}},
            "virtualKeys[0].name",
            "litellm-key-app is read as another secret",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: Mapping[str, Any], key: str, problem: str) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        tenants(**changes)
    cause = refused.value.__cause__
    assert isinstance(cause, SettingsError)
    assert [mistake.key for mistake in cause.mistakes] == [key]
    assert problem in cause.mistakes[0].problem


@pytest.mark.parametrize(
    "changes",
    [
        app(budget=90, budgetPeriod="1d"),
        {"virtualKeys": [{"name": "search"}]},
        app(expires="2020-01-31T00:00:00+01:00"),
    ],
    ids=["budgets of different periods", "a key called as a team", "a key that has expired"],
)
def test_what_can_be_meant_is_allowed(changes: Mapping[str, Any]) -> None:
    tenants(**changes)


def jobs(recording: Recording) -> list[str]:
    return [job.request.name for job in recording.all("Job")]


def test_nothing_is_made_where_tenants_are_left_to_others(program: Recording) -> None:
    assert jobs(program) == []
    assert not [name for _, name in program.resources if "tenant" in name]
    assert program.outputs["virtualKeySecrets"] == {}


@pytest.mark.parametrize("left", [{"teams": []}, {"virtualKeys": []}, {"teams": [], "virtualKeys": []}])
def test_the_job_stays_when_the_last_tenant_goes(left: Mapping[str, Any]) -> None:
    recording = run_program(left)
    assert jobs(recording) == ["gateway-tenants-reconcile"]
    assert not [name for _, name in recording.resources if "tenant-keys" in name]
    pod = recording.one("Job", "gateway-tenants-reconcile").inputs["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["declared", "master-key"]
    assert declared(recording)["teams"] == declared(recording)["keys"] == []


def declared(recording: Recording) -> dict[str, Any]:
    return json.loads(recording.one("ConfigMap", "gateway-tenants-declared").inputs["data"]["declared.json"])


def many(keys: int) -> Recording:
    """So many keys with long names, in as many teams."""
    names = [f"t{number:03}-{'a' * 40}" for number in range(keys)]
    virtual_keys = [{"name": f"{name}-key", "team": name} for name in names]
    return run_program({"teams": [{"name": name} for name in names], "virtualKeys": virtual_keys})


def test_any_number_of_tenants_are_one_job_and_one_external_secret_that_fit_the_cluster() -> None:
    recording = many(200)
    assert jobs(recording) == ["gateway-tenants-reconcile"]
    external = recording.one("ExternalSecret", "gateway-secret-sync-litellm-tenant-keys").inputs
    assert len(external["spec"]["data"]) == 200
    assert external["spec"]["refreshInterval"] == "1h"
    assert len(recording.outputs["virtualKeySecrets"]) == 200
    config_map = recording.one("ConfigMap", "gateway-tenants-declared").inputs
    assert 5 * len(json.dumps(config_map)) < 2**20, "a ConfigMap holds 1 MiB"
    assert 5 * len(json.dumps(external)) < 1.5 * 2**20, "etcd takes 1.5 MiB"


def test_each_further_tenant_is_as_much_work_for_the_engine() -> None:
    """Of what the engine is asked to register: the number, the bytes, and the resources that these depend on."""
    counted: list[tuple[int, int, int]] = []
    for keys in (10, 20, 30):
        requests = [registration.request for registration in many(keys).resources.values()]
        dependencies = sum(len(request.dependencies) for request in requests)
        counted.append((len(requests), sum(request.ByteSize() for request in requests), dependencies))
    for ten, twenty, thirty in zip(*counted, strict=True):
        assert thirty - twenty == pytest.approx(twenty - ten, rel=0.01)


def test_a_tenant_is_shown_as_it_is_written() -> None:
    recording = tenants()
    team = recording.one("Team", "gateway-tenants-team-search").inputs
    assert team.items() >= {"name": "search", "budget": 50, "rpm": 100, "models": ["qwen-local"]}.items()
    key = recording.one("VirtualKey", "gateway-tenants-key-app").inputs
    assert key.items() >= {"name": "app", "team": "search", "generation": 1}.items()


def test_the_declaration_speaks_litellms_language_and_holds_no_value() -> None:
    changes = {"budget": 5, "budgetPeriod": "1d", "tpm": 7, "blocked": True, "metadata": {"a": "b"}}
    recording = tenants(**app(**changes))
    found = declared(recording)
    assert found["managed_by"] == "llm-gateway/dev"
    assert found["keys"] == [
        {
            "name": "app",
            "key_alias": "app",
            "team": "search",
            "max_budget": 5,
            "budget_duration": "1d",
            "tpm_limit": 7,
            "rpm_limit": None,
            "models": [],
            "blocked": True,
            "metadata": {"a": "b"},
            "allowed_routes": ["llm_api_routes", "/key/info", "/team/info"],
            "expires": None,
        }
    ]
    script = recording.one("ConfigMap", "gateway-tenants-declared").inputs["data"]["reconcile.py"]
    assert script == Path(reconcile.__file__).read_text()
    assert "marker-of" not in json.dumps(found)


def test_aliases_limits_of_models_and_budgets_are_declared_in_litellms_language() -> None:
    slack = {"generalSettings": {"alerting": ["slack"]}, "secretEnvironment": {"SLACK_WEBHOOK_URL": "slack"}}
    ann = app(
        alias="Ann.Lee@example.com", softBudget=4, modelRpm={"qwen-local": 9}, modelTpm={"qwen-local": 99}
    )
    taken = {"teams": [{**SEARCH, "alias": "Search Team", "takeOver": True}]}
    recording = tenants(**taken, **ann, litellm=slack)
    found = declared(recording)
    assert found["budgets"] == [
        {"budget_id": "llm-gateway/dev:key/app", "soft_budget": 4},
    ]
    (team,), (key,) = found["teams"], found["keys"]
    assert (team["name"], team["team_alias"], team["take_over"]) == ("search", "Search Team", True)
    assert (key["name"], key["key_alias"]) == ("app", "Ann.Lee@example.com")
    assert key["budget_id"] == "llm-gateway/dev:key/app"
    assert key["metadata"] == {"model_rpm_limit": {"qwen-local": 9}, "model_tpm_limit": {"qwen-local": 99}}
    assert recording.one("VirtualKey", "gateway-tenants-key-app").inputs["alias"] == "Ann.Lee@example.com"


def test_a_value_is_made_once_and_rotated_alone() -> None:
    before = tenants(virtualKeys=[APP, {"name": "bot"}])
    after = tenants(virtualKeys=[{**APP, "generation": 2}, {"name": "bot"}])
    for name, changes in (("app", True), ("bot", False)):
        kind = ("RandomPassword", f"gateway-secrets-litellm-key-{name}")
        assert (before.one(*kind).inputs != after.one(*kind).inputs) is changes
    version = before.one("SecretVersion", "gateway-secrets-litellm-key-app").inputs
    assert version["secretData"] == f"sk-{secret_marker('gateway-secrets-litellm-key-app')}"


def test_a_key_can_be_removed_from_a_protected_stack() -> None:
    recording = tenants(protect=True)
    assert recording.one("Secret", "gateway-secrets-litellm-key-app").request.protect is False
    assert recording.one("Secret", "gateway-secrets-litellm-master-key").request.protect is True


def test_an_existing_value_is_adopted() -> None:
    google = Mocks({"litellm-key-app": {OWNER: "llm-gateway/dev"}})
    recording = run_program({"teams": [SEARCH], "virtualKeys": [{**APP, "adopt": 3}]}, google)
    name = "projects/example-llm-dev/secrets/litellm-key-app"
    version = recording.one("SecretVersion", "gateway-secrets-litellm-key-app").request
    assert version.importId == "projects/123456789012/secrets/litellm-key-app/versions/3"
    assert recording.one("Secret", "gateway-secrets-litellm-key-app").request.importId == name
    assert not [
        name for type_, name in recording.resources if type_.endswith("RandomPassword") and "key-app" in name
    ]


def test_the_job_runs_anew_with_another_version_and_reads_values_from_files_alone() -> None:
    job = tenants().one("Job", "gateway-tenants-reconcile")
    template = job.inputs["spec"]["template"]
    assert template["metadata"]["annotations"] == {"llm-gateway/litellm-tenant-keys": "litellm-key-app=3"}
    assert template["metadata"]["labels"] == {"app.kubernetes.io/name": "litellm-tenants"}
    (container,) = template["spec"]["containers"]
    assert "env" not in container
    assert "envFrom" not in container
    mounted = [volume["secret"] for volume in template["spec"]["volumes"] if "secret" in volume]
    assert [secret["secretName"] for secret in mounted] == ["litellm-secrets", "litellm-tenant-keys"]
    assert "ttlSecondsAfterFinished" not in job.inputs["spec"]
    assert job.request.deleteBeforeReplace is True


def test_outputs_name_the_secrets() -> None:
    secret = "projects/example-llm-dev/secrets/litellm-key-app"
    assert tenants().outputs["virtualKeySecrets"] == {"app": secret}
