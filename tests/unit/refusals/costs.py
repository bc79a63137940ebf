"""What models cost."""

from tests.support.entries import Cases, fallback, model, priced, unsold

BAD: Cases = [
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
        fallback(
            {"free": ["qwen-local"]},
            {"alias": "free", "free": True, "endpoint": {"url": "http://a.b.svc/v1", "model": "a"}},
        ),
        "llm-gateway:litellm.fallbacks.onError.free: 'free' is free, and 'qwen-local' is not",
        "costs for the model",
    ),
    # Models: costs, and exactly one place for each.
    (model(outputCostPerToken=float("inf")), "outputCostPerToken", "0.0000002"),
]
