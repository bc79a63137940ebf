"""LoRA adapters: models of their own for clients, served by the engines of another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from settings.base import Section, Violation, setting

if TYPE_CHECKING:
    from settings.gateway import Model


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


def by_base(models: Sequence[Model]) -> Mapping[str, Sequence[str]]:
    """The repositories of the adapters, each once, by the alias of the model that serves them."""
    found: dict[str, list[str]] = {}
    for model in models:
        if model.adapter and model.adapter.model not in found.setdefault(model.adapter.of, []):
            found[model.adapter.of].append(model.adapter.model)
    return found


def broken(models: Sequence[Model]) -> Iterator[Violation]:
    """What is wrong with the adapters, by keys of the settings."""
    bases = {model.alias: model.vllm for model in models if model.vllm}
    served = {model.vllm.model for model in models if model.vllm}
    first: dict[str, str] = {}
    for index, model in enumerate(models):
        adapter, key = model.adapter, f"models[{index}].adapter"
        if not adapter:
            continue
        base = bases.get(adapter.of)
        if base is None:
            yield Violation(
                f"{key}.of",
                f"no self-hosted model has the alias {adapter.of!r}",
                "no engine would load the adapter, and every request for it would fail",
                f"of: one of {', '.join(bases)}" if bases else "of: the alias of a model with vllm",
            )
        elif base.weights:
            yield Violation(
                f"{key}.of",
                f"the weights of {adapter.of} come from a bucket, and its engines ask Hugging Face for nothing",
                "vLLM reads no adapter from a bucket, and the engines would end at once and start again for ever",
                f"no weights for {adapter.of}: Hugging Face, or its mirror by HF_ENDPOINT",
            )
        if adapter.model in served or first.setdefault(adapter.model, adapter.of) != adapter.of:
            yield Violation(
                f"{key}.model",
                f"another model's engines serve something by the name {adapter.model}",
                "the router would send a request for the one to the other",
                "an adapter on one model, by one name",
            )
