"""Self-hosted models."""

from tests.support.entries import H200, KEY, LONG, Cases, model, vllm
from versions import VLLM_IMAGE

BAD: Cases = [
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
    (model(vllm={"model": "qwen"}), "llm-gateway:models[0].vllm.model", "Qwen/"),
    (vllm(gpus=2), "llm-gateway:models[0].vllm.gpus", "gpus: 1"),
    (vllm(gpu=1), "llm-gateway:models[0].vllm.gpu: no such key", "gpus"),
    (vllm(cache="disk", replicas=2), "llm-gateway:models[0].vllm.cache:", "cache: ephemeral"),
    (vllm(cache="shared"), "llm-gateway:models[0].vllm.cacheStorageClass", "standard-rwx"),
    (vllm(cacheStorageClass="premium-rwo"), "llm-gateway:models[0].vllm.cacheStorageClass", "cache: disk"),
    (vllm(cacheSize="80Gi"), "llm-gateway:models[0].vllm.cacheSize", "gpuPool.diskSizeGb: 124"),
    (vllm(memory="lots"), "llm-gateway:models[0].vllm.memory", "8Gi"),
    (
        {"gpuPool": {**H200, "diskType": "hyperdisk-balanced"}, **vllm(cache="disk")},
        "llm-gateway:models[0].vllm.cacheStorageClass",
        "cache: ephemeral",
    ),
    (vllm(cpu=4), "llm-gateway:models[0].vllm.cpu", "cpu: 2"),
    (vllm(memory="16Gi"), "llm-gateway:models[0].vllm.memory", "memory: 8Gi"),
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
    (vllm(huggingFaceToken=f"hf_{LONG}"), "llm-gateway:models[0].vllm.huggingFaceToken", "hf-token"),
]
