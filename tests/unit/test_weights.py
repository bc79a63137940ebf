"""Weights from a bucket, offline engines, and LoRA adapters: what engines are told, may read and may reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import settings
from sandbox.network.policies import End, Policies
from settings import vllm_arguments
from tests.support.certificates import Authority
from tests.support.engine import COSTS, SETTINGS, Recording, run_program

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
WEIGHTS = "gs://example-llm-weights/qwen2.5/main"
SUPPORT, SEARCH = "my-org/support-lora", "my-org/search-lora"
ENGINE = End("10.8.0.2", "vllm", {"environment": "engine"})
METADATA, GOOGLE, INTERNET = End("169.254.169.254"), End("10.20.0.5"), End("198.51.100.1")
ACCOUNT = "vllm-engine-europe-west4-platform-dev"


def own(alias: str = "qwen-local", **changes: Any) -> dict[str, Any]:
    return {"alias": alias, **COSTS, "vllm": {"model": MODEL, **changes}}


def adapter(alias: str, model: str = SUPPORT, of: str = "qwen-local") -> dict[str, Any]:
    return {"alias": alias, **COSTS, "adapter": {"of": of, "model": model}}


def run(*models: Mapping[str, Any]) -> Recording:
    return run_program({"models": models})


@pytest.fixture(scope="module")
def streamed() -> Recording:
    return run(own(weights=WEIGHTS, extraArgs=["--seed", "1"]))


@pytest.fixture(scope="module")
def adapted() -> Recording:
    return run(own(), adapter("support"), adapter("search", SEARCH), adapter("support-too"))


def engine(recording: Recording) -> Any:
    values = recording.one("Release", "gateway-vllm-release").inputs["values"]
    return values["servingEngineSpec"]["modelSpec"][0]


def reach(recording: Recording) -> Mapping[str, bool]:
    found = Policies([policy.inputs for policy in recording.all("NetworkPolicy")])
    return {
        "internet": found.allow(ENGINE, INTERNET, 443),
        "google": found.allow(ENGINE, GOOGLE, 443),
        "metadata": found.allow(ENGINE, METADATA, 80),
    }


def test_weights_are_streamed_from_their_bucket(streamed: Recording) -> None:
    spec = engine(streamed)
    assert spec["modelURL"] == WEIGHTS
    told = ["--served-model-name", MODEL, "--load-format", "runai_streamer", "--seed", "1"]
    assert spec["vllmConfig"]["extraArgs"] == told
    assert vllm_arguments.given(told).keys() == {"served-model-name", "load-format", "seed"}
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in spec["env"]


def test_engines_read_the_bucket_as_an_account_of_their_clusters_own(streamed: Recording) -> None:
    granted = streamed.one("BucketIAMMember", "gateway-vllm-weights-example-llm-weights")
    assert (granted.inputs["bucket"], granted.inputs["role"]) == (
        "example-llm-weights",
        "roles/storage.objectViewer",
    )
    assert granted.inputs["member"].endswith(f"/ns/vllm/sa/{ACCOUNT}")
    account = streamed.one("ServiceAccount", "gateway-vllm-account").inputs["metadata"]
    assert account["name"] == engine(streamed)["serviceAccountName"] == ACCOUNT
    release = streamed.one("Release", "gateway-vllm-release")
    assert granted.urn in streamed.direct_dependencies(release)


def test_litellm_asks_for_the_model_by_its_name(streamed: Recording) -> None:
    values = streamed.one("Release", "gateway-litellm-release").inputs["values"]
    (route,) = values["proxy_config"]["model_list"]
    assert route["litellm_params"]["model"] == f"hosted_vllm/{MODEL}"


@pytest.mark.parametrize(
    ("changes", "internet", "bucket"),
    [
        ({}, True, False),
        ({"weights": WEIGHTS}, False, True),
        ({"cache": "disk", "environment": {"HF_HUB_OFFLINE": "1"}}, False, False),
        ({"cache": "disk", "environment": {"HF_HUB_OFFLINE": "0"}}, True, False),
        ({"environment": {"HF_ENDPOINT": "http://10.30.0.8:8080"}}, False, False),
    ],
)
def test_engines_reach_what_they_download_from(
    changes: Mapping[str, Any], internet: bool, bucket: bool
) -> None:
    reached = reach(run(own(**changes)))
    # A private address of Google's APIs is no part of the internet, and the internet may be where they are.
    assert reached == {"internet": internet or bucket, "google": bucket, "metadata": bucket}


def test_each_adapter_is_a_model_of_its_own_on_the_engines_of_another(adapted: Recording) -> None:
    spec = engine(adapted)
    told = ["--enable-lora", "--max-loras", "2", "--lora-modules"]
    told += [f"{SUPPORT}={SUPPORT}", f"{SEARCH}={SEARCH}"]
    assert spec["vllmConfig"]["extraArgs"] == told
    assert vllm_arguments.given(told).keys() == {"enable-lora", "max-loras", "lora-modules"}
    assert "enableLoRA" not in spec
    values = adapted.one("Release", "gateway-litellm-release").inputs["values"]
    routes = {route["model_name"]: route["litellm_params"] for route in values["proxy_config"]["model_list"]}
    assert routes.keys() == {"qwen-local", "support", "search", "support-too"}
    for alias, name in (("support", SUPPORT), ("search", SEARCH), ("support-too", SUPPORT)):
        assert routes[alias] == routes["qwen-local"] | {"model": f"hosted_vllm/{name}"}
    assert adapted.outputs["modelAliases"] == [*routes]


def test_without_them_engines_are_told_nothing_more(program: Recording) -> None:
    spec = engine(program)
    assert "extraArgs" not in spec["vllmConfig"]
    assert "env" not in spec
    assert spec["serviceAccountName"] == "vllm-engine"
    assert not program.all("BucketIAMMember")


def read(models: list[dict[str, Any]], **others: Any) -> settings.Settings:
    sections = {**SETTINGS, "models": models, **others}
    entries = {f"llm-gateway:{key}": json.dumps(value) for key, value in sections.items()}
    return settings.parse(entries, "dev")


PROXIED = {"httpsProxy": "http://proxy.example.com:3128", "ca": Authority().pem}
OFFLINE: dict[str, Any] = {"environment": {"HF_HUB_OFFLINE": "true"}}
VLLM = "models[0].vllm"


@pytest.mark.parametrize(
    ("models", "key", "said"),
    [
        ([own(weights="s3://a-bucket/x")], f"{VLLM}.weights", "String should match"),
        ([own(weights="gs://a-bucket/x/")], f"{VLLM}.weights", "String should match"),
        ([own(weights=WEIGHTS, revision="main")], f"{VLLM}.revision", "come from a bucket"),
        ([own(weights=WEIGHTS, huggingFaceToken="hf")], f"{VLLM}.huggingFaceToken", "come from a bucket"),
        ([own(weights=WEIGHTS, cache="disk")], f"{VLLM}.cache", "straight into the GPUs"),
        (
            [own(weights=WEIGHTS, extraArgs=["--load-format", "auto"])],
            f"{VLLM}.extraArgs",
            "--load-format is not",
        ),
        ([own(**OFFLINE)], f"{VLLM}.environment.HF_HUB_OFFLINE", "the cache is empty"),
        ([own(extraArgs=["--enable-lora"])], f"{VLLM}.extraArgs", "--enable-lora is not"),
        ([own(extraArgs=["--lora-modules", "a=b"])], f"{VLLM}.extraArgs", "--lora-modules is not"),
        ([own(), adapter("a", of="qwen")], "models[1].adapter.of", "no self-hosted model has the alias"),
        ([own(weights=WEIGHTS), adapter("a")], "models[1].adapter.of", "come from a bucket"),
        ([own(), adapter("a", MODEL)], "models[1].adapter.model", "another model's engines"),
        (
            [own(), own("other", model="a/b"), adapter("a"), adapter("b", of="other")],
            "models[3].adapter.model",
            "another model's engines",
        ),
        ([{**adapter("a"), **own("a")}], "models[0]", "vllm and adapter of vllm, hosted, endpoint and"),
        (
            [own(), {"alias": "a", "adapter": adapter("a")["adapter"]}],
            "models[1].inputCostPerToken",
            "missing",
        ),
    ],
)
def test_refused(models: list[dict[str, Any]], key: str, said: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        read(models)
    found = {mistake.key: mistake.problem for mistake in refused.value.mistakes}
    assert said in found.get(key, ""), found


def test_a_bucket_behind_a_proxy_that_looks_into_tls_is_refused() -> None:
    with pytest.raises(settings.SettingsError, match="vLLM's streamer can be given no authority"):
        read([own(weights=WEIGHTS)], egress=PROXIED)
    read([own(weights=WEIGHTS)], egress={**PROXIED, "noProxy": ["googleapis.com"]})


@pytest.mark.parametrize(
    "models",
    [
        [own(weights="gs://example-llm-weights")],
        [own(cache="disk", **OFFLINE)],
        [own(weights=WEIGHTS, **OFFLINE)],
        [own(), adapter("a"), adapter("b")],
        [own(extraArgs=["--max-lora-rank", "64"]), adapter("a")],
        [{**own(), "weight": 1}, {**own(name="other", replicas=0), "weight": 1}, adapter("a")],
    ],
)
def test_taken(models: list[dict[str, Any]]) -> None:
    read(models)
