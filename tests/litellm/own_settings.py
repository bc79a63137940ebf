"""The settings that the pinned LiteLLM knows, as `settings/litellm-settings.json` keeps them.

`python -m tests.litellm.own_settings` writes that file anew, after the pin has moved. This module also runs itself in LiteLLM's
own environment, where it prints the list: of `general_settings` the fields of LiteLLM's model and what its sources read; of
`router_settings` the router's arguments; of `litellm_settings` the package's own variables and what the proxy reads when it
loads its configuration. Each with the JSON types that it may have, none where LiteLLM does not say. `callbacks` are the names
that LiteLLM has an integration for.
"""

# Runs where litellm is installed, too, which is not where types are checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "settings" / "litellm-settings.json"
_READ = re.compile(r"general_settings\.get\(\s*\"([a-z_]+)\"")
_LOADED = re.compile(r"\bkey == \"([a-z_]+)\"")


def text() -> str:
    """The list as LiteLLM's own environment prints it."""
    from tests.litellm.environment import python

    return subprocess.run([python(), __file__], capture_output=True, text=True, check=True).stdout


def known() -> dict[str, dict[str, list[str]]]:
    """JSON types by name, by section; and `callbacks`, by name alone."""
    import litellm
    from litellm.proxy import proxy_server
    from litellm.proxy._types import ConfigGeneralSettings

    proxy = Path(proxy_server.__file__).parent
    general = {match for file in proxy.rglob("*.py") for match in _READ.findall(file.read_text())}
    loaded = _LOADED.findall(inspect.getsource(proxy_server.ProxyConfig.load_config))
    fields = {name: field.annotation for name, field in ConfigGeneralSettings.model_fields.items()}
    arguments = inspect.signature(litellm.Router.__init__).parameters
    hints = get_type_hints(litellm.Router.__init__)
    variables = {
        name: litellm.__annotations__.get(name, type(value))
        for name, value in vars(litellm).items()
        if re.fullmatch(r"[a-z]\w*", name)
        and (name in litellm.__annotations__ or type(value) in (bool, int, float, str, list, dict))
    }
    callbacks = get_args(litellm._custom_logger_compatible_callbacks_literal)
    return {
        "general": _kinds({**dict.fromkeys(general), **fields}),
        "router": _kinds({name: hints.get(name) for name in arguments if name != "self"}),
        "litellm": _kinds({**dict.fromkeys(loaded), **variables}),
        "callbacks": {name: [] for name in sorted(callbacks)},
    }


def _kinds(hints: dict[str, Any]) -> dict[str, list[str]]:
    return {name: _json_types(hints[name]) for name in sorted(hints)}


def _json_types(hint: Any) -> list[str]:
    """The JSON types of what a hint allows; empty where it allows anything, or objects of Python's."""
    from pydantic import TypeAdapter

    try:
        schema = TypeAdapter(hint).json_schema() if hint is not None else {}
    except Exception:  # of many kinds, for what JSON cannot hold
        return []
    found: set[str] = set()
    for each in schema.get("anyOf", [schema]):
        if "$ref" in each:
            each = schema["$defs"][each["$ref"].rpartition("/")[2]]
        if not isinstance(each.get("type"), str):
            return []
        found.add(each["type"])
    return sorted(found - {"null"})


if __name__ == "__main__":
    if Path(sys.prefix).parent.name == "litellm":
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        with contextlib.redirect_stdout(sys.stderr):
            found = known()
        sections = [
            f"{json.dumps(section)}: {{\n"
            + ",\n".join(f" {json.dumps(name)}: {json.dumps(kinds)}" for name, kinds in names.items())
            + "\n}"
            for section, names in found.items()
        ]
        sys.stdout.write("{\n" + ",\n".join(sections) + "\n}\n")
    else:
        LIST.write_text(text())
