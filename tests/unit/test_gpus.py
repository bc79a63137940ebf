"""GPUs that vLLM cannot use are refused with the reason, and machine types that are new are taken as the settings say."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

import settings
from settings.machines import CAPABILITIES, MACHINES
from tests.support.engine import SETTINGS, run_program
from tools.explain.advice import advise
from versions import VLLM_IMAGE

MODEL = SETTINGS["models"][0]
T4 = {"machineType": "n1-standard-8", "accelerator": "nvidia-tesla-t4"}
A100 = {"machineType": "a2-highgpu-1g", "accelerator": "nvidia-tesla-a100"}
NEW = {"machineType": "g9-standard-48", "accelerator": "nvidia-of-next-year", "acceleratorCount": 2}
TOLD = {"machineCpus": 48, "machineMemory": "180Gi"}


def parsed(pool: dict[str, Any], *arguments: str, **vllm: Any) -> settings.Settings:
    model = MODEL | {"vllm": MODEL["vllm"] | {"extraArgs": [*arguments], **vllm}}
    entries = {**SETTINGS, "models": [model], "gpuPool": pool}
    return settings.parse({f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}, "dev")


@pytest.mark.parametrize(
    ("pool", "arguments", "key", "problem", "fix"),
    [
        *(
            (T4 | {"accelerator": old}, (), "gpuPool.accelerator", "built for 7.5 and later", "nvidia-tesla-t4")
            for old in ("nvidia-tesla-v100", "nvidia-tesla-p100", "nvidia-tesla-p4")
        ),
        (T4, ("--dtype", "bfloat16"), "models[0].vllm.extraArgs", "bfloat16 needs compute capability 8.0", "half"),
        (T4, ("-q", "mxfp4"), "models[0].vllm.extraArgs", "mxfp4 needs compute capability 8.0", "quantization"),
        (A100, ("--quantization=modelopt",), "models[0].vllm.extraArgs", "needs compute capability 8.9", "later GPUs"),
        (NEW, (), "gpuPool.machineType", "no machine type that is known", "machineCpus and machineMemory"),
        (NEW | {"machineCpus": 48}, (), "gpuPool.machineType", "no machine type that is known", "machineMemory"),
        (T4 | TOLD, (), "gpuPool.machineCpus", "is known", "no machineCpus"),
        ({"machineType": "e2-standard-4"} | TOLD, (), "gpuPool.machineCpus", "is known", "no machineCpus"),
        ({"imageType": "UBUNTU_CONTAINERD", "driverVersion": "LATEST"}, (), "gpuPool.driverVersion", "Container-Optimized OS only", "DEFAULT"),
    ],
)  # fmt: skip
def test_what_no_engine_would_start_on_is_refused(
    pool: dict[str, Any], arguments: tuple[str, ...], key: str, problem: str, fix: str
) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        parsed(pool, *arguments)
    found = {mistake.key: mistake for mistake in refused.value.mistakes}
    assert problem in found[key].problem
    assert fix in found[key].write


@pytest.mark.parametrize(
    ("pool", "arguments"),
    [
        (T4, ("--dtype", "half")),
        (T4, ("--quantization", "fp8")),
        (A100, ("--dtype", "bfloat16", "--kv-cache-dtype", "fp8")),
        ({}, ("--quantization", "modelopt")),
        (NEW | TOLD, ("--quantization", "fp_quant")),
        ({"imageType": "UBUNTU_CONTAINERD"}, ()),
    ],
)
def test_what_works_is_taken(pool: dict[str, Any], arguments: tuple[str, ...]) -> None:
    assert parsed(pool, *arguments)


def test_a_pool_without_engines_is_anybodys() -> None:
    model = MODEL | {"endpoint": {"url": "http://models.svc/v1", "model": "m"}}
    del model["vllm"]
    entries = {**SETTINGS, "models": [model], "gpuPool": T4 | {"accelerator": "nvidia-tesla-v100"}}
    assert settings.parse({f"llm-gateway:{key}": json.dumps(value) for key, value in entries.items()}, "dev")


def test_each_gpu_of_the_table_has_its_capability() -> None:
    assert {name for machine in MACHINES.values() for name in machine.accelerators} <= CAPABILITIES.keys()


def test_engines_must_fit_a_new_machine_as_told() -> None:
    with pytest.raises(settings.SettingsError, match="asks for 64 cores, g9-standard-48 has 48"):
        parsed(NEW | TOLD, cpu=64)


def test_a_new_machine_is_warned_of(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, *_: said.append(message))
    pool = run_program({"gpuPool": NEW | TOLD}).one("NodePool", "gateway-gpu-pool-nodes")
    assert pool.inputs["nodeConfig"]["machineType"] == "g9-standard-48"
    assert [text for text in said if "g9-standard-48 is new to this version" in text]


@pytest.mark.parametrize(
    ("pool", "driver", "fix"),
    [
        ({}, "LATEST", None),
        ({"driverVersion": "LATEST"}, "LATEST", None),
        ({"driverVersion": "DEFAULT"}, "DEFAULT", "leave driverVersion off"),
        ({"imageType": "UBUNTU_CONTAINERD"}, "DEFAULT", "imageType: COS_CONTAINERD"),
    ],
)
def test_a_driver_that_may_be_too_old_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, pool: dict[str, Any], driver: str, fix: str | None
) -> None:
    """GKE's DEFAULT is older than CUDA 13 needs on some versions, and no list says on which."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, *_: said.append(message))
    made = run_program({"gpuPool": pool}).one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]
    (accelerator,) = made["guestAccelerators"]
    assert accelerator["gpuDriverInstallationConfig"]["gpuDriverVersion"] == driver
    warned = [text for text in said if "gpuPool.driverVersion" in text]
    assert len(warned) == (1 if fix else 0)
    for text in warned:
        assert f"older than 580, which CUDA 13 of {VLLM_IMAGE} needs" in text
        assert fix
        assert text.endswith(f"If they do, {fix}.") or f"If they do, {fix}, whose newest" in text


def test_an_old_driver_is_named() -> None:
    said = "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)."
    found = advise(said)
    assert found
    assert "driverVersion: LATEST" in found[1]
