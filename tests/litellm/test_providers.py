"""The pinned version knows the providers that the settings know, and asks them where and as whom the settings say."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.litellm import route
from settings.models import Model
from tests.litellm import asked, providers
from tests.litellm.environment import python

AZURE = {"api_base": "https://my-resource.openai.azure.com", "api_version": "2024-10-21"}
AWS = {"aws_access_key_id": "bedrock-key-id", "aws_secret_access_key": "bedrock-key"}
VERTEX = {"vertex_project": "example-llm-ai", "vertex_location": "europe-west4"}
CLAUDE = "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0"
HOSTED: dict[str, dict[str, Any]] = {
    "azure": {
        "model": "azure/my-deployment",
        "apiKeySecret": "azure-key",
        "params": {**AZURE, "temperature": 0.2},
    },
    "bedrock": {"model": CLAUDE, "secretParams": AWS, "params": {"aws_region_name": "eu-central-1"}},
    "vertex": {"model": "vertex_ai/gemini-2.5-pro", "params": VERTEX},
    "cluster": {"model": "ollama_chat/llama3", "params": {"api_base": "http://ollama.models.svc:11434"}},
    # Refused by the settings, and this is why.
    "azure without version": {
        "model": "azure/a",
        "apiKeySecret": "azure-key",
        "params": {"api_base": AZURE["api_base"]},
    },
    "azure without address": {
        "model": "azure/a",
        "apiKeySecret": "azure-key",
        "params": {"api_version": "2024-10-21"},
    },
    "bedrock without region": {"model": CLAUDE, "secretParams": AWS},
    "vertex without location": {
        "model": "vertex_ai/gemini-2.5-pro",
        "params": {"vertex_project": "example-llm-ai"},
    },
    "vertex without project": {
        "model": "vertex_ai/gemini-2.5-pro",
        "params": {"vertex_location": "europe-west4"},
    },
    "misspelt": {"model": "antropic/claude-sonnet-4-5", "apiKeySecret": "azure-key"},
}


def models() -> dict[str, Model]:
    free = {"free": True}
    return {
        name: Model.model_validate({"alias": "model", **free, "hosted": of}) for name, of in HOSTED.items()
    }


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """What each model is asked, as asked.py prints it; secrets are `value-of-<variable>`."""
    routes = [route(model, None, 1) for model in models().values()]
    secrets = re.findall(r"os\.environ/(\w+)", json.dumps(routes))
    done = subprocess.run(
        [python(), Path(__file__).with_name("asked.py")],
        input=json.dumps(routes),
        env={name: f"value-of-{name}" for name in secrets},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(HOSTED, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_the_list_of_providers_is_the_pinned_versions() -> None:
    assert providers.LIST.read_text() == providers.text(), "run `python -m tests.litellm.providers`"


def test_azure_is_asked_at_its_address_for_its_version_with_its_key(
    answers: dict[str, dict[str, Any]],
) -> None:
    call = answers["azure"]
    assert call["url"] == (
        "https://my-resource.openai.azure.com/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    )
    assert call["headers"]["api-key"] == "value-of-SECRET_AZURE_KEY"
    assert call["body"]["temperature"] == 0.2


def test_bedrock_is_asked_in_its_region_with_its_keys(answers: dict[str, dict[str, Any]]) -> None:
    call = answers["bedrock"]
    assert call["url"].startswith("https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude")
    signed = call["headers"]["authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=value-of-SECRET_BEDROCK_KEY_ID/")
    assert "/eu-central-1/bedrock/" in signed


def test_vertex_ai_is_asked_as_the_pods_own_account(answers: dict[str, dict[str, Any]]) -> None:
    call = answers["vertex"]
    assert call["url"].startswith("https://europe-west4-aiplatform.googleapis.com/")
    assert (
        "/projects/example-llm-ai/locations/europe-west4/publishers/google/models/gemini-2.5-pro:"
        in call["url"]
    )
    assert call["headers"]["authorization"] == f"Bearer of-{asked.ACCOUNT}"


def test_a_model_in_the_cluster_needs_no_key(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["cluster"]["url"] == "http://ollama.models.svc:11434/api/chat"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("azure without version", "api-version=2025-02-01-preview"),
        ("azure without address", "error"),
        ("bedrock without region", "https://bedrock-runtime.us-west-2."),
        ("vertex without location", "https://us-central1-aiplatform."),
        ("vertex without project", "/projects/project-of-the-cluster/"),
        ("misspelt", "LLM Provider NOT provided"),
    ],
)
def test_what_is_refused_would_go_elsewhere_or_fail(
    answers: dict[str, dict[str, Any]], name: str, said: str
) -> None:
    assert said in json.dumps(answers[name])
    hosted = models()[name].hosted
    assert hosted
    assert list(hosted.broken())


def test_what_works_is_not_refused() -> None:
    for name in ("azure", "bedrock", "vertex", "cluster"):
        hosted = models()[name].hosted
        assert hosted
        assert not list(hosted.broken()), name
