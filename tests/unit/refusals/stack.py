"""What concerns the whole stack."""

from tests.support.entries import Cases

BAD: Cases = [
    ({"modles": []}, "llm-gateway:modles: no such key", "models"),
    ({"namespaces": {"serving": "no"}}, "llm-gateway:namespaces.serving: a chart writes it", "serving: vllm"),
    ({"namespaces": {"serving": "llm-gateway"}}, "llm-gateway:namespaces", "five different names"),
    ({"charts": {"mirror": "charts"}}, "llm-gateway:charts.mirror", "oci://"),
    ({"timeouts": {"vllm": 1}}, "llm-gateway:timeouts.vllm", "vllm: 1800"),
    ({"namespaces": {"gateway": "n" * 64}}, "llm-gateway:namespaces.gateway", "gateway: llm-gateway"),
    ({"namespaces": {"gateway": "kube-system"}}, "llm-gateway:namespaces.gateway", "llm-gateway-gateway"),
    (
        {"virtualKeys": [{"name": "app", "readers": ["llm-gateway"]}]},
        "llm-gateway:virtualKeys[0].readers",
        "the namespaces of applications only",
    ),
    (
        {"virtualKeys": [{"name": "app", "readers": ["a", "a"]}]},
        "llm-gateway:virtualKeys[0].readers",
        "each namespace once",
    ),
    (
        {"network": {"policies": False, "clientNamespaces": ["apps"]}},
        "llm-gateway:network.clientNamespaces",
        "policies: true",
    ),
    ({"network": {"clientNamespaces": ["kube-system"]}}, "llm-gateway:network.clientNamespaces[0]", "[apps]"),
    ({"network": {"clientNamespaces": ["a", "a"]}}, "llm-gateway:network.clientNamespaces", "once"),
    # Misspelt keys, and keys of another section: a suggestion that does not mislead.
    ({"users": []}, "llm-gateway:users: no such key", "one of gcp, cluster"),
    ({"gpupool": {}}, "llm-gateway:gpupool: no such key", "gpuPool"),
    ({"replicas": 2}, "llm-gateway:replicas: no such key", "litellm.replicas"),
    ({"recover": "yes"}, "llm-gateway:recover", "recover: true"),
    ({"protect": "yes"}, "llm-gateway:protect", "protect: true"),
]
