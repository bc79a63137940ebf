"""The proxy."""

from tests.support.entries import KEY, Cases, fallback, litellm

BAD: Cases = [
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
    ({"litellm": {"spendLogRetention": "1mo"}}, "llm-gateway:litellm.spendLogRetention", "90d"),
    ({"litellm": {"requestTimeout": 0}}, "llm-gateway:litellm.requestTimeout", "requestTimeout: 600"),
    ({"litellm": {"requestTimeout": 60}}, "llm-gateway:litellm.streamTimeout", "streamTimeout: 60"),
    # The proxy, the network and all others.
    ({"litellm": {"replicas": 0}}, "llm-gateway:litellm.replicas", "replicas: 2"),
    ({"litellm": {"serveWithoutDatabase": "yes"}}, "llm-gateway:litellm.serveWithoutDatabase", "true"),
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
]
