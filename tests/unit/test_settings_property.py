"""With all settings that the model accepts, the program registers its resources without an error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, assume, given
from hypothesis import settings as profile
from hypothesis import strategies as st

import settings
from settings.gpus import LEAST_CAPABILITY
from settings.machines import CAPABILITIES, MACHINES
from settings.schema import Schema, settings_schema
from tests.support.certificates import Authority
from tests.support.engine import Mocks, run_program

SCHEMA = settings_schema()
COSTS = ("inputCostPerToken", "outputCostPerToken")
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


def values(schema: Schema, path: str = "") -> st.SearchStrategy[Any]:
    """Values that fulfil the settings' schema at a path."""
    if path in SPECIAL:
        return SPECIAL[path](schema)
    if "$ref" in schema:
        return values(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    match schema:
        case {"enum": choices}:
            return st.sampled_from(choices)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer"}:
            return st.integers(schema.get("minimum"), schema.get("maximum", 10**6))
        case {"type": "number"}:
            return st.floats(1e-9, 1e-4)
        case {"type": "string"}:
            longest = schema.get("maxLength", 10**6)
            return st.from_regex(schema.get("pattern", "^.*$"), fullmatch=True, alphabet=PRINTABLE).filter(
                lambda text: len(text) <= longest
            )
        case {"type": "array"}:
            items = values(schema["items"], f"{path}[]")
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=3)
        case {"patternProperties": patterns}:
            (key, value), *_ = patterns.items()
            return st.dictionaries(values({"type": "string", "pattern": key}), values(value), max_size=2)
        case {"additionalProperties": dict(of)}:
            return st.dictionaries(st.sampled_from(["A", "B_C"]), values(of), max_size=2)
        case _:
            return mapping(schema, path)


def mapping(schema: Schema, path: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = {key: values(field, f"{path}.{key}".lstrip(".")) for key, field in schema["properties"].items()}
    required = set(schema.get("required", []))
    return st.fixed_dictionaries(
        {key: field for key, field in fields.items() if key in required},
        optional={key: field for key, field in fields.items() if key not in required},
    )


def cluster(_: Schema) -> st.SearchStrategy[Any]:
    schema = SCHEMA["$defs"]["Cluster"]
    named = schema | {
        "properties": {k: v for k, v in schema["properties"].items() if k not in ("stack", "endpoint")}
    }
    return mapping(named | {"required": ["name", "location"]}, "cluster") | st.just(
        {"stack": "organization/gke-cluster/dev"}
    )


def model(_: Schema) -> st.SearchStrategy[Any]:
    schema = SCHEMA["$defs"]["Model"]
    kinds = {"vllm", "hosted", "endpoint"}

    def of(kind: str) -> st.SearchStrategy[Any]:
        properties = {k: v for k, v in schema["properties"].items() if k not in kinds - {kind}}
        one = {"properties": properties, "required": [*schema["required"], *COSTS, kind]}
        return mapping(schema | one, "models[]")

    return st.one_of([of(kind) for kind in sorted(kinds)])


def hosted(_: Schema) -> st.SearchStrategy[Any]:
    models = mapping(SCHEMA["$defs"]["HostedModel"], "models[].hosted")
    return st.builds(lambda model, provider: {**model, **provider}, models, st.sampled_from(PROVIDERS))


def gpu_pool(_: Schema) -> st.SearchStrategy[Any]:
    fits = [
        {"machineType": name, "accelerator": gpu, "acceleratorCount": count, "spot": machine.spot_only}
        for name, machine in MACHINES.items()
        for gpu, counts in machine.accelerators.items()
        for count in counts
        if CAPABILITIES[gpu] >= LEAST_CAPABILITY
    ]
    pools = mapping(SCHEMA["$defs"]["GpuPool"], "gpuPool")
    # For machine types that are none of these.
    told = ("machineCpus", "machineMemory")
    return st.builds(
        lambda pool, fit: {key: value for key, value in pool.items() if key not in told} | fit,
        pools,
        st.sampled_from(fits),
    )


PROVIDERS: list[dict[str, Any]] = [
    {"model": "anthropic/claude-sonnet-4-5", "params": {"temperature": 0.2}, "secretParams": {}},
    {
        "model": "azure/gpt-4o",
        "params": {"api_base": "https://a.example.com:8443/b", "api_version": "v1"},
        "secretParams": {},
    },
    {
        "model": "bedrock/claude",
        "params": {"aws_region_name": "eu-west-1"},
        "secretParams": {"aws_access_key_id": "key-id", "aws_secret_access_key": "key"},
    },
]
SHARED_STATES: list[dict[str, Any]] = [
    {},
    {"kind": "valkey"},
    {"kind": "redis", "host": "10.0.0.3", "port": 6378, "tls": "verify-ca", "ca": Authority().pem},
    {"kind": "redis", "host": "redis.example.com", "tls": "verify-full", "username": "litellm"},
    {
        "kind": "redis",
        "nodes": ["10.0.0.3:6379"],
        "nodeAddresses": ["10.0.0.0/28"],
        "passwordSecret": "redis",
    },
]
DATABASES: list[dict[str, Any]] = [
    {"host": "10.20.0.5", "passwordSecret": "cloudsql", "tls": "verify-full", "ca": Authority().pem},
    {"host": "sql.example.com", "port": 5433, "passwordSecret": "cloudsql", "tls": "verify-full"},
    {
        "cloudSql": {
            "instance": "my-project-id:europe-west4:gateway",
            "serviceAccount": "database@my-project-id.iam.gserviceaccount.com",
            "privateIp": False,
        },
        "passwordSecret": "cloudsql",
    },
    {"host": "proxy.sql.svc", "passwordSecret": "cloudsql", "tls": "none", "user": "a", "database": "b"},
]
# Settings whose values would hardly ever fit together if they were drawn one by one.
SPECIAL: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "cluster": cluster,
    "models[]": model,
    "models[].hosted": hosted,
    "models[].hosted.params": lambda _: st.just({}),
    "litellm.fallbacks": lambda _: st.just({}),
    "litellm.generalSettings": lambda _: st.sampled_from([{}, {"max_request_size_mb": 20}]),
    "litellm.routerSettings": lambda _: st.sampled_from([{}, {"enable_pre_call_checks": True}]),
    "litellm.litellmSettings": lambda _: st.sampled_from([{}, {"drop_params": True, "callbacks": ["otel"]}]),
    "gpuPool": gpu_pool,
    "moreGpuPools": lambda _: st.just([]),
    "models[].vllm.pool": lambda _: st.none(),
    "gpuPool.existing": lambda _: st.just(False),  # the mocked cluster has no such pool
    "gpuPool.maxNodes": lambda _: st.integers(20, 1000),
    "gpuPool.minNodes": lambda _: st.integers(0, 20),
    "cluster.endpoint": lambda _: st.just("ip"),  # what the mocked cluster has
    "litellm.sharedState": lambda _: st.sampled_from(SHARED_STATES),
    "postgres.existing": lambda _: st.sampled_from(DATABASES),
    "models[].vllm.replicas": lambda _: st.integers(0, 2),
    "models[].vllm.gpus": lambda _: st.integers(1, 4),
    "models[].vllm.cpu": lambda _: st.integers(1, 4),
}


def accepted(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections without the keys that the rules refuse, because the defaults fit more often."""
    for _ in range(4):
        try:
            config = {f"llm-gateway:{key}": json.dumps(value) for key, value in sections.items()}
            settings.parse(config, "dev")
        except settings.SettingsError as refusal:
            for mistake in refusal.mistakes:
                drop(sections, [int(p) if p.isdigit() else p for p in re.findall(r"\w+", mistake.key)])
        else:
            return sections
    assume(False)
    raise AssertionError


def drop(sections: Any, path: list[int | str]) -> None:
    *above, last = path
    for part in above:
        inside = part < len(sections) if isinstance(part, int) else part in sections
        if not inside:
            return
        sections = sections[part]
    if isinstance(sections, dict):
        sections.pop(last, None)


@given(sections=mapping(SCHEMA, "").map(accepted))
@profile(
    max_examples=25,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_accepted_settings_register(sections: dict[str, Any]) -> None:
    absent = dict.fromkeys(("gcp", "cluster", "models"))
    # What is adopted must exist, and belong to this stack: test_gateway_secrets.py.
    sections.get("secrets", {}).pop("adopt", None)
    for key in sections.get("virtualKeys", []):
        key.pop("adopt", None)
    # So must a version that is named, while a copy of the salt with a version is one to bring back.
    named = re.findall(r'"([\w-]+)/versions/([0-9]+)"', json.dumps(sections))
    if named:
        sections.get("secrets", {}).pop("saltCopy", None)
    mocks = Mocks(versions=named)
    mocks.cluster = {"enableAutopilot": sections.get("gpuPool", {}).get("autopilot", False)}
    recording = run_program({**absent, **sections}, mocks)
    # Several deployments may share an alias.
    assert sorted(recording.outputs["modelAliases"]) == sorted(
        {model["alias"] for model in sections["models"]}
    )
