"""Names that charts build objects' names and labels from, as the API server takes them.

Charts write such a name without quotes: where YAML reads it as anything but text, the API server refuses the object. The
names that this program gives to objects itself have their types in `settings/base.py`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from settings.base import DnsLabel

VLLM_RELEASE = "vllm"
"""Name of vLLM's Release, which begins the name of each object of its chart."""
LONGEST = 63 - len(f"{VLLM_RELEASE}--engine-service")
"""Characters of a model's name among vLLM's objects. A Service's name has 63 at most, a pod's hostname as well, which is
shorter (vllm-<name>-vllm-stack); the names of Deployments and claims have 253."""
PATTERN = rf"^[a-z0-9]([-a-z0-9]{{0,{LONGEST - 2}}}[a-z0-9])?$"

# As Helm's parser reads them (sigs.k8s.io/yaml, YAML 1.1 with the octal numbers of 1.2), of letters, digits and dashes.
_NO_TEXT = re.compile(
    r"null|true|false|yes|no|on|off|y|n|[0-9]+(e-?[0-9]+)?|0x[0-9a-f]+|0o[0-7]+|0b[01]+", re.ASCII
)


def is_text(name: str) -> bool:
    """Whether YAML reads a name in small letters as text, not as null, a boolean or a number."""
    return _NO_TEXT.fullmatch(name) is None


def from_alias(alias: str) -> str:
    """The alias in small letters, with a dash for each run of characters that no object's name may have."""
    return re.sub(r"[^a-z0-9]+", "-", alias.lower()).strip("-")


def _text(name: str) -> str:
    if not is_text(name):
        raise PydanticCustomError(
            "yaml", "a chart writes it without quotes, and YAML reads it as null, a boolean or a number"
        )
    return name


Namespace = Annotated[DnsLabel, AfterValidator(_text)]
"""Of a Release."""
VllmName = Annotated[str, StringConstraints(pattern=PATTERN), AfterValidator(_text)]
