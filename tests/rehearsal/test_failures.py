"""Mistakes that an `up` must stop at, and the one thing that must not stop the gateway.

The engine says no cause of most, as with the real providers: what explains a failed `up` does.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from tests.support.driver import Sandbox

FAST = {"llm-gateway:timeouts": {"secretSync": 10, "vllm": 12, "litellm": 30}}


def parted(text: str) -> tuple[str, str]:
    """What the engine said, and what explained it."""
    engine, heading, why = text.partition("Why it failed, as the cluster says it now:")
    assert heading, text
    return engine, why


def test_misspelt_chart_value(own_dev: Sandbox) -> None:
    own_dev.patch("components/operators.py", '"webhook": {"port"', '"webhook": {"prot"')
    text = own_dev.up().failed().text
    assert "prot" in text
    assert "gateway-cnpg-release" in text


def test_missing_toleration(own_dev: Sandbox) -> None:
    own_dev.patch("components/vllm.py", '"tolerations": tolerations,', '"tolerations": [],')
    engine, why = parted(own_dev.up(config=FAST).failed().text)
    assert 'Helm release "vllm/vllm" failed to initialize completely. Use Helm CLI to investigate' in engine
    assert "context deadline exceeded" in engine
    assert "untolerated" not in engine
    assert "gateway-vllm-release\n" in why
    assert "Pod vllm/vllm-qwen-local-deployment-vllm-" in why
    assert "no node takes it: it does not tolerate the taint nvidia.com/gpu" in why
    assert "What to do: give the pod a toleration" in why


def test_missing_iam_binding(empty: Sandbox) -> None:
    empty.patch("components/llm_gateway.py", "reader_account(args.cluster),", '"somebody-else",')
    engine, why = parted(empty.up(config=FAST).failed().text)
    # The gate's own words, on a first sync, too.
    assert re.search(r"ExternalSecret \S+ was not synced within 10 s: SecretSyncedError", engine)
    assert "secretmanager.versions.access" not in engine
    read = re.search(r"the operator may not read the secret (\S+) in Secret Manager", why)
    assert read, why
    assert "secretmanager.versions.access" in why
    assert empty.secret(read[1]) not in engine + why


def test_missing_upstream_secret(empty: Sandbox) -> None:
    config = FAST | {"llm-gateway:secrets": {"existingVllmApiKey": "no-such-key"}}
    text = empty.up(config=config).failed().text
    assert "no-such-key" in text
    assert "not found" in text
    assert "Traceback" not in text


def test_a_value_made_by_hand(empty: Sandbox) -> None:
    name = f"projects/{empty.project}/secrets/made-by-hand"
    row = {"project": empty.project, "secretId": "made-by-hand", "replication": {"auto": {}}}
    empty.cloud.create("secret", name, row | {"createTime": "2030-01-31T12:00:00Z"})
    empty.cloud.add_secret_version(name, b'"sk-1"\n')
    config: dict[str, Any] = {"llm-gateway:secrets": {"existingVllmApiKey": "made-by-hand"}}
    engine, why = parted(empty.up(config=config | FAST).failed().text)
    assert "was not synced within 10 s: SecretSyncedError" in engine
    assert "the value of the secret made-by-hand is empty, or has quotes" in why
    assert "sk-1" not in engine + why
    # The byte order mark and the line end of an editor are no mistake.
    empty.cloud.add_secret_version(name, b"\xef\xbb\xbfsk-1\r\n")
    empty.up(config=config).succeeded()
    data = empty.namespaced("secrets", "vllm", "vllm-api-key")["data"]
    assert base64.b64decode(data["api-key"]) == b"sk-1"


def test_bad_settings_touch_nothing_and_a_pasted_key_is_not_repeated(empty: Sandbox) -> None:
    pasted = "sk-ant-api03-Zx8vQ2mLt5RwYc7NbKd4"
    hosted = {"model": "anthropic/claude-sonnet-4-5", "apiKeySecret": pasted}
    config = {
        "llm-gateway:gpuPool": {"maxNodes": 0, "spto": True},
        "llm-gateway:models": [{"alias": "claude", "hosted": hosted}],
    }
    text = empty.up(config=config).failed().text
    assert "llm-gateway:models[0].hosted.apiKeySecret" in text
    # The engine's first event is the settings as they stand in the stack file.
    said = [event for event in empty.events("up") if "preludeEvent" not in event]
    assert pasted not in text + json.dumps(said)
    assert "llm-gateway:gpuPool.maxNodes" in text
    assert "llm-gateway:gpuPool.spto: no such key" in text
    assert "What would happen" in text
    assert "Write instead" in text
    assert {resource["type"] for resource in empty.resources()} <= {"pulumi:pulumi:Stack"}
    assert empty.cloud.list("secret") == []


def test_gateway_comes_up_when_no_gpu_can_be_had(empty: Sandbox) -> None:
    empty.run("start").succeeded()
    empty.run("stockout", "on").succeeded()
    engine, why = parted(empty.up(config=FAST).failed().text)
    proxy = empty.namespaced("deployments", "llm-gateway", "litellm", group="apps/v1")
    assert proxy["status"]["readyReplicas"] == 1
    assert 'Helm release "vllm/vllm" was created, but failed to initialize completely' in engine
    assert 'Helm release "vllm" was created but has a failed status. Use the `helm` command' in engine
    assert "out of resources" not in engine
    assert "Google has no such machine or GPU in these zones now" in why
    assert "add zones to gpuPool.zones" in why


def test_two_engines_of_a_model_come_up(empty: Sandbox) -> None:
    """Each on a node of its own; with one disk for both, the second would never have it."""
    model = {
        "alias": "qwen-local",
        "inputCostPerToken": 0.00000005,
        "outputCostPerToken": 0.0000002,
        "vllm": {"model": "Qwen/Qwen2.5-0.5B-Instruct", "replicas": 2},
    }
    config: dict[str, Any] = {
        "llm-gateway:models": [model],
        "llm-gateway:gpuPool": {"maxNodes": 2, "zones": ["europe-west4-a"]},
        "llm-gateway:timeouts": {"vllm": 60},
    }
    empty.up(config=config).succeeded()
    engine = empty.namespaced("deployments", "vllm", "vllm-qwen-local-deployment-vllm", group="apps/v1")
    assert engine["status"]["readyReplicas"] == 2
    assert empty.namespaced("persistentvolumeclaims", "vllm")["items"] == []
    # One disk for both, past the rule that refuses it.
    empty.patch("components/vllm.py", 'if model.cache == "ephemeral":', "if False:")
    _, why = parted(empty.up(config=config | {"llm-gateway:timeouts": {"vllm": 15}}).failed().text)
    assert (
        "a pod on another node has its volume, which one node can mount (FailedAttachVolume: Multi-Attach"
        in why
    )
