"""Which models answer for an alias: its deployments, wildcards, adapters and fallbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from settings import modes, wildcards
from settings.base import Violation, repeated
from settings.litellm import Fallbacks
from settings.models import Model


@dataclass(frozen=True)
class Routes:
    """The models of a stack, in the order of its settings. What is wrong with them has the keys of the whole settings."""

    models: Sequence[Model]

    @property
    def deployments(self) -> Mapping[str, Sequence[int]]:
        """Places in `models` by alias."""
        found: dict[str, list[int]] = {}
        for place, model in enumerate(self.models):
            found.setdefault(model.alias, []).append(place)
        return found

    @property
    def served(self) -> Sequence[Model]:
        """The models with those that wildcards stand for. An entry with the name itself comes before a wildcard, and among
        wildcards the longer one before the shorter."""

        def is_anothers(member: Model, model: Model) -> bool:
            longer = (other.alias for other in self.models if len(other.alias) > len(model.alias))
            return member.alias in self.deployments or any(
                wildcards.matches(member.alias, alias) for alias in longer
            )

        return [
            member
            for model in self.models
            for member in model.members
            if member is model or not is_anothers(member, model)
        ]

    @property
    def offered(self) -> Mapping[str, Sequence[Model]]:
        """The served models by alias."""
        found: dict[str, list[Model]] = {}
        for model in self.served:
            found.setdefault(model.alias, []).append(model)
        return found

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """LiteLLM's names of the wildcards that an alias is in, by alias."""
        wild = [model.alias for model in self.models if model.alias.endswith(wildcards.SIGN)]
        return {
            alias: [wildcards.group(name) for name in dict.fromkeys(wild) if wildcards.matches(alias, name)]
            for alias in (self.offered if wild else ())
        }

    @property
    def aliases(self) -> Sequence[str]:
        """The models' aliases; those that one can chat with come first, for who asks the first one."""
        chats = {alias for alias, of in self.offered.items() if of[0].makes in modes.TEXT}
        return sorted(self.offered, key=lambda alias: alias not in chats)

    @property
    def adapters(self) -> Mapping[str, Sequence[str]]:
        """The repositories of the adapters, each once, by the alias of the model that serves them."""
        found: dict[str, list[str]] = {}
        for model in self.models:
            if model.adapter and model.adapter.model not in found.setdefault(model.adapter.of, []):
                found[model.adapter.of].append(model.adapter.model)
        return found

    def undecided(self) -> Iterator[Violation]:
        """Deployments of one alias among which nothing decides."""
        for alias, places in self.deployments.items():
            models = [self.models[place] for place in places]
            orders = [model.order for model in models]
            if len(models) == 1:
                for field in ("weight", "order"):
                    if getattr(models[0], field):
                        yield Violation(
                            f"models[{places[0]}].{field}",
                            f"no other model has the alias {alias!r}",
                            "it would be ignored",
                            f"no {field}, or another model with this alias",
                        )
            elif None in orders and set(orders) != {None}:
                yield Violation(
                    "models",
                    f"of the models with the alias {alias!r} some have an order",
                    "LiteLLM would never ask the others",
                    "an order for each of them, or for none",
                )
            elif any(model.weight is None and orders.count(model.order) > 1 for model in models):
                yield Violation(
                    "models",
                    f"two models have the alias {alias!r}, and nothing says which of them gets how many requests",
                    "LiteLLM would spread requests over both, by their limits or evenly",
                    "a different alias for each model, or a weight, or orders that differ",
                )

    def mixed(self, fallbacks: Fallbacks) -> Iterator[Violation]:
        """Aliases whose models make different things."""
        makes = {alias: [model.makes for model in of] for alias, of in self.offered.items()}
        kinds = {alias: {modes.kind(mode) for mode in of} for alias, of in makes.items()}
        for alias, of in kinds.items():
            if len(of) > 1:
                yield Violation(
                    "models",
                    f"of the models with the alias {alias!r} one makes {makes[alias][0]}, and another {makes[alias][-1]}",
                    "requests would go to models that do not take them",
                    "a different alias for each of them",
                )
        for kind, given in fallbacks.given.items():
            for alias, others in given.items():
                for other in others:
                    if (
                        not kinds.get(alias, set()) & kinds.get(other, set())
                        and {alias, other} <= kinds.keys()
                    ):
                        yield Violation(
                            f"litellm.fallbacks.{kind}.{alias}",
                            f"{alias!r} makes {makes[alias][0]}, and {other!r} {makes[other][0]}",
                            "the fallback would refuse every request",
                            f"models that make {makes[alias][0]}, too",
                        )

    def unanswered(self, fallbacks: Fallbacks) -> Iterator[Violation]:
        """Fallbacks that would not answer, or not be paid for."""
        costs = {alias: any(not model.free for model in of) for alias, of in self.offered.items()}
        for kind, given in fallbacks.given.items():
            for alias, others in given.items():
                key = f"litellm.fallbacks.{kind}.{alias}"
                for name in [alias, *others]:
                    if name not in costs:
                        yield Violation(
                            key,
                            f"no model has the alias {name!r}",
                            "the request would fail in its place",
                            f"one of {', '.join(self.deployments)}"
                            + (", a wildcard's models by their names" if self.groups else ""),
                        )
                if alias in others or not others or repeated(others):
                    yield Violation(
                        key,
                        f"the fallbacks of {alias!r} are {', '.join(others) or 'none'}",
                        "the request would fail where it has failed before",
                        "other models, each once, or leave the entry out",
                    )
                if paid := [other for other in others if costs.get(other) and costs.get(alias) is False]:
                    yield Violation(
                        key,
                        f"{alias!r} is free, and {paid[0]!r} is not",
                        "LiteLLM compares no budget for a free model: whoever is over theirs would go on spending",
                        "fallbacks that are free, or costs for the model",
                    )

    def unserved_adapters(self) -> Iterator[Violation]:
        """What is wrong with the adapters, by keys of the settings."""
        bases = {model.alias: model.vllm for model in self.models if model.vllm}
        served = {model.vllm.model for model in self.models if model.vllm}
        first: dict[str, str] = {}
        for index, model in enumerate(self.models):
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
