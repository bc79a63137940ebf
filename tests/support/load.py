"""Clients that ask a gateway over and over, and what became of each request."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import pytest

from tests.support.driver import Sandbox
from tests.support.serving import INPUT, MODEL, OUTPUT, sql
from tests.support.waiting import wait_for

TIMEOUT = 120.0  # seconds


class Answer(NamedTuple):
    """One request: when it was sent (Unix time), how long it took in seconds, and what came of it.

    `failure` is empty where the whole answer came; else the status and the body, or what went wrong with the connection.
    """

    sent: float
    seconds: float
    streamed: bool
    failure: str
    identity: str = ""
    cost: float = 0.0
    """USD."""


@contextmanager
def loading(url: str, keys: Sequence[str], pause: float = 0.3) -> Generator[list[Answer]]:
    """A client for each key, which streams every other answer; one keeps its connection, the next opens one per request."""
    answers: list[Answer] = []
    ended = threading.Event()

    def ask_on(number: int) -> None:
        kept = httpx.Limits(max_keepalive_connections=None if number % 2 == 0 else 0)
        headers = {"authorization": f"Bearer {keys[number]}"}
        with httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False, limits=kept
        ) as client:
            streamed = False
            while not ended.wait(pause):
                answers.append(answered(client, streamed))
                streamed = not streamed

    threads = [threading.Thread(target=ask_on, args=[number]) for number in range(len(keys))]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def answered(client: httpx.Client, streamed: bool) -> Answer:
    """Ask for a short completion."""
    body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    began, sent = time.monotonic(), time.time()
    identity, cost, failure = "", 0.0, ""
    try:
        response = client.post("/v1/chat/completions", json={**body, "stream": streamed})
        if response.is_error:
            failure = f"{response.status_code} {response.text}"
        else:
            identity, cost, failure = _read(response.text, streamed)
    except httpx.TransportError as error:
        failure = repr(error)
    return Answer(sent, time.monotonic() - began, streamed, failure, identity, cost)


def _read(text: str, streamed: bool) -> tuple[str, float, str]:
    """An answer's id and cost; and what is wrong where it is not whole."""
    if not streamed:
        last = json.loads(text)
    else:
        lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
        if lines[-1:] != ["[DONE]"]:
            return "", 0.0, f"cut off: {text[-300:]}"
        last = json.loads(lines[-2])
    usage = last["usage"]
    return last["id"], usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT, ""


def failures(answers: Sequence[Answer]) -> Counter[str]:
    """How often each failure was seen."""
    return Counter(answer.failure[:300] for answer in answers if answer.failure)


def recorded(sandbox: Sandbox, answers: Sequence[Answer]) -> dict[str, float]:
    """The spend in USD that the database has of answered requests, by request."""
    query = 'SELECT json_object_agg(request_id, spend) FROM "LiteLLM_SpendLogs"'
    rows: dict[str, float] = json.loads(sql(sandbox, "litellm-pg", query) or "{}")
    return {answer.identity: rows[answer.identity] for answer in answers if answer.identity in rows}


def is_accounted_for(sandbox: Sandbox, answers: Sequence[Answer], keys: Sequence[str]) -> None:
    """Each answered request has one record with its cost, and each key the sum of its records."""
    whole = [answer for answer in answers if not answer.failure]
    costs = {answer.identity: pytest.approx(answer.cost) for answer in whole}
    try:
        wait_for(lambda: recorded(sandbox, whole) == costs, 90)
    finally:
        print(f"{len(whole)} requests answered, {len(recorded(sandbox, whole))} of them recorded")
    hashes = ", ".join(f"'{hashlib.sha256(key.encode()).hexdigest()}'" for key in keys)

    def spent(table: str, column: str) -> float:
        query = f'SELECT COALESCE(sum(spend), 0) FROM "{table}" WHERE {column} IN ({hashes})'  # noqa: S608
        return float(sql(sandbox, "litellm-pg", query))

    def sums() -> tuple[float, float]:
        return spent("LiteLLM_VerificationToken", "token"), spent("LiteLLM_SpendLogs", "api_key")

    try:
        wait_for(lambda: sums()[0] == pytest.approx(sums()[1]), 60)
    finally:
        print("USD of the keys, and of their records:", sums())
