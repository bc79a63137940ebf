"""Models whose alias ends in `*`: all of a provider's models that the pinned LiteLLM has a price of.

LiteLLM's own wildcard passes on whatever name is asked for, at no cost where it knows no price, so that no budget binds.
Here each of the models is an entry of its own, and a name that is none of them is refused, as any other unknown model.
A key's wildcard is a group of aliases in LiteLLM, whose own pattern would let in aliases of other names, too: with
`openai/*` a key could ask for `gpt-4o`, wherever that alias leads (proxy/auth/auth_checks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from settings import modes, prices

SIGN = "*"


@cache
def names(pattern: str) -> Sequence[str]:
    """LiteLLM's names of the models that the wildcard stands for, sorted; of those, whose price it counts."""
    provider = pattern.partition("/")[0]
    return [name for name in prices.names(pattern.removesuffix(SIGN)) if _is_counted(name, provider)]


def _is_counted(name: str, provider: str) -> bool:
    return prices.mode(name) != "rerank" or bool(modes.counted("rerank", provider))


def matches(alias: str, wildcard: str) -> bool:
    """Whether a wildcard has an alias, or another wildcard."""
    return wildcard.endswith(SIGN) and alias.startswith(wildcard.removesuffix(SIGN))


def group(alias: str) -> str:
    """LiteLLM's name of what a key or a team may ask for: of a wildcard a group, with a space, as no alias has one."""
    return f"every {alias.removesuffix(SIGN)}" if alias.endswith(SIGN) else alias
