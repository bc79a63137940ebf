"""Bad settings stop the program before anything is registered, with key, consequence and fix."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

import settings
from tests.support.certificates import Authority
from tests.support.engine import SETTINGS, run_program
from versions import VLLM_IMAGE

MODEL = SETTINGS["models"][0]
VLLM = MODEL["vllm"]

HOSTED = {"model": "anthropic/claude-sonnet-4-5", "apiKeySecret": "anthropic-api-key"}
LONG = "a" * 51
KEY = "sk-ant-api03-Zx8vQ2mLt5RwYc7NbKd4"


H200 = {"machineType": "a3-ultragpu-8g", "accelerator": "nvidia-h200-141gb", "acceleratorCount": 8}


def model(**changes: Any) -> dict[str, Any]:
    return {"models": [{key: value for key, value in (MODEL | changes).items() if value is not None}]}


def vllm(**changes: Any) -> dict[str, Any]:
    return model(vllm=VLLM | changes)


def hosted(**changes: Any) -> dict[str, Any]:
    return model(vllm=None, hosted=HOSTED | changes)


def priced(of: str = HOSTED["model"], **changes: Any) -> dict[str, Any]:
    """A hosted model with the costs of the model that vLLM serves, or others."""
    return model(vllm=None, hosted=HOSTED | {"model": of}, **changes)


def provider(name: str, **params: Any) -> dict[str, Any]:
    """A model at the provider, with an API key and these parameters."""
    return hosted(model=f"{name}/a-model", params=params)


def fallback(on_error: dict[str, list[str]], *models: dict[str, Any]) -> dict[str, Any]:
    return {"models": [*models, MODEL], "litellm": {"fallbacks": {"onError": on_error}}}


def litellm(**changes: Any) -> dict[str, Any]:
    return {"litellm": changes}


def unsold(of: str, **changes: Any) -> dict[str, Any]:
    """A hosted model without costs per token."""
    return priced(of, inputCostPerToken=None, outputCostPerToken=None, **changes)


def endpoint(**changes: Any) -> dict[str, Any]:
    return model(vllm=None, endpoint={"url": "http://gateway.models.svc/v1", "model": "llama"} | changes)


STATE = "llm-gateway:litellm.sharedState"
CA = Authority().pem


def redis(**changes: Any) -> dict[str, Any]:
    return {"litellm": {"sharedState": {"kind": "redis", "host": "10.0.0.3", **changes}}}


def cluster(*nodes: str, **changes: Any) -> dict[str, Any]:
    return {"litellm": {"sharedState": {"kind": "redis", "nodes": [*nodes], **changes}}}


def database(beside: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    existing = {"host": "10.20.0.5", "passwordSecret": "cloudsql", "tls": "require", **changes}
    kept = {key: value for key, value in existing.items() if value is not None}
    return {"postgres": {"existing": kept, **(beside or {})}}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"gcp": None}, "llm-gateway:gcp: the key is missing", "project: my-project-id"),
    ({"gcp": {"project": "X"}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"gcp": {"projct": "example-llm"}}, "llm-gateway:gcp.projct: no such key", "project"),
    ({"gcp": "example-llm"}, "llm-gateway:gcp:", "{project: my-project-id}"),
    ({"cluster": {"name": "platform"}}, "llm-gateway:cluster.location", "location: europe-west4"),
    ({"cluster": {"name": "platform", "location": "here"}}, "llm-gateway:cluster.location", "europe-west4"),
    ({"modles": []}, "llm-gateway:modles: no such key", "models"),
    ({"models": []}, "llm-gateway:models", "alias"),
    # Aliases that LiteLLM would not take for one model's name.
    (model(alias="openai/*"), "llm-gateway:models[0].alias", "alias: openai/*"),
    (model(alias="a,b"), "llm-gateway:models[0].alias", "qwen-local"),
    (
        model(alias="all-proxy-models"),
        "llm-gateway:models[0].alias: all-proxy-models has a meaning",
        "qwen-local",
    ),
    (model(alias="os.environ/HOME"), "llm-gateway:models[0].alias: LiteLLM reads", "alias: HOME"),
    # Names that the chart writes without quotes: of no more characters than a Service's, and text in YAML.
    (
        model(alias="Qwen/" + "q" * 39),
        f"llm-gateway:models[0].vllm.name: the alias makes it 'qwen-{'q' * 39}', 44 characters",
        f"name: qwen-{'q' * 38}",
    ),
    (
        model(alias="On"),
        "llm-gateway:models[0].vllm.name: the alias makes it 'on', which YAML",
        "name: model-on",
    ),
    (model(alias="1e3"), "llm-gateway:models[0].vllm.name: the alias makes it '1e3'", "name: model-1e3"),
    (vllm(name="q" * 44), "llm-gateway:models[0].vllm.name", "name: qwen-local"),
    (vllm(name="qwen2.5"), "llm-gateway:models[0].vllm.name", "name: qwen-local"),
    (vllm(name="null"), "llm-gateway:models[0].vllm.name: a chart writes it without", "name: qwen-local"),
    (vllm(name="0x1f"), "llm-gateway:models[0].vllm.name: a chart writes it without", "name: qwen-local"),
    ({"namespaces": {"serving": "no"}}, "llm-gateway:namespaces.serving: a chart writes it", "serving: vllm"),
    (
        {"models": [{**MODEL, "alias": "qwen2.5"}, {**MODEL, "alias": "Qwen2-5"}]},
        "llm-gateway:models: among vLLM's objects the models qwen2.5 and Qwen2-5 are all called 'qwen2-5'",
        "vllm.name: qwen2-5-2",
    ),
    (model(vllm={"model": "qwen"}), "llm-gateway:models[0].vllm.model", "Qwen/"),
    (model(outputCostPerToken=None), "outputCostPerToken", "0.0"),
    # Prices: per million and per thousand tokens, of no model, of a model that LiteLLM does not know, and none.
    (
        model(inputCostPerToken=3),
        "llm-gateway:models[0].inputCostPerToken",
        "0.000003, if 3 is the price of a mil",
    ),
    (
        priced(inputCostPerToken=0.003, outputCostPerToken=0.015),
        "llm-gateway:models[0].outputCostPerToken",
        "0.000015, if 0.015 is the price of a thousand",
    ),
    (
        priced(inputCostPerToken=0.1),
        "llm-gateway:models[0].inputCostPerToken",
        "0.000003, which is LiteLLM's",
    ),
    # No unit makes a price of it.
    (model(inputCostPerToken=3000), "llm-gateway:models[0].inputCostPerToken", "at most 0.001, in USD"),
    (model(cacheReadCostPerToken=0.3), "llm-gateway:models[0].cacheReadCostPerToken", "0.0000003, if 0.3 is"),
    (
        model(outputCostPerToken=1e-13),
        "llm-gateway:models[0].outputCostPerToken",
        "at least 0.0000000001",
    ),
    (model(inputCostPerToken=-1e-6), "llm-gateway:models[0].inputCostPerToken", "0.00000005"),
    (
        model(inputCostPerToken=0, outputCostPerToken=0),
        "llm-gateway:models[0].inputCostPerToken",
        "free: true",
    ),
    (model(free=True), "llm-gateway:models[0].free", "either the costs or free: true"),
    (unsold("a/b", free=True, otherCosts={"webSearch": 0.01}), "models[0].free", "either the costs or free"),
    # Prices by the piece: beside tokens for nothing, of no image, and what LiteLLM does not count.
    (
        priced("openai/image-1", inputCostPerToken=0, outputCostPerToken=0, otherCosts={"image": 0.04}),
        "llm-gateway:models[0].inputCostPerToken",
        "neither of the two",
    ),
    (
        unsold("openai/whisper-of-next-year", otherCosts={"audioSecond": 0.36}),  # per hour
        "llm-gateway:models[0].otherCosts.audioSecond",
        "audioSecond: 0.0001",
    ),
    (
        unsold("openai/whisper-1", otherCosts={"audioSecond": 0.006}),  # per minute
        "llm-gateway:models[0].otherCosts.audioSecond",
        "audioSecond: 0.0001, which is LiteLLM's price",
    ),
    (unsold("huggingface/a/b"), "llm-gateway:models[0].hosted.model", "OpenAI-compatible URL as an endpoint"),
    (priced("together_ai/a/b"), "llm-gateway:models[0].hosted.model", "OpenAI-compatible URL as an endpoint"),
    (
        priced("fireworks_ai/a", otherCosts={"promptAbove128K": 1e-6}),
        "llm-gateway:models[0]: LiteLLM",
        "inputCostPerToken and",
    ),
    (
        priced("perplexity/sonar-of-next-year", cacheReadCostPerToken=1e-8),
        "llm-gateway:models[0]: LiteLLM",
        "inputCostPerToken and",
    ),
    (unsold("jina_ai/rerank", otherCosts={"rerank": 0.1}), "otherCosts.rerank", "mode: rerank and"),
    (unsold("gemini/gemini-9-image", otherCosts={"image": 0.1}), "otherCosts.image", "inputCostPerToken and"),
    (unsold("openrouter/image-9", otherCosts={"image": 0.1}), "otherCosts.image", "inputCostPerToken and"),
    (model(otherCosts={"image": 0.1}), "llm-gateway:models[0].otherCosts", "inputCostPerToken and"),
    (model(otherCosts={"videoSecond": 0.1}), "llm-gateway:models[0].otherCosts", "inputCostPerToken and"),
    (
        model(inputCostPerToken=None, otherCosts={"audioSecond": 0.0001}),
        "llm-gateway:models[0].inputCostPerToken: the key is missing",
        "0.00000005, or free: true",
    ),
    (priced("openai/tts-1"), "llm-gateway:models[0]: LiteLLM", "no costs, for LiteLLM's own"),
    (priced("openai/gpt-image-1"), "llm-gateway:models[0]: LiteLLM", "otherCosts: {image: 0.04}"),
    (
        unsold("openai/gpt-of-next-year", otherCosts={"webSearch": 0.01}),
        "llm-gateway:models[0].inputCostPerToken",
        "0.00000005, or free: true",
    ),
    (model(otherCosts={"promptAudio": 40}), "llm-gateway:models[0].otherCosts.promptAudio", "0.00004"),
    (
        priced("openai/gpt-of-next-year", inputCostPerToken=None),
        "llm-gateway:models[0].inputCostPerToken",
        "free: true",
    ),
    (
        priced("wandb/openai/gpt-oss-120b", inputCostPerToken=None),  # listed at 15,000 USD per million
        "llm-gateway:models[0].inputCostPerToken",
        "free: true",
    ),
    (
        {"models": [MODEL, MODEL | {"vllm": VLLM | {"name": "other"}}]},
        "llm-gateway:models: two models have the alias",
        "different alias for each model, or a weight",
    ),
    (
        {"models": [MODEL | {"weight": 1}, MODEL | {"weight": 1}]},
        "llm-gateway:models: among vLLM's objects the models qwen-local and qwen-local",
        "qwen-local-2",
    ),
    (
        {"models": [MODEL | {"order": 1}, MODEL | {"vllm": VLLM | {"name": "other"}}]},
        "llm-gateway:models: of the models with the alias 'qwen-local' some have an order",
        "an order for each",
    ),
    (
        {"models": [MODEL | {"order": 1}, MODEL | {"order": 1, "vllm": VLLM | {"name": "other"}}]},
        "llm-gateway:models: two models have the alias",
        "orders that differ",
    ),
    (model(weight=2), "llm-gateway:models[0].weight: no other model has the alias", "no weight"),
    (model(order=2), "llm-gateway:models[0].order: no other model has the alias", "no order"),
    (
        fallback({"gpt": ["qwen-local"]}),
        "llm-gateway:litellm.fallbacks.onError.gpt: no model has",
        "qwen-local",
    ),
    (
        fallback({"qwen-local": ["gpt"]}),
        "llm-gateway:litellm.fallbacks.onError.qwen-local: no model has the alias 'gpt'",
        "one of qwen-local",
    ),
    (
        fallback({"qwen-local": ["qwen-local"]}),
        "llm-gateway:litellm.fallbacks.onError.qwen-local: the fallbacks of 'qwen-local' are qwen-local",
        "other models",
    ),
    (
        fallback({"qwen-local": []}),
        "llm-gateway:litellm.fallbacks.onError.qwen-local",
        "leave the entry out",
    ),
    (
        fallback(
            {"free": ["qwen-local"]},
            {"alias": "free", "free": True, "endpoint": {"url": "http://a.b.svc/v1", "model": "a"}},
        ),
        "llm-gateway:litellm.fallbacks.onError.free: 'free' is free, and 'qwen-local' is not",
        "costs for the model",
    ),
    (vllm(gpus=2), "llm-gateway:models[0].vllm.gpus", "gpus: 1"),
    (vllm(gpu=1), "llm-gateway:models[0].vllm.gpu: no such key", "gpus"),
    (vllm(cache="disk", replicas=2), "llm-gateway:models[0].vllm.cache:", "cache: ephemeral"),
    (vllm(cache="shared"), "llm-gateway:models[0].vllm.cacheStorageClass", "standard-rwx"),
    (vllm(cacheStorageClass="premium-rwo"), "llm-gateway:models[0].vllm.cacheStorageClass", "cache: disk"),
    (vllm(cacheSize="80Gi"), "llm-gateway:models[0].vllm.cacheSize", "gpuPool.diskSizeGb: 124"),
    (vllm(memory="lots"), "llm-gateway:models[0].vllm.memory", "8Gi"),
    ({"gpuPool": {"minNodes": 2}}, "llm-gateway:gpuPool.minNodes", "minNodes: 1"),
    ({"gpuPool": {"maxNodes": 0}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"maxNodes": "1"}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"accelerator": "nvidia-h100"}}, "llm-gateway:gpuPool.accelerator", "nvidia-l4"),
    ({"gpuPool": {"acceleratorCount": 2}}, "llm-gateway:gpuPool.acceleratorCount", "acceleratorCount: 1"),
    ({"gpuPool": {"maxUnavailable": 0}}, "llm-gateway:gpuPool.maxUnavailable", "maxUnavailable: 1"),
    ({"gpuPool": {"taint": {"effect": "NoSchedule"}}}, "llm-gateway:gpuPool.taint.effect", "NO_SCHEDULE"),
    ({"namespaces": {"serving": "llm-gateway"}}, "llm-gateway:namespaces", "five different names"),
    ({"litellm": {"replicas": 2}}, "llm-gateway:litellm.sharedState.kind", "kind: valkey"),
    ({"litellm": {"spendLogRetention": "1mo"}}, "llm-gateway:litellm.spendLogRetention", "90d"),
    ({"litellm": {"requestsPerDay": 1_700_000}}, "llm-gateway:postgres.storageSize", "storageSize: 349Gi"),
    (
        {"litellm": {"spendLogRetention": "90d"}},
        "llm-gateway:postgres.storageSize",
        "shorter spendLogRetention",
    ),
    ({"postgres": {"storageSize": "5Gi"}}, "llm-gateway:postgres.storageSize", "storageSize: 10Gi"),
    (
        {"litellm": {"requestsPerDay": 1_700_000}, "postgres": {"walStorageSize": "10Gi"}},
        "llm-gateway:postgres.storageSize",
        "storageSize: 271Gi",
    ),
    ({"postgres": {"walStorageSize": "2Gi"}}, "llm-gateway:postgres.walStorageSize", "walStorageSize: 10Gi"),
    ({"postgres": {"maxConnections": 50}}, "llm-gateway:postgres.maxConnections", "maxConnections: 55"),
    (
        {"litellm": {"replicas": 9, "sharedState": {"kind": "valkey"}}},
        "llm-gateway:postgres.maxConnections",
        "maxConnections: 135",
    ),
    ({"litellm": {"requestTimeout": 0}}, "llm-gateway:litellm.requestTimeout", "requestTimeout: 600"),
    ({"litellm": {"requestTimeout": 60}}, "llm-gateway:litellm.streamTimeout", "streamTimeout: 60"),
    ({"secrets": {"masterKeyGeneration": 0}}, "llm-gateway:secrets.masterKeyGeneration", "2"),
    ({"charts": {"mirror": "charts"}}, "llm-gateway:charts.mirror", "oci://"),
    ({"timeouts": {"vllm": 1}}, "llm-gateway:timeouts.vllm", "vllm: 1800"),
    ({"postgres": {"storageSize": "10 GB"}}, "llm-gateway:postgres.storageSize", "10Gi"),
    # Names within the limits of Google Cloud and of Kubernetes.
    ({"gcp": {"project": "p" * 31}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"gcp": {"project": "123456789012"}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"cluster": {"name": "c" * 41, "location": "europe-west4"}}, "llm-gateway:cluster.name", "platform-dev"),
    ({"gpuPool": {"name": "GPU"}}, "llm-gateway:gpuPool.name", "name: llm-gpu"),
    ({"gpuPool": {"labels": {"team": "not a label"}}}, "llm-gateway:gpuPool.labels", "team: platform"),
    ({"gpuPool": {"taint": {"key": "a b"}}}, "llm-gateway:gpuPool.taint.key", "nvidia.com/gpu"),
    ({"gpuPool": {"serviceAccount": "me@example.com"}}, "llm-gateway:gpuPool.serviceAccount", "iam.gser"),
    ({"gpuPool": {"reservation": "R"}}, "llm-gateway:gpuPool.reservation", "l4-europe-west4"),
    ({"namespaces": {"gateway": "n" * 64}}, "llm-gateway:namespaces.gateway", "gateway: llm-gateway"),
    ({"namespaces": {"gateway": "kube-system"}}, "llm-gateway:namespaces.gateway", "llm-gateway-gateway"),
    ({"postgres": {"name": LONG}}, "llm-gateway:postgres.name", "litellm-pg"),
    (
        {"postgres": {"backups": {"method": "objectStore", "bucket": "My.Bucket"}}},
        "llm-gateway:postgres.backups.bucket",
        "bucket: ",
    ),
    ({"secrets": {"existingVllmApiKey": "a/b"}}, "llm-gateway:secrets.existingVllmApiKey", "vllm-api-key"),
    # The cluster: by name, or from another stack, not both.
    (
        {"cluster": {"name": "a", "location": "europe-west4", "stack": "organization/gke/dev"}},
        "llm-gateway:cluster.stack",
        "either",
    ),
    ({"cluster": {}}, "llm-gateway:cluster.name", "organization/gke-cluster/dev"),
    ({"cluster": {"stack": "gke/dev"}}, "llm-gateway:cluster.stack", "organization/gke-cluster/dev"),
    # GPUs: type, count, machine type and engines fit each other.
    ({"gpuPool": {"machineType": "e2-standard-4"}}, "llm-gateway:gpuPool.machineType", "g2-standard-4"),
    ({"gpuPool": {"machineType": "g2-standard-5"}}, "llm-gateway:gpuPool.machineType", "g2-standard-4"),
    ({"gpuPool": {"machineType": "n1-standard-8"}}, "llm-gateway:gpuPool.accelerator", "nvidia-tesla-t4"),
    (
        {
            "gpuPool": {
                "machineType": "n1-standard-8",
                "accelerator": "nvidia-tesla-t4",
                "acceleratorCount": 3,
            }
        },
        "llm-gateway:gpuPool.acceleratorCount",
        "acceleratorCount: 1",
    ),
    (
        {"gpuPool": {"machineType": "a2-ultragpu-1g", "accelerator": "nvidia-tesla-a100"}},
        "llm-gateway:gpuPool.accelerator",
        "nvidia-a100-80gb",
    ),
    (
        {"gpuPool": {"machineType": "a3-highgpu-1g", "accelerator": "nvidia-h100-80gb"}},
        "llm-gateway:gpuPool.spot",
        "spot: true",
    ),
    ({"gpuPool": {"spot": True, "reservation": "l4"}}, "llm-gateway:gpuPool.spot", "spot: false"),
    ({"gpuPool": {"zones": ["us-central1-a"]}}, "llm-gateway:gpuPool.zones[0]", "europe-west4-a"),
    (
        {"gpuPool": {"zones": ["europe-west4-a", "europe-west4-a"]}},
        "llm-gateway:gpuPool.zones",
        "each zone once",
    ),
    ({"gpuPool": {"maxSurge": 20}}, "llm-gateway:gpuPool.maxSurge", "maxSurge: 19"),
    ({"gpuPool": H200}, "llm-gateway:gpuPool.diskType", "hyperdisk-balanced"),
    (
        {"gpuPool": {**H200, "diskType": "hyperdisk-balanced"}, **vllm(cache="disk")},
        "llm-gateway:models[0].vllm.cacheStorageClass",
        "cache: ephemeral",
    ),
    (
        {"gpuPool": {"reservation": "projects/p/reservations/l4"}},
        "llm-gateway:gpuPool.reservation",
        "l4-europe-west4",
    ),
    ({"gpuPool": {"zones": ["europe-west4-ai"]}}, "llm-gateway:gpuPool.zones[0]", "europe-west4-a"),
    (vllm(cpu=4), "llm-gateway:models[0].vllm.cpu", "cpu: 2"),
    (vllm(memory="16Gi"), "llm-gateway:models[0].vllm.memory", "memory: 8Gi"),
    (vllm(replicas=2), "llm-gateway:gpuPool.maxNodes", "maxNodes: 2"),
    (vllm(maxModelLen=1_000_000), "llm-gateway:models[0].vllm.maxModelLen", "4096"),
    (
        vllm(extraArgs=["--api-key=x"]),
        "llm-gateway:models[0].vllm.extraArgs: --api-key is",
        "existingVllmApiKey",
    ),
    *(
        (vllm(extraArgs=words), f"llm-gateway:models[0].vllm.extraArgs: {said}", fix)
        for words, said, fix in (
            (["--tensor_parallel_size", "2"], "--tensor-parallel-size is not for", "gpus"),
            (["-tp", "2"], "--tensor-parallel-size is not for", "gpus"),
            (["-tp=2"], "--tensor-parallel-size is not for", "gpus"),
            (["--tensor-par", "2"], "--tensor-parallel-size is not for", "gpus"),
            (["-dp", "2"], "--data-parallel-size is not for", "replicas"),
            (["--served_model_name=a"], "--served-model-name is not for", "alias"),
            (["--help"], "--help is not for", "leave it out"),
            (
                ["--seed 1"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: unrec",
                '["--kv-cache-dtype", "fp8"]',
            ),
            (["--swap-space", "4"], f"vLLM {VLLM_IMAGE.tag} does not take the arguments: unrec", "apart"),
            (
                ["-tp2"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: unrecognized arguments: -tp2",
                "apart",
            ),
            (["--max-num", "4"], f"vLLM {VLLM_IMAGE.tag} does not take the arguments: ambiguous", "apart"),
            (
                ["--kv_cache_dtype=fp7"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: argument --kv",
                "apart",
            ),
            (
                ["--seed"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: argument --seed: expected one",
                "apart",
            ),
            (
                ["--max-num-seqs", "1.5"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: argument --max",
                "apart",
            ),
            (
                ["-cc", "{mode: 3}"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: argument --comp",
                "apart",
            ),
            (
                ["--enable-auto-tool-choice"],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: --enable-auto-tool-choice requires --tool",
                "apart",
            ),
            (
                ["--api-keys", KEY],
                f"vLLM {VLLM_IMAGE.tag} does not take the arguments: one that may be a key.",
                "apart",
            ),
        )
    ),
    # Models: costs, and exactly one place for each.
    (model(outputCostPerToken=float("inf")), "outputCostPerToken", "0.0000002"),
    (model(tpm=0), "llm-gateway:models[0].tpm", "tpm: 100000"),
    (model(vllm=None), "llm-gateway:models[0]:", "exactly one"),
    (model(hosted=HOSTED), "llm-gateway:models[0]:", "exactly one"),
    (
        model(vllm=None, hosted={"model": "anthropic/b"}),
        "llm-gateway:models[0].hosted.apiKeySecret",
        "anthropic-api-key",
    ),
    (hosted(model="claude"), "llm-gateway:models[0].hosted.model", "anthropic/"),
    (
        hosted(apiKeySecret="litellm-salt-key"),
        "llm-gateway:models[0].hosted.apiKeySecret",
        "a secret made for",
    ),
    (
        hosted(apiKeySecret="litellm-salt-key/versions/1"),
        "llm-gateway:models[0].hosted.apiKeySecret",
        "a secret made for",
    ),
    (
        hosted(apiKeySecret="a-key/versions/0"),
        "llm-gateway:models[0].hosted.apiKeySecret",
        "anthropic-api-key",
    ),
    (
        hosted(apiKeySecret=f"{KEY}/versions/1"),
        "llm-gateway:models[0].hosted.apiKeySecret",
        "anthropic-api-key",
    ),
    (endpoint(url="gateway:8000"), "llm-gateway:models[0].endpoint.url", "http://"),
    (endpoint(url="https://me:key@host/v1"), "llm-gateway:models[0].endpoint.url", "http://"),
    (endpoint(url="https://host:99999/v1"), "llm-gateway:models[0].endpoint.url", "1 to 65535"),
    # The database and its standbys.
    ({"postgres": {"instances": 0}}, "llm-gateway:postgres.instances", "instances: 3"),
    ({"postgres": {"synchronousReplicas": 1}}, "llm-gateway:postgres.synchronousReplicas", "more instances"),
    (
        {"postgres": {"instances": 2, "synchronousReplicas": 2}},
        "llm-gateway:postgres.synchronousReplicas",
        "synchronousReplicas: 1",
    ),
    ({"postgres": {"memory": "500m"}}, "llm-gateway:postgres.memory", "memory: 1Gi"),
    ({"postgres": {"cpu": "half"}}, "llm-gateway:postgres.cpu", "cpu: 500m"),
    ({"postgres": {"backups": {"method": "s3"}}}, "llm-gateway:postgres.backups.method", "objectStore"),
    (
        {"postgres": {"backups": {"method": "objectStore", "schedule": "0 2 * * *"}}},
        "llm-gateway:postgres.backups.schedule",
        "0 0 2 * * *",
    ),
    (
        {"postgres": {"backups": {"method": "volumeSnapshot"}}},
        "llm-gateway:postgres.backups.snapshotClass",
        "snapshotClass: ",
    ),
    (
        {"postgres": {"backups": {"bucket": "some-bucket"}}},
        "llm-gateway:postgres.backups.bucket",
        "method: objectStore",
    ),
    (
        {"postgres": {"backups": {"method": "objectStore", "bucketLocation": "europe-west4-a"}}},
        "llm-gateway:postgres.backups.bucketLocation",
        "europe-west4",
    ),
    ({"postgres": {"restore": {"source": "litellm-pg"}}}, "llm-gateway:postgres.restore.source", "name"),
    (
        {"postgres": {"restore": {"source": "old", "targetTime": "yesterday"}}},
        "llm-gateway:postgres.restore.targetTime",
        "2030-01-31T12:00:00Z",
    ),
    # A database that exists.
    (database(tls=None), "llm-gateway:postgres.existing.tls: the key is missing", "tls: verify-full"),
    (database(tls="verify-ca"), "llm-gateway:postgres.existing.tls", "tls: verify-full"),
    (database(ca=CA), "llm-gateway:postgres.existing.ca: a ca, and tls: require", "verify-full"),
    (database(ca=CA + CA, tls="verify-full"), "llm-gateway:postgres.existing.ca: 2 certificates", "the one"),
    (database(tls="verify-full"), "llm-gateway:postgres.existing.ca: verify-full without", "host"),
    (database(user="lite:llm"), "llm-gateway:postgres.existing.user", "user: litellm"),
    (database(host="10.20.0.5:5432"), "llm-gateway:postgres.existing.host", "host: 10.20.0.5"),
    (
        database({"instances": 3, "backups": {"method": "objectStore"}}),
        "llm-gateway:postgres.existing: instances and backups beside it",
        "backups by whoever owns that database",
    ),
    (
        {**database(), "secrets": {"databasePasswordGeneration": 2}},
        "llm-gateway:secrets.databasePasswordGeneration: the database exists",
        "another version of postgres.existing.passwordSecret",
    ),
    (
        {**database(), "secrets": {"adopt": {"databasePassword": 1}}},
        "llm-gateway:secrets.adopt.databasePassword: the database exists",
        "another version",
    ),
    (
        database(passwordSecret="litellm-master-key"),
        "llm-gateway:postgres.existing.passwordSecret: litellm-master-key is the gateway's own",
        "made for this",
    ),
    (
        {**database({"maxConnections": 30}), "litellm": {"replicas": 1}},
        "llm-gateway:postgres.maxConnections",
        "maxConnections: 55",
    ),
    # The proxy, the network and all others.
    ({"litellm": {"replicas": 0}}, "llm-gateway:litellm.replicas", "replicas: 2"),
    ({"litellm": {"sharedState": {"kind": "redis"}}}, "llm-gateway:litellm.sharedState.host", "10.0.0.3"),
    ({"litellm": {"sharedState": {"host": "10.0.0.3"}}}, "llm-gateway:litellm.sharedState.kind", "redis"),
    # Ports that mean TLS, and whom TLS believes.
    (redis(port=6378), f"{STATE}.tls: 6378 is the port at which Memorystore", "tls: verify-ca and the ca"),
    (redis(port=6380), f"{STATE}.tls: 6380 is the port", "or tls: none"),
    (cluster("redis.example.com:6378"), f"{STATE}.tls: 6378 is the port", "tls: none"),
    (redis(tls="verify-ca"), f"{STATE}.ca: verify-ca without a ca", "verify-full"),
    (redis(tls="verify-full"), f"{STATE}.ca: verify-full without a ca, and an address", "authority"),
    (redis(ca=CA), f"{STATE}.ca: a ca, and tls: unset", "tls: verify-ca"),
    (redis(ca=CA, tls="none"), f"{STATE}.ca: a ca, and tls: none", "tls: verify-ca"),
    (redis(ca="redis.pem", tls="verify-ca"), f"{STATE}.ca: no certificate can be read", "ca: |"),
    (
        redis(ca=f"{CA}-----BEGIN PRIVATE KEY-----", tls="verify-ca"),
        f"{STATE}.ca: it holds something",
        "ca: |",
    ),
    (redis(tls="yes"), f"{STATE}.tls", "tls: verify-ca"),
    # Clusters.
    (redis(nodes=["10.0.0.3:6379"]), f"{STATE}.nodes: host is for one Redis", "only one"),
    (
        cluster("10.0.0.3:6379"),
        f"{STATE}.nodeAddresses: a Redis cluster leads",
        "nodeAddresses: [10.0.0.0/28]",
    ),
    (
        cluster("10.0.0.3:6379", nodeAddresses=["10.1.0.0/28"]),
        f"{STATE}.nodes[0]: 10.0.0.3 is in none of nodeAddresses",
        "the range of 10.0.0.3",
    ),
    (cluster("10.0.0.3:99999", nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodes[0]: 99999 is no port", "6379"),
    (cluster("10.0.0.3", nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodes[0]", '["10.0.0.3:6379"]'),
    (cluster("a.b.svc:1", "a.b.svc:1"), f"{STATE}.nodes: a.b.svc:1 is there twice", "each node once"),
    (
        cluster("a.b.svc:1", nodeAddresses=["10.0.0.3/28"]),
        f"{STATE}.nodeAddresses[0]: it is no range",
        "[10.0.0.0/28]",
    ),
    (redis(nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodeAddresses: there are no nodes", "leave it out"),
    (
        {"litellm": {"sharedState": {"kind": "valkey", "tls": "none"}}},
        f"{STATE}.kind: tls: for kind redis",
        "redis",
    ),
    ({"litellm": {"serveWithoutDatabase": "yes"}}, "llm-gateway:litellm.serveWithoutDatabase", "true"),
    (
        {"virtualKeys": [{"name": "app", "readers": ["llm-gateway"]}]},
        "llm-gateway:virtualKeys[0].readers",
        "the namespaces of applications only",
    ),
    (
        {"virtualKeys": [{"name": "app", "readers": ["a", "a"]}]},
        "llm-gateway:virtualKeys[0].readers",
        "each namespace once",
    ),
    (
        {"network": {"policies": False, "clientNamespaces": ["apps"]}},
        "llm-gateway:network.clientNamespaces",
        "policies: true",
    ),
    (
        {"secrets": {"saltCopy": "projects/example-llm-dev/secrets/copy"}},
        "llm-gateway:secrets.saltCopy",
        "projects/<another project>/secrets/<id>",
    ),
    (
        {"secrets": {"saltCopy": "copy"}},
        "llm-gateway:secrets.saltCopy",
        "projects/example-llm-vault/secrets/",
    ),
    (
        {"secrets": {"replicaLocations": ["europe-west4", "europe-west4"]}},
        "llm-gateway:secrets.replicaLocations",
        "each region once",
    ),
    (
        {"secrets": {"adopt": {"masterKey": 1}, "masterKeyGeneration": 2}},
        "llm-gateway:secrets.adopt.masterKey",
        "only one of them",
    ),
    ({"secrets": {"adopt": {"saltKey": 0}}}, "llm-gateway:secrets.adopt.saltKey", "saltKey: 1"),
    (
        {"secrets": {"existingVllmApiKey": "shared-key", "vllmApiKeyGeneration": 2}},
        "llm-gateway:secrets.existingVllmApiKey",
        "existingVllmApiKey alone",
    ),
    # LiteLLM's own settings and environment.
    (
        litellm(generalSettings={"alertin": []}),
        "llm-gateway:litellm.generalSettings.alertin: LiteLLM 1.89.2 has no general setting",
        "alerting",
    ),
    (
        litellm(generalSettings={"max_request_size_mb": "20"}),
        "llm-gateway:litellm.generalSettings.max_request_size_mb: it is no",
        "a value of that kind",
    ),
    (
        litellm(generalSettings={"disable_spend_logs": True}),
        "llm-gateway:litellm.generalSettings.disable_spend_logs",
        "leave it out",
    ),
    (
        litellm(generalSettings={"custom_auth": "a.b"}),
        "llm-gateway:litellm.generalSettings.custom_auth",
        "virtualKeys",
    ),
    (
        litellm(routerSettings={"timeout": 6000}),
        "llm-gateway:litellm.routerSettings.timeout",
        "litellm.requestTimeout",
    ),
    (
        litellm(routerSettings={"cache_responses": True}),
        "llm-gateway:litellm.routerSettings.cache_responses",
        "leave it out",
    ),
    (
        litellm(litellmSettings={"ssl_verify": False}),
        "llm-gateway:litellm.litellmSettings.ssl_verify",
        "leave it out",
    ),
    (
        litellm(litellmSettings={"openai_key": "a"}),
        "llm-gateway:litellm.litellmSettings.openai_key",
        "hosted.params",
    ),
    (
        litellm(litellmSettings={"drop_params": 1}),
        "llm-gateway:litellm.litellmSettings.drop_params: it is no boolean",
        "a value of that kind",
    ),
    (
        litellm(litellmSettings={"callbacks": ["langfus"]}),
        "llm-gateway:litellm.litellmSettings.callbacks: LiteLLM 1.89.2 has no callback langfus",
        "langfuse",
    ),
    (
        litellm(litellmSettings={"s3_callback_params": {"s3_aws_secret_access_key": KEY}}),
        "llm-gateway:litellm.litellmSettings.s3_callback_params: its value may be a key",
        "litellm.secretEnvironment",
    ),
    (
        litellm(litellmSettings={"s3_callback_params": {"s3_aws_secret_access_key": "os.environ/S3_KEY"}}),
        "llm-gateway:litellm.litellmSettings.s3_callback_params: no environment variable S3_KEY is set",
        "litellm.secretEnvironment",
    ),
    (
        litellm(environment={"DATABASE_URL": "postgres://a"}),
        "llm-gateway:litellm.environment.DATABASE_URL: the proxy gets this one",
        "leave it out",
    ),
    (
        litellm(environment={"A-B": "c"}),
        "llm-gateway:litellm.environment.A-B: it is no name",
        "no digit first",
    ),
    (
        litellm(environment={"A": KEY}),
        "llm-gateway:litellm.environment.A: its value may be",
        "secretEnvironment",
    ),
    (
        litellm(environment={"A": "https://a:b@c.d"}),
        "llm-gateway:litellm.environment.A: its value",
        "secretEnv",
    ),
    (
        litellm(environment={"A": "https://a:99999"}),
        "llm-gateway:litellm.environment.A: it is no URL",
        "https://",
    ),
    (
        litellm(environment={"A": "b"}, secretEnvironment={"A": "a-secret"}),
        "llm-gateway:litellm.environment.A: secretEnvironment has it",
        "one of them",
    ),
    (litellm(secretEnvironment={"A": KEY}), "llm-gateway:litellm.secretEnvironment.A", "langfuse-secret-key"),
    (
        litellm(secretEnvironment={"A": "litellm-salt-key"}),
        "llm-gateway:litellm.secretEnvironment.A: litellm-salt-key is the gateway's own",
        "A: the id",
    ),
    (
        vllm(environment={"VLLM_API_KEY": "a"}),
        "llm-gateway:models[0].vllm.environment.VLLM_API_KEY: the engine gets this one",
        "leave it out",
    ),
    (
        vllm(environment={"A": KEY}),
        "llm-gateway:models[0].vllm.environment.A: its value",
        "secretEnvironment",
    ),
    (
        vllm(secretEnvironment={"A": "litellm-salt-key"}),
        "llm-gateway:models[0].vllm.secretEnvironment.A: litellm-salt-key is the gateway's own",
        "A: the id",
    ),
    # A provider that LiteLLM does not have, lacks what it needs, or would ask elsewhere than is meant.
    (
        hosted(model="antropic/claude-sonnet-4-5"),
        "llm-gateway:models[0].hosted.model: LiteLLM 1.89.2 has no provider antropic",
        "model: anthropic/claude-sonnet-4-5",
    ),
    (provider("azure"), "llm-gateway:models[0].hosted.params.api_base: azure needs it", "api_base: https://"),
    (provider("azure"), "llm-gateway:models[0].hosted.params.api_version: azure needs", '"2024-10-21"'),
    (
        provider("azure", api_vesion="2024-10-21"),
        "llm-gateway:models[0].hosted.params.api_vesion",
        "api_version",
    ),
    (
        provider("azure", api_version="2024-10-21 00:00:00 +0000 UTC"),
        "llm-gateway:models[0].hosted.params.api_version: it is a date",
        '"2024-10-21", in quotes',
    ),
    (provider("azure", api_base="my-resource"), "llm-gateway:models[0].hosted.params.api_base", "https://"),
    (provider("bedrock"), "llm-gateway:models[0].hosted.params.aws_region_name: bedrock", "eu-central-1"),
    (
        provider("bedrock", aws_region_name="Frankfurt"),
        "llm-gateway:models[0].hosted.params.aws_region",
        "eu-",
    ),
    (
        provider("vertex_ai"),
        "llm-gateway:models[0].hosted.params.vertex_project: vertex_ai needs",
        "project-id",
    ),
    (provider("vertex_ai"), "llm-gateway:models[0].hosted.params.vertex_location: vertex", "europe-west4"),
    (
        provider("oci"),
        "llm-gateway:models[0].hosted.params.oci_compartment_id: oci needs",
        "oci_compartment_id",
    ),
    (provider("openai", base_model=4), "llm-gateway:models[0].hosted.params.base_model: ", "azure/gpt-4o"),
    # Who is let in, and what is a secret.
    (
        hosted(model="vertex_ai/gemini-2.5-pro"),
        "llm-gateway:models[0].hosted.apiKeySecret: vertex_ai takes no API key",
        "own Google identity",
    ),
    (
        hosted(model="oci/xai.grok-4", apiKeySecret=None),
        "llm-gateway:models[0].hosted.secretParams: oci lets nobody in",
        "secretParams with oci_key",
    ),
    (
        hosted(apiKeySecret=None, secretParams={"aws_access_key_id": "key-id"}, model="bedrock/claude"),
        "llm-gateway:models[0].hosted.secretParams.aws_access_key_id: it logs nobody in without",
        "aws_secret_access_key beside it",
    ),
    (
        provider("bedrock", aws_secret_access_key="short"),
        "llm-gateway:models[0].hosted.params.aws_secret_access_key: its value is a secret",
        "secretParams: {aws_secret_access_key: ",
    ),
    (
        provider("openai", extra_headers={"a": KEY}),
        "llm-gateway:models[0].hosted.params.extra_headers",
        "secret",
    ),
    (
        provider("azure", api_base="https://me:word@azure.example.com"),
        "llm-gateway:models[0].hosted.params.api_base: its value is a secret",
        "secretParams",
    ),
    (
        provider("openai", organization="os.environ/ORG"),
        "llm-gateway:models[0].hosted.params.organization: LiteLLM reads what begins with os.environ/",
        "secretParams",
    ),
    (
        hosted(secretParams={"api_key": "b-key"}),
        "llm-gateway:models[0].hosted.secretParams.api_key: another setting",
        "apiKeySecret",
    ),
    (
        hosted(secretParams={"organization": "org"}, params={"organization": "x"}, model="openai/gpt-4o"),
        "llm-gateway:models[0].hosted.params.organization: secretParams has it, too",
        "one of them",
    ),
    (provider("openai", timeout=5), "llm-gateway:models[0].hosted.params.timeout", "litellm.requestTimeout"),
    (
        provider("openai", input_cost_per_token=1e-06),
        "llm-gateway:models[0].hosted.params.input_cost_per_token",
        "inputCostPerToken",
    ),
    (
        provider("openai", stream_options={}),
        "llm-gateway:models[0].hosted.params.stream_options",
        "extra_body",
    ),
    (
        hosted(secretParams={"aws_access_key_id": "litellm-salt-key"}, model="bedrock/claude"),
        "llm-gateway:models[0].hosted.secretParams.aws_access_key_id: litellm-salt-key is",
        "aws_access_key_id: the id",
    ),
    (
        hosted(secretParams={"aws_access_key_id": KEY}, model="bedrock/claude"),
        "llm-gateway:models[0].hosted.secretParams.aws_access_key_id",
        "bedrock-key-id",
    ),
    # A key where its secret's name belongs; numbers that the engine would round; whose pods may call.
    (hosted(apiKeySecret=KEY), "llm-gateway:models[0].hosted.apiKeySecret", "anthropic-api-key"),
    (hosted(apiKeySecret=f"{KEY}+/="), "llm-gateway:models[0].hosted.apiKeySecret", "anthropic-api-key"),
    (vllm(huggingFaceToken=f"hf_{LONG}"), "llm-gateway:models[0].vllm.huggingFaceToken", "hf-token"),
    ({"secrets": {"adopt": {"saltKey": 2**64}}}, "llm-gateway:secrets.adopt.saltKey: it has 20", "15 digits"),
    ({"network": {"clientNamespaces": ["kube-system"]}}, "llm-gateway:network.clientNamespaces[0]", "[apps]"),
    ({"network": {"clientNamespaces": ["a", "a"]}}, "llm-gateway:network.clientNamespaces", "once"),
    # Misspelt keys, and keys of another section: a suggestion that does not mislead.
    ({"users": []}, "llm-gateway:users: no such key", "one of gcp, cluster"),
    ({"gpupool": {}}, "llm-gateway:gpupool: no such key", "gpuPool"),
    ({"replicas": 2}, "llm-gateway:replicas: no such key", "litellm.replicas"),
    ({"recover": "yes"}, "llm-gateway:recover", "recover: true"),
    ({"protect": "yes"}, "llm-gateway:protect", "protect: true"),
]


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
