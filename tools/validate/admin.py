"""The proxy's API: admin calls with the master key, completions with the virtual keys made here."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from settings import modes
from tools.validate.errors import NotRunError
from tools.validate.masks import masked
from tools.validate.reach import Reach

PREFIX = "validate-"
MADE_BY = "llm-gateway validate"
"""Marks our keys in their metadata, so that another key of a similar name is never deleted."""
LIFETIME = "30m"
"""Time after which LiteLLM expires a key of ours."""
OLD = datetime.timedelta(hours=1)
"""Age from which another run's keys count as left behind."""


class CheckError(Exception):
    """A check failed; the message says what was seen."""


@dataclass(frozen=True)
class Key:
    """A virtual key that was made for the checks."""

    alias: str
    value: str = field(repr=False)

    @property
    def token(self) -> str:
        """The SHA-256 by which LiteLLM's tables and queries name the key."""
        return hashlib.sha256(self.value.encode()).hexdigest()


@dataclass
class Admin:
    """One proxy; `run` is part of the aliases of this run's keys."""

    reach: Reach
    master_key: str = field(repr=False)
    run: str
    keys: list[Key] = field(default_factory=list[Key])
    timeout: float = 60
    _models: Mapping[str, Mapping[str, Any]] | None = None

    def ask(self, method: str, path: str, key: str | None = None, **arguments: Any) -> httpx.Response:
        """The answer to a request with `key`, default the master key. Raises CheckError if there is none."""
        headers = {"authorization": f"Bearer {key or self.master_key}"}
        try:
            with httpx.Client(base_url=self.reach.url, timeout=self.timeout, trust_env=False) as client:
                return client.request(method, path, headers=headers, **arguments)
        except httpx.TransportError as error:
            raise CheckError(f"{path}: no answer ({type(error).__name__})") from None

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a successful answer. Raises CheckError."""
        return self.json(self.ask("GET", path, params=parameters), path)

    def json(self, answer: httpx.Response, what: str) -> Any:
        """The JSON of an answer. Raises CheckError if the request failed."""
        if not answer.is_success:
            raise CheckError(f"{what}: {self.seen(answer)}")
        return answer.json()

    def seen(self, answer: httpx.Response) -> str:
        """Status and message of an answer, in one line without keys."""
        try:
            text = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = answer.text
        return self.mask(f"{answer.status_code} {' '.join(str(text).split())[:200]}")

    def mask(self, text: str) -> str:
        """`text` with all keys masked."""
        return masked(text, (self.master_key, *(key.value for key in self.keys)))

    def mint(self, name: str, model: str, **limits: Any) -> Key:
        """Make a key for one model; `limits` are fields of /key/generate. Raises CheckError."""
        alias = f"{PREFIX}{self.run}-{name}"
        body = {"key_alias": alias, "models": [model], "duration": LIFETIME, "metadata": {"made_by": MADE_BY}}
        answer = self.ask("POST", "/key/generate", json=body | limits)
        self.keys.append(Key(alias, self.json(answer, f"the key {alias} was not made")["key"]))
        return self.keys[-1]

    def complete(self, key: Key | str, model: str, prompt: str = "ping") -> httpx.Response:
        """The answer to a request for a chat completion of at most 16 tokens. Raises NotRunError if the model makes no text."""
        if (makes := self.info(model).get("mode") or "chat") not in modes.TEXT:
            raise NotRunError(
                f"{model} makes {makes}, and this check sends a chat: --model names another one"
            )
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 16}
        value = key.value if isinstance(key, Key) else key
        return self.ask("POST", "/v1/chat/completions", value, json=body)

    def spend(self, key: Key) -> float:
        """The key's spend in USD by /key/info, which reads the database."""
        return self.get("/key/info", key=key.token)["info"]["spend"] or 0.0

    def cost(self, model: str) -> float:
        """USD per input token; 0 where the proxy knows no cost."""
        # Text where it is as small as 5e-08 in the configuration: YAML 1.1 reads that as no number.
        return float(self.info(model).get("input_cost_per_token") or 0)

    def info(self, model: str) -> Mapping[str, Any]:
        """What the proxy says of a model, asked once; empty where it does not know it. Raises CheckError."""
        if self._models is None:
            rows = self.get("/model/info")["data"]
            self._models = {row["model_name"]: row.get("model_info") or {} for row in reversed(rows)}
        return self._models.get(model, {})

    def sweep(self) -> int:
        """Delete this run's keys and old ones of other runs; returns how many. Raises CheckError if any is left."""
        problem = "keys are left"
        gone = 0
        for attempt in range(3):
            time.sleep(attempt)
            try:
                found = self._ours()
                if not found:
                    return gone
                self.json(self.ask("POST", "/key/delete", json={"keys": found}), "/key/delete")
                gone += len(found)
            except CheckError as error:
                problem = str(error)
        if not (left := self._ours()):
            return gone
        raise CheckError(f"{len(left)} key(s) are left; each expires {LIFETIME} after it was made: {problem}")

    def _ours(self) -> list[str]:
        """Hashes of the keys to delete, from LiteLLM's list: a key may exist whose answer never arrived."""
        found: list[str] = []
        page = pages = 1
        now = datetime.datetime.now(datetime.UTC)
        while page <= pages:
            answer = self.get("/key/list", page=page, size=100, return_full_object=True, key_alias=PREFIX)
            for row in answer["keys"]:
                alias = row["key_alias"] or ""
                made = datetime.datetime.fromisoformat(row["created_at"].replace("Z", "+00:00"))
                made = made if made.tzinfo else made.replace(tzinfo=datetime.UTC)
                ours = alias.startswith(PREFIX) and (row.get("metadata") or {}).get("made_by") == MADE_BY
                if ours and (alias.startswith(f"{PREFIX}{self.run}-") or now - made > OLD):
                    found.append(row["token"])
            page, pages = page + 1, answer["total_pages"]
        return found
