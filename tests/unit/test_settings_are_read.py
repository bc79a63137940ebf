"""No dead setting: the program reads every setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic.fields import FieldInfo

import settings
from settings.base import Section
from settings.errors import section_in
from tests.support.certificates import Authority
from tests.support.engine import CLOUD_SQL, EVERYTHING, SETTINGS, run_program

HOSTED = EVERYTHING["models"][-1]
RUNS: list[Mapping[str, Any]] = [
    EVERYTHING,
    {
        "cluster": {"stack": "organization/gke-cluster/dev"},
        "virtualKeys": [{"name": "search-app", "softBudget": 5}],
        "litellm": {
            "generalSettings": {"alerting": ["slack"]},
            "secretEnvironment": {"SLACK_WEBHOOK_URL": "slack-webhook"},
            "sharedState": {
                "kind": "redis",
                "host": "10.0.0.3",
                "username": "litellm",
                "passwordSecret": "redis-password",
                "tls": "verify-ca",
                "ca": Authority().pem,
            },
        },
        "models": [
            {
                **SETTINGS["models"][0],
                "vllm": {
                    "model": "a/b",
                    "cache": "shared",
                    "cacheSize": "1Ti",
                    "cacheStorageClass": "standard-rwx",
                },
            },
            {"alias": "support", "free": True, "adapter": {"of": "qwen-local", "model": "a/lora"}},
            {key: value for key, value in HOSTED.items() if key != "hosted"}
            | {"endpoint": {"url": "https://models.example.com/v1", "model": "llama"}},
        ],
        "postgres": {
            "name": "litellm-pg-2",
            "backups": {"method": "volumeSnapshot", "snapshotClass": "pd"},
            "restore": {"source": "litellm-pg", "snapshot": "litellm-pg-20300131"},
        },
    },
    {"postgres": CLOUD_SQL},
    {
        "postgres": {
            "existing": {
                "host": "10.20.0.5",
                "passwordSecret": "cloudsql",
                "tls": "verify-full",
                "ca": Authority().pem,
            }
        }
    },
    {
        "litellm": {
            "sharedState": {"kind": "redis", "nodes": ["10.0.0.3:6379"], "nodeAddresses": ["10.0.0.0/28"]}
        },
        "postgres": {
            "name": "litellm-pg-2",
            "backups": {"method": "objectStore"},
            "restore": {"source": "litellm-pg", "targetTime": "2030-01-31T12:00:00Z"},
        },
        "models": [
            {
                **SETTINGS["models"][0],
                "vllm": {"model": "a/b", "pool": "t4", "extraArgs": ["--gpu-memory-utilization", "0.4"]},
            }
        ],
        "moreGpuPools": [
            {
                "name": "t4",
                "machineType": "n1-standard-8",
                "accelerator": "nvidia-tesla-t4",
                "sharing": {"clients": 2},
            }
        ],
    },
    {
        "gpuPool": {"machineType": "g9-standard-48", "machineCpus": 48, "machineMemory": "180Gi"},
        "egress": {
            "httpsProxy": "http://10.40.0.3:3128",
            "noProxy": ["googleapis.com"],
            "proxySecret": "egress-proxy",
        },
    },
]
"""Settings that together take every branch of the program."""


def leaves(section: type[Section]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Section, name and field of every setting that holds a value."""
    for name, field in section.model_fields.items():
        if inner := section_in(field.annotation):
            yield from leaves(inner)
        else:
            yield section.__name__, name, field


@pytest.fixture(scope="module")
def read() -> set[tuple[str, str]]:
    """Section and name of every setting that the program read after validation."""
    found: set[tuple[str, str]] = set()
    load = settings.load

    def get(section: Section, name: str) -> Any:
        if not name.startswith("_"):
            found.add((type(section).__name__, name))
        return object.__getattribute__(section, name)

    def loaded_and_watched() -> settings.Settings:
        stack = load()
        patch.setattr(Section, "__getattribute__", get)
        return stack

    for changes in RUNS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "load", loaded_and_watched)
            run_program(changes)
    return found


@pytest.mark.parametrize("leaf", list(leaves(settings.Settings)), ids=lambda leaf: ".".join(leaf[:2]))
def test_setting_is_read(read: set[tuple[str, str]], leaf: tuple[str, str, FieldInfo]) -> None:
    assert leaf[:2] in read
    hints: Any = leaf[2].json_schema_extra
    assert hints["write"] or isinstance(leaf[2].default, str | int), (
        "neither an example nor a default says what to write"
    )
