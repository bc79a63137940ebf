"""Bad settings stop the program before anything is registered, with key, consequence and fix."""

import json
from typing import Any

import pytest

import settings
from tests.unit.engine import SETTINGS, run_program

MODEL = SETTINGS["models"][0]
VLLM = MODEL["vllm"]

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"gcp": None}, "llm-gateway:gcp: the key is missing", "project: my-project-id"),
    ({"gcp": {"project": "X"}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"gcp": {"projct": "example-llm"}}, "llm-gateway:gcp.projct: no such key", "project"),
    ({"gcp": "example-llm"}, "llm-gateway:gcp:", "{project: my-project-id}"),
    ({"cluster": {"name": "platform"}}, "llm-gateway:cluster.location", "location: europe-west4"),
    ({"cluster": {"name": "platform", "location": "here"}}, "llm-gateway:cluster.location", "europe-west4"),
    ({"modles": []}, "llm-gateway:modles: no such key", "models"),
    ({"models": []}, "llm-gateway:models", "alias"),
    ({"models": [{**MODEL, "alias": "qwen2.5"}]}, "llm-gateway:models[0].alias", "qwen-local"),
    ({"models": [{**MODEL, "vllm": {"model": "qwen"}}]}, "llm-gateway:models[0].vllm.model", "Qwen/"),
    (
        {"models": [{**MODEL, "inputCostPerToken": 0}]},
        "llm-gateway:models[0].inputCostPerToken",
        "0.00000005",
    ),
    (
        {"models": [{k: v for k, v in MODEL.items() if k != "outputCostPerToken"}]},
        "outputCostPerToken",
        "0.0",
    ),
    ({"models": [MODEL, MODEL]}, "llm-gateway:models: two models have the alias", "different alias"),
    ({"models": [{**MODEL, "vllm": VLLM | {"gpus": 2}}]}, "llm-gateway:models[0].vllm.gpus", "gpus: 1"),
    (
        {"models": [{**MODEL, "vllm": VLLM | {"gpu": 1}}]},
        "llm-gateway:models[0].vllm.gpu: no such key",
        "gpus",
    ),
    ({"models": [{**MODEL, "vllm": VLLM | {"memory": "lots"}}]}, "llm-gateway:models[0].vllm.memory", "8Gi"),
    ({"gpuPool": {"minNodes": 2}}, "llm-gateway:gpuPool.minNodes", "minNodes: 1"),
    ({"gpuPool": {"maxNodes": 0}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"maxNodes": "1"}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"accelerator": "nvidia-h100"}}, "llm-gateway:gpuPool.accelerator", "nvidia-l4"),
    ({"gpuPool": {"acceleratorCount": 2}}, "llm-gateway:gpuPool.acceleratorCount", "acceleratorCount: 1"),
    ({"gpuPool": {"maxUnavailable": 0}}, "llm-gateway:gpuPool.maxUnavailable", "maxUnavailable: 1"),
    ({"gpuPool": {"taint": {"effect": "NoSchedule"}}}, "llm-gateway:gpuPool.taint.effect", "NO_SCHEDULE"),
    ({"namespaces": {"serving": "llm-gateway"}}, "llm-gateway:namespaces", "four different names"),
    ({"litellm": {"replicas": 2}}, "llm-gateway:litellm.sharedState.kind", "kind: valkey"),
    ({"secrets": {"masterKeyGeneration": 0}}, "llm-gateway:secrets.masterKeyGeneration", "2"),
    ({"charts": {"mirror": "charts"}}, "llm-gateway:charts.mirror", "oci://"),
    ({"timeouts": {"vllm": 1}}, "llm-gateway:timeouts.vllm", "vllm: 1800"),
    ({"postgres": {"storageSize": "10 GB"}}, "llm-gateway:postgres.storageSize", "10Gi"),
]


@pytest.mark.parametrize(("changes", "key", "fix"), BAD, ids=[key for _, key, _ in BAD])
def test_refused_with_key_consequence_and_fix(changes: dict[str, Any], key: str, fix: str) -> None:
    sections = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
    with pytest.raises(settings.SettingsError) as refusal:
        settings.parse({f"llm-gateway:{name}": json.dumps(value) for name, value in sections.items()}, "dev")
    mistake = next(
        part for part in str(refusal.value).split("\n  llm-gateway:") if key.split(":", 1)[-1] in part
    )
    assert "What would happen: " in mistake
    assert fix in mistake.split("Write instead: ")[1]


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(settings.SettingsError, match=r"Pulumi\.dev\.yaml: 3 wrong setting\(s\)"):
        settings.parse({"llm-gateway:gcp": '{"project": "X"}'}, "dev")


def test_nothing_is_registered_when_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit import engine

    monitors: list[engine.RecordingMonitor] = []

    class Kept(engine.RecordingMonitor):
        def __init__(self) -> None:
            super().__init__()
            monitors.append(self)

    monkeypatch.setattr(engine, "RecordingMonitor", Kept)
    with pytest.raises(settings.SettingsError):
        run_program({"gpuPool": {"maxNodes": 0}})
    assert [type_ for type_, _ in monitors[0].recording.resources] == ["pulumi:pulumi:Stack"]


def test_other_namespaces_are_left_alone() -> None:
    entries = {f"llm-gateway:{name}": json.dumps(value) for name, value in SETTINGS.items()}
    assert settings.parse({**entries, "gcp:region": "x"}, "dev").gcp.project == "example-llm-dev"
