"""What the NetworkPolicies allow is the graph that docs/network.md shows, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from sandbox.network.policies import End, Policies
from tests.support.engine import CLOUD_SQL, COSTS, EVERYTHING, ROOT, SETTINGS, Recording, run_program

NAMESPACES = {"llm-gateway", "vllm", "cnpg-system", "external-secrets", "cert-manager"}
WEBHOOK = {"app.kubernetes.io/component": "webhook"}


VERTEX = {
    "model": "vertex_ai/gemini-2.5-pro",
    "params": {"vertex_project": "example-ai", "vertex_location": "eu"},
}


@pytest.fixture(scope="module")
def everything() -> Recording:
    """Every part of the program, and a model that the proxy asks as its own Google identity."""
    models = [*EVERYTHING["models"], {"alias": "gemini", "hosted": VERTEX}]
    return run_program({**EVERYTHING, "models": models})


@pytest.fixture(scope="module")
def with_cloud_sql() -> Recording:
    return run_program({**EVERYTHING, "postgres": CLOUD_SQL})


def pod(namespace: str, **labels: str) -> End:
    return End("10.8.0.7", namespace, {key.replace("__", "/"): value for key, value in labels.items()})


def named(namespace: str, name: str) -> End:
    return End("10.8.0.7", namespace, {"app.kubernetes.io/name": name})


ENDS: Mapping[str, tuple[End, list[int]]] = {
    "clients": (pod("apps", app="chat"), []),
    "a stranger": (pod("other", app="chat"), [80]),
    "LiteLLM": (named("llm-gateway", "litellm"), [4000]),
    "Postgres": (pod("llm-gateway", **{"cnpg.io/cluster": "litellm-pg"}), [5432, 8000, 9187]),
    "Cloud SQL Auth Proxy": (named("llm-gateway", "cloud-sql-proxy"), [5432, 9090]),
    "Valkey": (named("llm-gateway", "valkey"), [6379]),
    "tenants' Job": (named("llm-gateway", "litellm-tenants"), [8000]),
    "vLLM router": (pod("vllm", environment="router"), [8000, 9000]),
    "vLLM engine": (pod("vllm", environment="engine"), [8000, 9999, 55555]),
    "CloudNativePG": (named("cnpg-system", "cloudnative-pg"), [8080, 10250]),
    "barman plugin": (named("cnpg-system", "plugin-barman-cloud"), [9090]),
    "External Secrets": (named("external-secrets", "external-secrets"), [8080]),
    "External Secrets webhook": (named("external-secrets", "external-secrets-webhook"), [8080, 10250]),
    "External Secrets cert-controller": (
        named("external-secrets", "external-secrets-cert-controller"),
        [8080],
    ),
    "cert-manager": (pod("cert-manager", app="cert-manager"), [9402]),
    "cert-manager webhook": (pod("cert-manager", **WEBHOOK), [9402, 10250]),
    "another pod of the gateway's": (pod("llm-gateway", app="debug"), [8000]),
    "API server": (End("10.100.0.2"), [443]),
    "internet": (End("198.51.100.1"), [80, 443]),
    "Google APIs": (End("10.20.0.5"), [443]),
    "metadata server": (End("169.254.169.254"), [80, 988]),
    "private networks": (End("10.20.0.6"), [3307, 5432]),
    "kube-dns": (End("10.8.0.9", "kube-system", {"k8s-app": "kube-dns"}), []),
}
"""Who there is, with the ports it listens on. Google APIs stand behind a private address here."""


def table(text: str) -> set[tuple[str, str, int]]:
    """The rows of docs/network.md as (source, target, port)."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([\d, ]+) \|", text, re.MULTILINE)
    return {(source, target, int(port)) for source, target, ports in rows for port in ports.split(", ")}


def policies(recording: Recording) -> Policies:
    return Policies([policy.inputs for policy in recording.all("NetworkPolicy")])


def edges(found: Policies) -> set[tuple[str, str, int]]:
    """Every connection that is allowed and has one end in the stack."""
    return {
        (source_name, target_name, port)
        for source_name, (source, _) in ENDS.items()
        for target_name, (target, ports) in ENDS.items()
        for port in ports
        if NAMESPACES & {source.namespace, target.namespace}
        if found.allow(source, target, port)
    }


def documented() -> set[tuple[str, str, int]]:
    rows = table((ROOT / "docs/network.md").read_text())
    shown = {row for row in rows if row[0] not in ("anyone", "every pod")}
    for _, target, port in (row for row in rows if row[0] == "anyone"):
        # Pods of the stack reach a webhook only if their own policy lets them out.
        shown |= {(source, target, port) for source in ("clients", "a stranger", "API server", "internet")}
        shown |= {(source, target, port) for source in ("Google APIs", "metadata server", "kube-dns")}
        shown |= {("private networks", target, port)}
    # Google APIs may be public, and the API server may stand behind the same address as they.
    for source in {source for source, target, _ in shown if target == "Google APIs"}:
        shown |= {(source, "internet", 443), (source, "API server", 443)}
    return shown


def test_exactly_the_documented_graph_is_allowed(everything: Recording, with_cloud_sql: Recording) -> None:
    connector = "Cloud SQL Auth Proxy"  # in place of CloudNativePG, whose namespace is then nobody's
    of_cloud_sql = {edge for edge in edges(policies(with_cloud_sql)) if connector in edge}
    allowed = edges(policies(everything)) | of_cloud_sql
    shown = documented()
    assert allowed - shown == set(), "allowed, but not in docs/network.md"
    assert shown - allowed == set(), "in docs/network.md, but not allowed"


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("clients", "Postgres", 5432),
        ("clients", "Valkey", 6379),
        ("clients", "vLLM router", 8000),
        ("clients", "vLLM engine", 8000),
        ("a stranger", "LiteLLM", 4000),
        ("vLLM engine", "Postgres", 5432),
        ("vLLM router", "Postgres", 5432),
        ("vLLM engine", "LiteLLM", 4000),
        ("vLLM engine", "API server", 443),
        ("vLLM engine", "metadata server", 80),
        ("vLLM router", "internet", 443),
        ("LiteLLM", "vLLM engine", 8000),
        ("LiteLLM", "API server", 443),
        ("LiteLLM", "internet", 80),
        ("Valkey", "internet", 443),
        ("Valkey", "Postgres", 5432),
        ("another pod of the gateway's", "Postgres", 5432),
        ("External Secrets", "Postgres", 5432),
        ("CloudNativePG", "internet", 443),
    ],
)
def test_forbidden(everything: Recording, source: str, target: str, port: int) -> None:
    assert not policies(everything).allow(ENDS[source][0], ENDS[target][0], port)


@pytest.mark.parametrize(
    "resolver",
    [ENDS["kube-dns"][0], End("169.254.20.10"), End("169.254.169.254"), End("34.118.224.10")],
    ids=lambda end: end.address,
)
def test_every_pod_of_the_stack_resolves_names(everything: Recording, resolver: End) -> None:
    found = policies(everything)
    for name, (end, _) in ENDS.items():
        if end.namespace in NAMESPACES:
            assert found.allow(end, resolver, 53, "UDP"), name
            assert found.allow(end, resolver, 53, "TCP"), name


def test_what_is_not_deployed_is_not_allowed(program: Recording) -> None:
    found = policies(program)
    litellm, postgres = ENDS["LiteLLM"][0], ENDS["Postgres"][0]
    assert not found.allow(litellm, ENDS["internet"][0], 443)
    assert not found.allow(litellm, ENDS["Google APIs"][0], 443)
    assert not found.allow(litellm, ENDS["metadata server"][0], 80)
    assert not found.allow(postgres, ENDS["Google APIs"][0], 443)
    assert not found.allow(postgres, ENDS["metadata server"][0], 988)
    assert not any(policy["metadata"]["name"] == "valkey" for policy in found.objects)


def test_without_client_namespaces_every_pod_is_a_client(program: Recording) -> None:
    found = policies(program)
    assert found.allow(ENDS["a stranger"][0], ENDS["LiteLLM"][0], 4000)
    assert not found.allow(ENDS["internet"][0], ENDS["LiteLLM"][0], 4000)


@pytest.mark.parametrize(
    ("url", "reached", "port", "refused"),
    [
        ("http://gateway.models.svc.cluster.local/v1", pod("models"), 8080, pod("other")),
        ("http://gateway.models.svc:8080/v1", pod("models"), 9000, End("198.51.100.1")),
        ("https://10.30.0.4/v1", End("10.30.0.4"), 443, End("10.30.0.5")),
        ("https://models.example.com:8443/v1", End("198.51.100.1"), 8443, pod("models")),
    ],
)
def test_an_endpoint_is_reached_as_narrowly_as_its_name_allows(
    url: str, reached: End, port: int, refused: End
) -> None:
    model = {"alias": "llama", **COSTS, "endpoint": {"url": url, "model": "llama"}}
    found = policies(run_program({"models": [model]}))
    litellm = ENDS["LiteLLM"][0]
    assert found.allow(litellm, reached, port)
    assert not found.allow(litellm, refused, port if refused.namespace == "other" else 80)


def test_a_provider_at_an_address_of_its_own_is_reached() -> None:
    params = {"api_base": "https://10.30.0.4:8443", "api_version": "2024-10-21"}
    azure = {"model": "azure/gpt-4o", "apiKeySecret": "azure-key", "params": params}
    found = policies(run_program({"models": [{"alias": "gpt", **COSTS, "hosted": azure}]}))
    assert found.allow(ENDS["LiteLLM"][0], End("10.30.0.4"), 8443)
    assert not found.allow(ENDS["LiteLLM"][0], End("10.30.0.5"), 8443)


def test_a_callbacks_address_is_reached() -> None:
    found = policies(run_program({"litellm": {"environment": {"LANGFUSE_HOST": "http://10.30.0.6:3000"}}}))
    assert found.allow(ENDS["LiteLLM"][0], End("10.30.0.6"), 3000)
    assert not found.allow(ENDS["LiteLLM"][0], End("10.30.0.7"), 3000)


def test_slack_is_reached_where_alerts_go_there() -> None:
    found = policies(run_program({"litellm": {"generalSettings": {"alerting": ["slack"]}}}))
    assert found.allow(ENDS["LiteLLM"][0], ENDS["internet"][0], 443)


def test_a_mirror_of_weights_is_reached_by_engines_alone() -> None:
    model = {**SETTINGS["models"][0]}
    model["vllm"] = {**model["vllm"], "environment": {"HF_ENDPOINT": "http://10.30.0.8:8080/hub"}}
    found = policies(run_program({"models": [model]}))
    assert found.allow(ENDS["vLLM engine"][0], End("10.30.0.8"), 8080)
    assert not found.allow(ENDS["LiteLLM"][0], End("10.30.0.8"), 8080)


@pytest.mark.parametrize(
    ("where", "reached", "refused"),
    [
        (
            {"host": "10.0.0.3", "port": 6390},
            [(End("10.0.0.3"), 6390)],
            [(End("10.0.0.4"), 6390), (End("10.0.0.3"), 6379)],
        ),
        (  # Memorystore's discovery address leads to nodes at other addresses and ports.
            {"nodes": ["10.0.0.3:6379"], "nodeAddresses": ["10.0.0.0/28"]},
            [(End("10.0.0.3"), 6379), (End("10.0.0.5"), 11000)],
            [(End("10.0.0.16"), 6379)],
        ),
        (
            {"nodes": ["redis-0.redis.svc:6379"]},
            [(pod("redis"), 6379)],
            [(pod("other"), 6379), (End("10.0.0.3"), 6379)],
        ),
    ],
)
def test_a_redis_of_ones_own_is_reached(
    where: dict[str, object], reached: list[tuple[End, int]], refused: list[tuple[End, int]]
) -> None:
    found = policies(run_program({"litellm": {"sharedState": {"kind": "redis", **where}}}))
    litellm = ENDS["LiteLLM"][0]
    assert [found.allow(litellm, *end) for end in reached] == [True] * len(reached)
    assert [found.allow(litellm, *end) for end in refused] == [False] * len(refused)


def test_no_policies_when_they_are_switched_off() -> None:
    recording = run_program({"network": {"policies": False}})
    assert policies(recording).objects == []
    made = recording.one("Namespace", "gateway-namespaces-cnpg").urn
    assert made in recording.direct_dependencies(recording.one("Release", "gateway-cnpg-release"))


def test_each_namespace_denies_by_default_and_only_dns_is_open(everything: Recording) -> None:
    default = [p for p in policies(everything).objects if p["metadata"]["name"] == "deny-by-default"]
    assert {policy["metadata"]["namespace"] for policy in default} == NAMESPACES
    for policy in default:
        assert policy["spec"]["podSelector"] == {}
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy["spec"]
        assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53}


def test_what_runs_in_a_namespace_comes_after_all_of_its_policies(everything: Recording) -> None:
    for release, namespace in (
        ("gateway-litellm-release", "llm-gateway"),
        ("gateway-vllm-release", "vllm"),
        ("gateway-cnpg-release", "cnpg-system"),
        ("gateway-external-secrets-release", "external-secrets"),
    ):
        waited = everything.direct_dependencies(everything.one("Release", release))
        for policy in everything.all("NetworkPolicy"):
            if policy.inputs["metadata"]["namespace"] == namespace:
                assert policy.urn in waited, f"{release} does not wait for {policy.request.name}"


@pytest.mark.parametrize(
    ("part", "level"),
    [
        ("gateway", "baseline"),
        ("serving", "baseline"),
        ("cnpg", "restricted"),
        ("external-secrets", "restricted"),
        ("cert-manager", "restricted"),
    ],
)
def test_namespaces_enforce_pod_security(everything: Recording, part: str, level: str) -> None:
    labels = everything.one("Namespace", f"gateway-namespaces-{part}").inputs["metadata"]["labels"]
    assert labels == {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/warn": level,
        "pod-security.kubernetes.io/audit": "restricted",
    }
