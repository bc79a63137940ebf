"""Says of a config.yaml which keys and values this LiteLLM does not know. Run by LiteLLM's own interpreter.

Prints a JSON list of findings, empty where there is none. Against: the models, signatures and literals of the
installed version; and, as its model of general_settings is not complete, the keys that its proxy's source reads.
"""

# Runs where litellm and prisma are installed, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportPrivateUsage=false

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import litellm
import litellm.proxy
import litellm.types.utils
import yaml
from litellm import _redis
from litellm.caching.caching import Cache
from litellm.proxy._types import ConfigGeneralSettings, ConfigYAML
from litellm.types.router import Deployment, LiteLLM_Params, ModelInfo
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from redis import Redis

# What load_config makes of litellm_settings without an attribute of the module.
HANDLED = {"cache_params"}
# ModelInfo takes any key; of these, what the calculation of costs reads.
PRICES = {*get_type_hints(litellm.types.utils.ModelInfo)}


def findings(config: Mapping[str, Any]) -> Iterator[str]:
    """One line per unknown key or refused value."""
    yield from unknown("", config, ConfigYAML.model_fields)
    for index, route in enumerate(config["model_list"]):
        where = f"model_list[{index}]"
        yield from unknown(where, route, Deployment.model_fields)
        yield from modelled(f"{where}.litellm_params", route["litellm_params"], LiteLLM_Params)
        info = route.get("model_info", {})
        told = {key: value for key, value in info.items() if key not in PRICES}
        yield from modelled(f"{where}.model_info", told, ModelInfo)
    general = config.get("general_settings", {})
    yield from unknown("general_settings", general, {*ConfigGeneralSettings.model_fields, *read_by_proxy()})
    settings = config.get("litellm_settings", {})
    yield from unknown("litellm_settings", settings, {*vars(litellm), *HANDLED})
    cache = settings.get("cache_params", {})
    clustered = "redis_startup_nodes" in cache
    redis = _redis._get_redis_cluster_kwargs() if clustered else inspect.signature(Redis).parameters
    own = {key: value for key, value in cache.items() if key not in redis}
    yield from called("litellm_settings.cache_params", own, Cache.__init__)
    yield from called("router_settings", config.get("router_settings", {}), litellm.Router.__init__)


def unknown(where: str, given: Mapping[str, Any], known: Any) -> Iterator[str]:
    for key in given:
        if key not in known:
            yield f"{where}.{key} is unknown".lstrip(".")


def modelled(where: str, given: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    yield from unknown(where, given, model.model_fields)
    try:
        model.model_validate(given)
    except ValidationError as error:
        for problem in error.errors():
            yield f"{where}.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def called(where: str, given: Mapping[str, Any], function: Any) -> Iterator[str]:
    """Keys that become arguments, against the signature; `**kwargs` does not count."""
    parameters = inspect.signature(function).parameters
    named = {name for name, taken in parameters.items() if taken.kind is not taken.VAR_KEYWORD}
    yield from unknown(where, given, named)
    for key in given.keys() & named:
        try:
            # A port is a number in every document, and a string in the cache's signature.
            config = ConfigDict(coerce_numbers_to_str=True)
            TypeAdapter(parameters[key].annotation, config=config).validate_python(given[key])
        except ValidationError as error:
            yield f"{where}.{key}: {error.errors()[0]['msg']}"


def read_by_proxy() -> set[str]:
    """Every literal key that the proxy's source takes from a `general_settings`."""
    keys: set[str] = set()
    for path in Path(litellm.proxy.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if "general_settings" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="general_settings"), attr="get"),
                    args=[ast.Constant(value=str(key)), *_],
                ):
                    keys.add(key)
    return keys


if __name__ == "__main__":
    print(json.dumps([*findings(yaml.safe_load(Path(sys.argv[1]).read_text()))]))
