"""Models of providers."""

from tests.support.entries import KEY, Cases, hosted, model, priced, provider, unsold

BAD: Cases = [
    (unsold("huggingface/a/b"), "llm-gateway:models[0].hosted.model", "OpenAI-compatible URL as an endpoint"),
    (priced("together_ai/a/b"), "llm-gateway:models[0].hosted.model", "OpenAI-compatible URL as an endpoint"),
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
]
