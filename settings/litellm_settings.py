"""LiteLLM's own settings beyond those that the stack's settings are: what the pinned version knows, and what is refused."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from settings.base import Violation, holds_a_key
from versions import LITELLM_CHART

VARIABLE = "os.environ/"
"""How a text of LiteLLM's configuration begins that it replaces with an environment variable."""

_BUDGETS = "budgets would count another price than the bill, or nothing"
_LIMITS = "the declared teams and keys would get limits that their settings do not say"
_OPEN = "requests would be let in that no virtual key, budget or limit covers"
_STACK = "what the stack declares would be changed from elsewhere, without a preview"
_KEYS = "it would stand in the state and the ConfigMap, and be sent to each model that has no key of its own"
_IGNORED = "it would be ignored, or end what the settings promise"
_SHOWN = "prompts and answers of every tenant, or keys, would stand in the log or the database"
_CACHED = "one tenant would get the answers to another's prompts"
_REFUSED: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "general": (
        ("master_key", _OPEN, "secrets.masterKeyGeneration, to rotate it"),
        (
            "database_connection_pool_limit",
            "Postgres would refuse pods their connections",
            "litellm.replicas",
        ),
        (
            "database_(url|type|args)",
            "keys and spend would be looked for in another database",
            "leave it out",
        ),
        (
            "database_(disable_prepared_statements|extra_connection_params)",
            "the connections would not be those that were tested",
            "leave it out",
        ),
        ("allow_requests_on_db_unavailable", _IGNORED, "litellm.serveWithoutDatabase"),
        ("maximum_spend_logs_.*", "the database's volume would fill", "litellm.spendLogRetention"),
        ("always_include_stream_usage", "LiteLLM would guess the tokens of a stream", "leave it out"),
        (
            "store_prompts_in_spend_logs",
            f"{_SHOWN}, whose volume would fill",
            "a callback that takes them elsewhere",
        ),
        (
            "disable_(spend_logs|spend_updates|error_logs|reset_budget|budget_reservation)",
            _BUDGETS,
            "leave it out",
        ),
        ("custom_.*|pass_through_endpoints|.*jwt.*|.*oauth.*|.*sso.*|allow_user_auth", _OPEN, "virtualKeys"),
        (
            "(public|allowed|admin_only)_routes|allowed_ips|.*rbac|role_permissions",
            _OPEN,
            "network.clientNamespaces",
        ),
        (
            "litellm_key_header_name|user_api_key_cache_ttl",
            "the tenants' Job would be refused, or a deleted key answered for longer",
            "leave it out",
        ),
        ("(disable|skip)_batch_.*", "a batch would pass the limits of its key", "leave it out"),
        ("proxy_batch_write_at", "a crash would lose more spend", "leave it out"),
        ("disable_responses_id_security", "one tenant could read another's answers", "leave it out"),
        ("enable_health_check_routing", "one tenant's errors would refuse every tenant", "order and weight"),
        (
            "allow_client_side_credentials|forward_llm_provider_auth_headers",
            "clients could have a provider's key sent wherever they say",
            "leave it out",
        ),
        (
            "infer_model_from_keys|completion_model|.*_model",
            "requests would be routed past the aliases",
            "models",
        ),
        ("store_model_in_db|supported_db_objects|control_plane_url", _STACK, "models, in the stack file"),
        ("use_(google_kms|azure_key_vault)|key_management_.*", _STACK, "litellm.secretEnvironment"),
        ("disable_prisma_schema_update|use_redis_transaction_buffer", _IGNORED, "leave it out"),
        (".*drain_endpoint.*", "a request could end a proxy", "leave it out"),
    ),
    "router": (
        (
            "model_list|model_group_alias|default_litellm_params",
            "the models would not be those declared",
            "models",
        ),
        ("timeout", _IGNORED, "litellm.requestTimeout"),
        ("stream_timeout", _IGNORED, "litellm.streamTimeout"),
        (
            "num_retries|retry_policy|model_group_retry_policy",
            "a hung upstream would be waited for again",
            "litellm.retries",
        ),
        (".*fallbacks", "a model that is no alias, or that costs, could answer", "litellm.fallbacks"),
        ("max_fallbacks", "", ""),
        ("redis_.*|cache_kwargs", "replicas would not share their counts", "litellm.sharedState"),
        ("cache_responses|caching_groups", _CACHED, "leave it out"),
        ("optional_pre_call_checks", "a model's tpm and rpm would no longer bind", "leave it out"),
        (
            "disable_cooldowns|allowed_fails.*|cooldown_time|enable_weighted_failover|enable_health_check_routing",
            "one tenant's errors would refuse every tenant",
            "order and weight of the models",
        ),
        (
            "routing_strategy.*|routing_groups",
            "a model's weight would be ignored",
            "order and weight of the models",
        ),
        ("set_verbose|debug_level", _SHOWN, "litellm.logLevel"),
        ("guardrail_list|search_tools|assistants_config|router_general_settings", _IGNORED, "leave it out"),
    ),
    "litellm": (
        ("request_timeout", _IGNORED, "litellm.requestTimeout"),
        ("num_retries.*|retry|allowed_fails", _IGNORED, "litellm.retries"),
        ("cache|cache_params|caching.*|enable_caching_.*", _CACHED, "litellm.sharedState, for counts"),
        ("max_fallbacks", "", ""),
        (
            ".*fallbacks|.*fallback_dict",
            "a model that is no alias, or that costs, could answer",
            "litellm.fallbacks",
        ),
        ("model_cost.*|cost_.*|.*_cost_map_url", _BUDGETS, "the costs of the models"),
        ("disable_(streaming_logging|token_counter|end_user_cost_tracking)", _BUDGETS, "leave it out"),
        ("network_mock|use_litellm_proxy", "no request would reach its model", "leave it out"),
        (
            "default_(key_generate|team|internal_user)_params|default_team_settings|upperbound_key_generate_params|key_generation_settings",
            _LIMITS,
            "teams and virtualKeys",
        ),
        (
            "max_end_user_budget.*",
            "an end user would be refused for what others spent (docs/decisions/budgets.md)",
            "leave it out",
        ),
        ("enable_key_alias_format_validation", "LiteLLM would refuse declared aliases", "leave it out"),
        (
            "enable_model_config_credential_overrides",
            "clients could have a provider's key sent wherever they say",
            "leave it out",
        ),
        (
            "require_auth_for_metrics_endpoint",
            "every client could read what each tenant spends",
            "leave it out",
        ),
        (
            "default_(in_memory|redis)_.*",
            "counts and keys would be kept for another time than is tested",
            "leave it out",
        ),
        (
            "adapters|all_litellm_params|azure_llms|.*_transformation(_object)?|common_cloud_.*|error_logs|guardrail_name_config_map|"
            "in_memory_.*|initialized_.*|models_by_provider|openai_(text_completion_)?compatible_.*|prompt_name_config_map|"
            "provider_list|proxy_auth",
            "LiteLLM keeps its own state there",
            "leave it out",
        ),
        (
            "ssl_verify|user_url_validation|check_provider_endpoint|.*_allowed_hosts",
            "an upstream could be anyone",
            "leave it out",
        ),
        ("set_verbose|log_raw_request_response|logging|log_level", _SHOWN, "litellm.logLevel"),
        (
            "custom_provider_map|(pre|post)_call_rules|.*_(session|handler|instance)|.*client(_manager)?",
            "LiteLLM would look for code that its image does not have",
            "leave it out",
        ),
        ("model_list.*|model_alias_map|model_group_settings|.*_models|credential_list", _STACK, "models"),
        ("secret_manager_client|key_management_.*", _STACK, "litellm.secretEnvironment"),
        (
            ".*_(api_)?key|token|api_(base|key|version)|headers|organization|project|vertex_(project|location)",
            _KEYS,
            "hosted.params",
        ),
    ),
}
"""By section: names, what would happen were they set, and what to write. The first that fits counts; no consequence: allowed."""
_CALLBACKS = ("callbacks", "success_callback", "failure_callback", "service_callback", "audit_log_callbacks")
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


@cache
def _known() -> Mapping[str, Mapping[str, list[str]]]:
    """`python -m tests.litellm.own_settings` writes them; it says what is in them."""
    return json.loads(Path(__file__).with_name("litellm-settings.json").read_text())


def broken(section: str, given: Mapping[str, Any], variables: set[str]) -> Iterator[Violation]:
    """What is wrong with LiteLLM's settings of a section, `general`, `router` or `litellm`.

    `variables` are the environment variables that a value may name. Keys are the names alone.
    """
    for name, value in given.items():
        _, otherwise, write = next(
            (refused for refused in _REFUSED[section] if re.fullmatch(refused[0], name)), ("", "", "")
        )
        kinds = _known()[section].get(name)
        if kinds is None:
            near = difflib.get_close_matches(name, _known()[section], n=1, cutoff=0.7)
            yield Violation(
                name,
                f"LiteLLM {LITELLM_CHART.version} has no {section} setting {name}",
                "it would be ignored without a word",
                near[0] if near else "leave it out",
            )
        elif otherwise:
            yield Violation(
                name, "the stack's own settings say it, or promise what it would end", otherwise, write
            )
        elif kinds and not any(_is(value, kind) for kind in kinds):
            yield Violation(
                name,
                f"it is no {' or '.join(kinds)}",
                "LiteLLM would not start, or read something else",
                f"{name}: a value of that kind",
            )
        else:
            yield from _values(name, value, variables)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _values(name: str, value: Any, variables: set[str]) -> Iterator[Violation]:
    for text in texts(value):
        variable = text.removeprefix(VARIABLE)
        if variable == text and holds_a_key(text):
            yield Violation(
                name,
                "its value may be a key",
                "everyone who can read the stack file, the state or the ConfigMap could read it",
                f"{VARIABLE}<NAME>, and NAME in litellm.secretEnvironment",
            )
        elif variable != text and variable not in variables:
            yield Violation(
                name,
                f"no environment variable {variable} is set",
                "LiteLLM would read nothing in its place",
                f"{variable} in litellm.environment or litellm.secretEnvironment",
            )
    if name in _CALLBACKS:
        for callback in [value] if isinstance(value, str) else cast(list[str], value):
            if callback not in _known()["callbacks"]:
                near = difflib.get_close_matches(str(callback), _known()["callbacks"], n=3, cutoff=0.6)
                yield Violation(
                    name,
                    f"LiteLLM {LITELLM_CHART.version} has no callback {callback}",
                    "LiteLLM would look for code that its image does not have, and not start",
                    " or ".join(near) or "the name of an integration, such as langfuse",
                )


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys of mappings left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in cast(dict[str, Any], value).values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from texts(inner)
