"""A LoRA adapter: a model of its own for clients, served by the engines of another one."""

from __future__ import annotations

from settings.base import Section, setting


class AdapterModel(Section):
    """A LoRA adapter on a self-hosted model: the engines of that one serve both, on the same GPUs."""

    otherwise = "vLLM would not start"

    of: str = setting(
        about="Alias of the self-hosted model that the adapter was trained for.",
        otherwise="no engine would serve the adapter",
        write="of: qwen-local",
    )
    model: str = setting(
        pattern=r"^[\w.-]+/[\w.-]+$",
        about="Hugging Face repository of the adapter, in PEFT's form, which the engines load when they start, with the huggingFaceToken of their "
        "model; also the served model name.",
        otherwise="vLLM would fail to load the adapter and restart for ever",
        write="model: my-org/qwen2.5-support-lora",
    )
