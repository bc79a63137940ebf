"""Which GPUs the pinned vLLM can use, and for what: its engines would end at once on others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from settings import vllm_arguments
from settings.base import Violation
from settings.machines import CAPABILITIES
from settings.vllm import VllmModel
from versions import VLLM_IMAGE

LEAST_CAPABILITY = 7.5
"""Of a GPU for CUDA 13, which the pinned vLLM's image is built with (VLLM_MAIN_CUDA_VERSION of vllm/envs.py).

https://docs.nvidia.com/cuda/archive/13.0.2/cuda-toolkit-release-notes/ (Maxwell, Pascal and Volta are gone).
"""
_BFLOAT16 = 8.0
"""vllm/platforms/cuda.py, check_if_supports_dtype."""
_QUANTIZATIONS: Mapping[str, float] = {
    "experts_int8": 8.0,
    "fbgemm_fp8": 8.0,
    "fp_quant": 10.0,
    "gpt_oss_mxfp4": 8.0,
    "modelopt": 8.9,
    "modelopt_mixed": 8.9,
    "modelopt_mxfp8": 8.0,
    "mxfp4": 8.0,
}
"""Least capability by method, where it is more than that of all: get_min_capability in vllm/model_executor/layers/quantization.
`fp8` is not among them: on GPUs below 8.9 vLLM reads its weights and computes with others."""
_ENDS = "each engine would end at once and start again for ever"


def broken(models: Mapping[str, VllmModel], accelerator: str, pool: str) -> Iterator[Violation]:
    """What the engines ask of a pool's GPUs, and these have not. A GPU that is new to us is taken for one that has all.

    `models` are those that run on the pool, by their keys; `pool` is its key.
    """
    capability = CAPABILITIES.get(accelerator)
    if capability is None:
        return
    if capability < LEAST_CAPABILITY:
        yield Violation(
            f"{pool}.accelerator",
            f"{accelerator} has compute capability {capability}, and vLLM {VLLM_IMAGE.tag} is built for {LEAST_CAPABILITY} and later",
            _ENDS,
            "accelerator: nvidia-tesla-t4, nvidia-l4 or a later one, with a machineType that carries it",
        )
        return
    for place, model in models.items():
        for option, value, least in _asked(model.extra_args):
            if capability < least:
                yield Violation(
                    f"{place}.extraArgs",
                    f"--{option} {value} needs compute capability {least}, and {accelerator} has {capability}",
                    _ENDS,
                    "--dtype half, or none"
                    if option == "dtype"
                    else f"another --{option}, or a pool of later GPUs",
                )


def _asked(words: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Options, their values, and the least capability that these need."""
    try:
        given = vllm_arguments.given(words)
    except ValueError:  # said by the model's own rule
        return
    if given.get("dtype") == "bfloat16":
        yield "dtype", "bfloat16", _BFLOAT16
    method = str(given.get("quantization"))
    if method in _QUANTIZATIONS:
        yield "quantization", method, _QUANTIZATIONS[method]
