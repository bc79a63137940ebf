"""The providers that the pinned LiteLLM knows, as `settings/providers.json` keeps them.

`python -m tests.litellm.providers` writes that file anew, after the pin has moved. This module also runs itself in LiteLLM's
own environment, where it prints the list. What a provider takes and needs is read from LiteLLM's own

- list for the form that adds a model (proxy/public_endpoints/provider_create_fields.json): fields, which of them are secrets,
  which are required;
- `validate_environment`, for what an empty environment misses;
- sources: a name in `optional_params.get("...")`, or the like, in the provider's folder is one of its parameters;
- configurations: what `get_config()` names goes into the request.
"""

# Runs where litellm is installed, too, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "settings" / "providers.json"
NOT_HOSTED = frozenset(
    [
        "a2a",
        "a2a_agent",
        "aiohttp_openai",
        "auto_router",
        "custom",
        "dotprompt",
        "humanloop",
        "langfuse",
        "litellm_agent",
        "vllm",
    ]
)
"""What LiteLLM calls a provider and is none: its own routers, prompt stores, agents, a library in the same process."""
INTERNAL = re.compile(
    r"_|litellm_|vertex_ai_|(async_call|custom_llm_provider|custom_prompt_dict|fake_stream|is_vertex_request|json_mode|kwargs|"
    r"logger_fn|max_retries|mcp_servers|messages|metadata|method|model|original_batch_request|page_size|page_token|stream|"
    r"stream_options|text_completion|timeout|upload_url|user|user_id)$"
)
"""Names that LiteLLM or a request sets, that settings of ours say, and second names of what has a first one."""
SECRET = re.compile(r"(^|_)(api_?key|key|secret|token|password|credentials|secret_access_key|access_key_id)$")
READ_FROM = frozenset(("inference_params", "litellm_params", "optional_params"))
ANY = [
    "additional_drop_params",
    "allowed_openai_params",
    "api_base",
    "base_model",
    "drop_params",
    "extra_body",
    "extra_headers",
    "max_parallel_requests",
    "merge_reasoning_content_in_choices",
    "supports_system_message",
    "use_chat_completions_api",
]
"""Of a deployment's parameters, those that each provider's may have, beside what a chat may say."""


def text() -> str:
    """The list as LiteLLM's own environment prints it."""
    from tests.litellm.environment import python

    return subprocess.run([python(), __file__], capture_output=True, text=True, check=True).stdout


def known() -> Iterator[tuple[str, dict[str, Any]]]:
    """Providers by name: `params` and, of these, `needs`, `secrets` and `texts`; `key` says of an API key.

    It is `needed`, or another secret; `taken`; `secrets`: not taken, another secret is needed; `none`: no secret is needed.
    `texts` are secrets that are files' contents. `*` is any provider.
    """
    import litellm
    from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES as CHAT
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry
    from litellm.types.router import GenericLiteLLMParams, LiteLLMParamsTypedDict
    from litellm.types.utils import LlmProviders, all_litellm_params

    there = {*CHAT, *GenericLiteLLMParams.model_fields, *LiteLLMParamsTypedDict.__annotations__}
    if unknown := set(ANY) - there - {"extra_body"} - set(all_litellm_params):
        raise LookupError(f"LiteLLM has no such parameters any more: {unknown}")
    yield (
        "*",
        {"params": sorted({name for name in CHAT if not INTERNAL.match(name)} - {"api_version"} | set(ANY))},
    )
    folder = Path(litellm.__file__).parent
    form = json.loads((folder / "proxy/public_endpoints/provider_create_fields.json").read_text())
    names = {provider.value for provider in LlmProviders} | set(JSONProviderRegistry.list_providers())
    for name in sorted(names - NOT_HOSTED):
        if default := _address(name):
            first = name.removesuffix("_beta")
            yield (
                name,
                _provider(
                    first, [each for each in form if each["litellm_provider"] == first], folder, default
                ),
            )


def _address(name: str) -> str:
    """Where LiteLLM reaches the provider by default, or a word where only its own code says that; empty for no provider."""
    import litellm

    for model in (f"{name}/model", f"{name}/chat/an-id/model"):
        with contextlib.suppress(Exception):  # litellm raises Exception itself where it knows no provider
            return litellm.get_llm_provider(model)[3] or "unknown"
    return ""


def _provider(name: str, forms: list[dict[str, Any]], litellm: Path, address: str) -> dict[str, Any]:
    fields = {field["key"]: field for form in forms for field in form["credential_fields"]}
    required = [
        {field["key"] for field in form["credential_fields"] if field["required"]} for form in forms
    ] or [set()]
    needs = {*set.intersection(*required), *_missing(name)}
    if re.search(r"localhost|127\.0\.0\.1", address):
        needs.add("api_base")  # LiteLLM would ask itself
    elif address.startswith("http"):
        needs.discard("api_base")  # the form asks for what has a default
    sources = re.sub(r"^text-completion-|_(chat|text|beta|nova|mantle)$", "", name)
    params = {*fields, *needs, *_read(litellm / "llms" / sources), *_config(name)}
    if "aws_region_name" in params:
        params |= _authentication()
    params = {param for param in params if not INTERNAL.match(param)}
    typed = {
        key for key, field in fields.items() if field["field_type"] in ("password", "textarea", "upload")
    }
    secrets = {param for param in params if param in typed or (param not in fields and SECRET.search(param))}
    found = {
        "params": params - {"api_key"},
        "needs": needs - secrets - {"api_key"},
        "secrets": secrets - {"api_key"},
        "texts": {key for key, field in fields.items() if field["field_type"] in ("textarea", "upload")},
    }
    wants_key = bool(needs & {*secrets, "api_key"}) or "aws_access_key_id" in params
    takes_key = "api_key" in params or not secrets
    return {key: sorted(value) for key, value in found.items() if value} | {
        "key": "needed"
        if wants_key and takes_key
        else "taken"
        if takes_key
        else "secrets"
        if wants_key
        else "none"
    }


def _missing(name: str) -> set[str]:
    """What `validate_environment` names, as parameters: AZURE_API_BASE is api_base, VERTEXAI_PROJECT vertex_project."""
    import litellm

    found = set[str]()
    for variable in litellm.validate_environment(f"{name}/model")["missing_keys"]:
        if variable.startswith(("AWS_", "VERTEXAI_")):
            found.add(variable.lower().replace("vertexai", "vertex"))
        else:
            (param,) = re.findall(r"API_(?:KEY|BASE|VERSION|TOKEN)$", variable)
            found.add("api_key" if param == "API_TOKEN" else param.lower())
    return found


def _read(folder: Path) -> set[str]:
    """Names that the sources of a folder read from a deployment's parameters."""
    calls = (
        node
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
    )
    return {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in ("get", "pop")
        and ast.unparse(call.func.value) in READ_FROM
        and isinstance(call.args[0], ast.Constant)
    }


def _config(name: str) -> set[str]:
    """What the provider's configuration puts into each request."""
    from litellm.types.utils import LlmProviders
    from litellm.utils import ProviderConfigManager

    with contextlib.suppress(Exception):
        if config := ProviderConfigManager.get_provider_chat_config("model", LlmProviders(name)):
            return set(config.get_config())
    return set()


def _authentication() -> set[str]:
    from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM

    return set(BaseAWSLLM().aws_authentication_params)


if __name__ == "__main__":
    if Path(sys.prefix).parent.name == "litellm":
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        for variable in [name for name in os.environ if re.search(r"_(KEY|TOKEN|BASE|REGION)", name)]:
            del os.environ[variable]
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # LiteLLM prints advice where it does not know a provider
            found = list(known())
        lines = [f"{json.dumps(name)}: {json.dumps(of, separators=(',', ':'))}" for name, of in found]
        sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
    else:
        LIST.write_text(text())
