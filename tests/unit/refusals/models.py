"""Models: aliases, names and where they are."""

from tests.support.entries import HOSTED, MODEL, VLLM, Cases, endpoint, model, priced

BAD: Cases = [
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
    (
        {"models": [{**MODEL, "alias": "qwen2.5"}, {**MODEL, "alias": "Qwen2-5"}]},
        "llm-gateway:models: among vLLM's objects the models qwen2.5 and Qwen2-5 are all called 'qwen2-5'",
        "vllm.name: qwen2-5-2",
    ),
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
    (priced("openai/tts-1"), "llm-gateway:models[0]: LiteLLM", "no costs, for LiteLLM's own"),
    (priced("openai/gpt-image-1"), "llm-gateway:models[0]: LiteLLM", "otherCosts: {image: 0.04}"),
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
    (model(tpm=0), "llm-gateway:models[0].tpm", "tpm: 100000"),
    (model(vllm=None), "llm-gateway:models[0]:", "exactly one"),
    (model(hosted=HOSTED), "llm-gateway:models[0]:", "exactly one"),
    (endpoint(url="gateway:8000"), "llm-gateway:models[0].endpoint.url", "http://"),
    (endpoint(url="https://me:key@host/v1"), "llm-gateway:models[0].endpoint.url", "http://"),
    (endpoint(url="https://host:99999/v1"), "llm-gateway:models[0].endpoint.url", "1 to 65535"),
]
