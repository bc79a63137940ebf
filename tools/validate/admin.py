"""The proxy's API: admin calls with the master key, completions with the keys it makes."""

from __future__ import annotations

import datetime
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tools.validate.installation import MasterKey
from tools.validate.masks import masked
from tools.validate.reach import Reach

PREFIX = "validate-"
MADE_BY = "llm-gateway validate"
"""Stands in the metadata of our keys, so that nobody else's key named alike is ever deleted."""
LIFE = "30m"
"""How long LiteLLM lets a key of ours live, whatever happens to us."""
OLD = datetime.timedelta(hours=1)


class CheckError(Exception):
    """What was seen is not what there should be."""


@dataclass(frozen=True)
class Key:
    """A key that was made."""

    alias: str
    value: str = field(repr=False)

    @property
    def token(self) -> str:
        """Its hash, which LiteLLM's tables and queries name it by."""
        return hashlib.sha256(self.value.encode()).hexdigest()


@dataclass
class Admin:
    """One proxy; `run` tells this run's keys from others'."""

    reach: Reach
    master_key: MasterKey
    run: str
    keys: list[Key] = field(default_factory=list[Key])
    timeout: float = 60

    def ask(self, method: str, path: str, key: str | None = None, **arguments: Any) -> httpx.Response:
        """The answer, with `key` or the master key; CheckError where none comes."""
        headers = {"authorization": f"Bearer {key or self.master_key.value}"}
        try:
            with httpx.Client(base_url=self.reach.url, timeout=self.timeout, trust_env=False) as client:
                return client.request(method, path, headers=headers, **arguments)
        except httpx.TransportError as error:
            raise CheckError(f"{path}: no answer ({type(error).__name__})") from None

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of an answer that succeeded; else CheckError."""
        return self.json(self.ask("GET", path, params=parameters), path)

    def json(self, answer: httpx.Response, what: str) -> Any:
        """Its JSON; CheckError where it failed."""
        if not answer.is_success:
            raise CheckError(f"{what}: {self.seen(answer)}")
        return answer.json()

    def seen(self, answer: httpx.Response) -> str:
        """Status and message of an answer, in one line, without keys."""
        try:
            text = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = answer.text
        return self.mask(f"{answer.status_code} {' '.join(str(text).split())[:200]}")

    def mask(self, text: str) -> str:
        """`text` without any key."""
        return masked(text, (self.master_key.value, *(key.value for key in self.keys)))

    def mint(self, name: str, model: str, **limits: Any) -> Key:
        """A key for one model."""
        alias = f"{PREFIX}{self.run}-{name}"
        body = {
            "key_alias": alias,
            "models": [model],
            "duration": LIFE,
            "metadata": {"made_by": MADE_BY},
            **limits,
        }
        key = Key(
            alias,
            self.json(self.ask("POST", "/key/generate", json=body), f"the key {alias} was not made")["key"],
        )
        self.keys.append(key)
        return key

    def complete(self, key: Key | str, model: str, prompt: str = "ping") -> httpx.Response:
        """A chat completion of a few tokens."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 16}
        value = key.value if isinstance(key, Key) else key
        return self.ask("POST", "/v1/chat/completions", value, json=body)

    def spend(self, key: Key) -> float:
        """USD that /key/info says, which reads the database."""
        return self.get("/key/info", key=key.token)["info"]["spend"] or 0.0

    def cost(self, model: str) -> float:
        """USD an input token, 0 where the proxy knows none."""
        for row in self.get("/model/info")["data"]:
            if row["model_name"] == model:
                return (row.get("model_info") or {}).get("input_cost_per_token") or 0.0
        return 0.0

    def sweep(self) -> int:
        """Delete this run's keys, and older than an hour other runs'; how many. CheckError where one is left."""
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
        raise CheckError(f"{len(left)} key(s) are left, which expire {LIFE} after they were made: {problem}")

    def _ours(self) -> list[str]:
        """Hashes of the keys that are to go; looked up, as a key may be there whose answer never came."""
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
