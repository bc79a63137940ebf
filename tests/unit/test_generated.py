"""The generated files are up to date, and the stack files fulfil the schema."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from settings.generate import ROOT, documents
from settings.schema import stack_file_schema

STACK_FILES = sorted(ROOT.glob("Pulumi.*.yaml"))


def mistakes(content: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(stack_file_schema())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


@pytest.mark.parametrize(("name", "content"), documents().items(), ids=list(documents()))
def test_generated_file_is_fresh(name: str, content: str) -> None:
    assert (ROOT / name).read_text() == content, f"{name} is outdated: run `make docs`"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(stack_file_schema())


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_stack_file_keeps_to_the_schema_and_names_it(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=stack.schema.json\n")
    assert mistakes(yaml.safe_load(text)) == []


def test_other_namespaces_and_pulumis_own_keys_are_allowed() -> None:
    content = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    content["config"]["gcp:region"] = "europe-west4"
    assert mistakes(content | {"secretsprovider": "gcpkms://...", "encryptedkey": "..."}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llm-gateway:gpupool", {}),
        ("llm-gateway:gpuPool", {"nodes": 1}),
        ("llm-gateway:gpuPool", {"labels": {"team": "not a label"}}),
        ("llm-gateway:postgres", {"backups": {"method": "s3"}}),
        ("llm-gateway:postgres", {"restore": None}),
        ("llm-gateway:models", []),
        ("llm-gateway:protect", "yes"),
    ],
)
def test_editors_show_these_mistakes(key: str, value: Any) -> None:
    content = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    content["config"][key] = value
    assert mistakes(content)
