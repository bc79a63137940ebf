"""Bad settings stop the program before anything is registered, with key, consequence and fix."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

import settings
from tests.support.engine import SETTINGS, run_program
from tests.support.entries import (
    H200,
    HOSTED,
    KEY,
    MODEL,
    database,
    endpoint,
    hosted,
    litellm,
    model,
    provider,
    redis,
    vllm,
)
from tests.unit.refusals import BAD

PROVIDERS: list[dict[str, Any]] = [
    {
        "model": "azure/my-deployment",
        "apiKeySecret": "azure-key",
        # A host and a path that are no keys, long as they are.
        "params": {
            "api_base": "https://mycompanyopenaieastus2prod.openai.azure.com/openai/deployments/gpt4o",
            "api_version": "2024-10-21",
            "base_model": "azure/gpt-4o",
            "temperature": 0.2,
        },
    },
    {
        "model": "azure/my-deployment",
        "secretParams": {"client_secret": "azure-secret"},
        "params": {
            "api_base": "https://a.openai.azure.com",
            "api_version": "2025-01-01-preview",
            "client_id": "00000000-1111-2222-3333-444444444444",
            "tenant_id": "00000000-1111-2222-3333-444444444444",
        },
    },
    {
        "model": "bedrock/arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/1a2b3c4d5e6f",
        "secretParams": {"aws_access_key_id": "key-id", "aws_secret_access_key": "key"},
    },
    {"model": "bedrock/claude", "apiKeySecret": "bearer", "params": {"aws_region_name": "us-gov-west-1"}},
    {
        "model": "vertex_ai/gemini-2.5-pro",
        "params": {"vertex_project": "my-project", "vertex_location": "global"},
    },
    {"model": "ollama/llama3", "params": {"api_base": "http://ollama.models.svc:11434"}},
    {"model": "hosted_vllm/llama3", "params": {"api_base": "http://10.0.0.3:8000/v1"}},
    {"model": "scaleway/a", "apiKeySecret": "scaleway", "params": {"extra_body": {"best": True}}},
]


@pytest.mark.parametrize("of", PROVIDERS, ids=lambda of: of["model"])
def test_providers_with_what_they_need_are_accepted(of: dict[str, Any]) -> None:
    costs = {"inputCostPerToken": 1e-06, "outputCostPerToken": 2e-06}
    entries = {**SETTINGS, "models": [{"alias": "model", **costs, "hosted": of}]}
    settings.parse({f"llm-gateway:{name}": json.dumps(value) for name, value in entries.items()}, "dev")


def test_a_deployment_has_the_price_of_what_it_is() -> None:
    parsed = settings.parse(
        {
            f"llm-gateway:{name}": json.dumps(value)
            for name, value in {**SETTINGS, "models": [{"alias": "model", "hosted": PROVIDERS[0]}]}.items()
        },
        "dev",
    )
    assert parsed.models[0].listed_prices["input_cost_per_token"] == 2.5e-06


def refusal(changes: dict[str, Any]) -> settings.SettingsError:
    sections = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
    with pytest.raises(settings.SettingsError) as refused:
        settings.parse({f"llm-gateway:{name}": json.dumps(value) for name, value in sections.items()}, "dev")
    return refused.value


@pytest.mark.parametrize(("changes", "key", "fix"), BAD, ids=[key for _, key, _ in BAD])
def test_refused_with_key_consequence_and_fix(changes: dict[str, Any], key: str, fix: str) -> None:
    mistake = next(
        part
        for part in str(refusal(changes)).split("\n  llm-gateway:")
        if part.startswith(key.removeprefix("llm-gateway:")) or (":" not in key and key in part)
    )
    assert "What would happen: " in mistake
    assert fix in mistake.split("Write instead: ")[1]


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(settings.SettingsError, match=r"Pulumi\.dev\.yaml: 3 wrong setting\(s\)"):
        settings.parse({"llm-gateway:gcp": '{"project": "X"}'}, "dev")


def test_rules_are_judged_although_other_settings_are_wrong() -> None:
    changes = {
        "gcp": {"project": "X"},
        "models": [
            vllm(gpus=2)["models"][0],
            {**MODEL, "alias": "other", "tpm": 0, "hosted": HOSTED},
        ],
        "postgres": {"storageSize": "10 GB", "instances": 2, "synchronousReplicas": 2},
    }
    assert {mistake.key for mistake in refusal(changes).mistakes} == {
        "gcp.project",
        "models[0].vllm.gpus",
        "models[1]",
        "models[1].tpm",
        "gpuPool.machineType",
        "gpuPool.maxNodes",
        "postgres.storageSize",
        "postgres.synchronousReplicas",
    }


def test_a_rule_on_a_refused_setting_is_passed_over() -> None:
    """The default in its place would say nothing about the value that was meant."""
    keys = [
        mistake.key
        for mistake in refusal({"postgres": {"instances": "3", "synchronousReplicas": 1}}).mistakes
    ]
    assert keys == ["postgres.instances"]


def test_nothing_is_registered_when_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import engine

    monitors: list[engine.RecordingMonitor] = []

    class Kept(engine.RecordingMonitor):
        def __init__(self, answers: engine.mocks.Mocks) -> None:
            super().__init__(answers)
            monitors.append(self)

    monkeypatch.setattr(engine, "RecordingMonitor", Kept)
    with pytest.raises(pulumi.RunError, match="maxNodes"):
        run_program({"gpuPool": {"maxNodes": 0}})
    assert [type_ for type_, _ in monitors[0].recording.resources] == ["pulumi:pulumi:Stack"]


def test_other_namespaces_are_left_alone() -> None:
    entries = {f"llm-gateway:{name}": json.dumps(value) for name, value in SETTINGS.items()}
    assert settings.parse({**entries, "gcp:region": "x"}, "dev").gcp.project == "example-llm-dev"


@pytest.mark.parametrize(
    "changes",
    [
        hosted(apiKeySecret=KEY),
        hosted(apiKeySecret=f"{KEY}+/="),
        hosted(apiKeySecret=KEY.removeprefix("sk-ant-api03-") + "9f8e7d6c5b"),
        hosted(apiKeySecret="hf_" + KEY.removeprefix("sk-ant-api03-")),
        endpoint(apiKeySecret=KEY),
        hosted(secretParams={"aws_access_key_id": KEY}),
        provider("openai", organization=KEY),
        litellm(environment={"A": KEY}),
        litellm(secretEnvironment={"A": KEY}),
        litellm(litellmSettings={"langfuse_default_tags": [KEY]}),
        provider("openai", extra_body={"a": [KEY]}),
        model(vllm=None, hosted={"model": "a/b", "apiKey": KEY}),
        {"secrets": {"adopt": {"masterKey": KEY}}},
        {"secrets": {"existingVllmApiKey": f"{KEY}!"}},
        {"litellm": {"sharedState": {"kind": "redis", "host": "h", "passwordSecret": "pass.word"}}},
        redis(tls="verify-ca", ca=f"-----BEGIN PRIVATE KEY-----\n{KEY}"),
        {"models": KEY},
    ],
)
def test_no_message_repeats_what_may_be_a_key(changes: dict[str, Any]) -> None:
    message = str(refusal(changes))
    assert KEY.removeprefix("sk-ant-api03-") not in message
    assert "pass.word" not in message


def test_an_existing_databases_disk_is_its_owners() -> None:
    """How large it must be is a rule for a Cluster alone; a secret of the name that this stack would make is read, too."""
    entries = {**SETTINGS, **database(passwordSecret="litellm-db-password")}
    entries["litellm"] = {"requestsPerDay": 1_700_000}
    texts = {f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}
    assert settings.parse(texts, "dev").database_password == "litellm-db-password"


@pytest.mark.parametrize(
    "name",
    [
        "anthropic-api-key",
        "openai-key-2",
        "team_Search-Prod-2024",
        "sk",
        "hf-token-for-production-models",
        "disk-api-key-for-search-team",
        "OPENAI_API_KEY_EUROPE_WEST4",
        "team_search_openai_api_key_v2",
        "anthropicapikeyofsearch/versions/12",
    ],
)
def test_names_of_secrets_are_not_taken_for_keys(name: str) -> None:
    entries = {**SETTINGS, **hosted(apiKeySecret=name)}
    parsed = settings.parse(
        {f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}, "dev"
    )
    assert parsed.models[0].secrets == {"api_key": name}


@pytest.mark.parametrize("namespace", ["llm-gatway", "llm_gateway", "LLM-Gateway", "llmgateway"])
def test_a_misspelt_namespace_is_refused(namespace: str) -> None:
    entries = {f"llm-gateway:{name}": json.dumps(value) for name, value in SETTINGS.items()}
    with pytest.raises(settings.SettingsError, match=f"written as {namespace}:protect") as refused:
        settings.parse({**entries, f"{namespace}:protect": "true"}, "dev")
    assert "Write instead: llm-gateway:protect" in str(refused.value)


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, "9" * 5_000, json.dumps(["x" * 1_000] * 1_000), json.dumps({"k" * 1_000: 1})],
    ids=["brackets", "digits", "list", "key"],
)
def test_messages_are_short_whatever_is_written(value: str) -> None:
    entries = {f"llm-gateway:{name}": json.dumps(other) for name, other in SETTINGS.items()}
    with pytest.raises(settings.SettingsError) as refused:
        settings.parse({**entries, "llm-gateway:gcp": value}, "dev")
    assert len(str(refused.value)) < 1_500


def test_a_message_lists_forty_mistakes() -> None:
    message = str(refusal({f"key{number}": 1 for number in range(1_000)}))
    assert (message.count("no such key"), "... and 960 more" in message) == (40, True)


def test_equal_keys_in_the_file_beside_the_program_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine keeps the last and says nothing: the program looks at the text."""
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  llm-gateway:gcp: {project: one, project: two}\n")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pulumi.RunError, match=r"config\.llm-gateway:gcp\.project is there twice"):
        settings.load()


@pytest.mark.parametrize(
    "pool",
    [
        {"reservation": "projects/my-capacity/reservations/l4-europe-west4"},
        {"zones": ["europe-west4-ai1a"]},
        {**H200, "diskType": "hyperdisk-balanced", "diskSizeGb": 300},
    ],
)
def test_pools_of_large_machines_and_shared_reservations_are_taken(pool: dict[str, Any]) -> None:
    read = settings.parse(
        {f"llm-gateway:{key}": json.dumps(value) for key, value in {**SETTINGS, "gpuPool": pool}.items()},
        "dev",
    )
    assert read.gpu_pool.model_dump(by_alias=True).items() >= pool.items()
