"""What came of a request to the gateway after an `up`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A chat with a virtual key, by the key's name; `status` is 0 where nothing came within `seconds`.

    An answer of status 200 has its text, its tokens, and its spend as LiteLLM counts it, in USD.
    """

    url: str
    key: str
    model: str
    question: str
    status: int
    seconds: float
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend: float = 0


def read(file: Path) -> Answer:
    """Raises OSError if the file cannot be read, ValueError if it holds something else."""
    try:
        return Answer(**json.loads(file.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} does not say what the gateway answered: {error}") from error
