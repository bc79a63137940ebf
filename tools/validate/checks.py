"""The checks: functions that return what they saw, or raise CheckError."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.validate.admin import Admin, CheckError, Key
from tools.validate.errors import NotRunError, ValidateError

LOW, HIGH = 0.01, 5.0
"""Budgets in USD."""


@dataclass(frozen=True)
class Limits:
    """Most requests to spend LOW with, seconds to wait until spend is recorded, most words per prompt."""

    requests: int = 200
    timeout: float = 90
    words: int = 2000


@dataclass
class Run:
    """What the checks share."""

    admin: Admin
    models: Sequence[str]
    model: str
    limits: Limits
    _high: Key | None = None

    def high(self) -> Key:
        """The key with the budget HIGH, made at the first call."""
        self._high = self._high or self.admin.mint("high", self.model, max_budget=HIGH)
        return self._high

    def completes(self, key: Key) -> Mapping[str, Any]:
        """The JSON of a completion. Raises CheckError."""
        return self.admin.json(self.admin.complete(key, self.model), "completion")

    def eventually(self, look: Callable[[], float], what: str) -> float:
        """What `look` returns once it is above zero. Raises CheckError if it stays zero until the timeout."""
        deadline = time.monotonic() + self.limits.timeout
        while not (value := look()):
            if time.monotonic() > deadline:
                raise CheckError(f"{what} is still 0 after {self.limits.timeout:.0f} s")
            time.sleep(1)
        return value


def ready(run: Run) -> str:
    """The proxy is ready and has its database."""
    state = run.admin.get("/health/readiness")
    if state.get("db") != "connected":
        raise CheckError(f"ready, but its database is {state.get('db')!r}")
    return "ready, database connected"


def wrong_key(run: Run) -> str:
    """A key that was never made is refused."""
    answer = run.admin.complete(f"sk-{secrets.token_urlsafe(16)}", run.model)
    if answer.status_code != 401:
        raise CheckError(f"a key that was never made got {run.admin.seen(answer)}, not 401")
    return "401"


def models(run: Run) -> str:
    """Every alias among the stack's outputs is listed."""
    listed = {row["id"] for row in run.admin.get("/v1/models")["data"]}
    if missing := sorted(set(run.models) - listed):
        raise CheckError(f"not listed: {', '.join(missing)}")
    return f"{len(run.models)} listed"


def high(run: Run) -> str:
    """The key with the budget HIGH gets a completion."""
    usage = run.completes(run.high()).get("usage", {})
    return f"{run.model} answered, {usage.get('total_tokens')} tokens"


def low(run: Run) -> str:
    """A key with the budget LOW is refused once the budget is spent."""
    cost = run.admin.cost(run.model)
    if not cost:
        raise CheckError(
            f"{run.model} has no cost per token, so no budget can ever bind: give it inputCostPerToken"
        )
    words = min(run.limits.words, math.ceil(LOW / cost / 4))
    needed = math.ceil(LOW / (cost * words))
    if needed > run.limits.requests:
        raise CheckError(
            f"{run.model} is so cheap that ${LOW} take {needed} requests: allow them with --requests, "
            "or choose a more expensive --model"
        )
    key = run.admin.mint("low", run.model, max_budget=LOW)
    prompt, tokens, over, sent = " ".join(["ping"] * words), 0, 0.0, 0
    for sent in range(run.limits.requests):
        answer = run.admin.complete(key, run.model, prompt)
        if answer.status_code in (400, 429) and "Budget has been exceeded" in answer.text:
            return f"{answer.status_code} Budget has been exceeded, after {sent} request(s)"
        tokens += (
            run.admin.json(answer, "a completion within the low budget")
            .get("usage", {})
            .get("prompt_tokens", 0)
        )
        if tokens * cost > LOW:  # LiteLLM may not have recorded all spend yet
            over = over or time.monotonic()
            if time.monotonic() - over > run.limits.timeout:
                break
            time.sleep(1)
    raise CheckError(f"never refused: {sent + 1} request(s), {tokens} tokens, ${tokens * cost:.4f} of ${LOW}")


def spend_logs(run: Run) -> str:
    """/spend/logs has rows of the HIGH key with a cost, and /key/info has a sum."""
    key = run.high()
    run.completes(key)

    def logged() -> float:
        return sum(row["spend"] or 0 for row in run.admin.get("/spend/logs", api_key=key.token))

    cost = run.eventually(logged, "the spend in /spend/logs")
    spend = run.eventually(lambda: run.admin.spend(key), "the spend in /key/info")
    return f"${cost:.6f} in /spend/logs, ${spend:.6f} in /key/info"


def database(run: Run) -> str:
    """The key's row in Postgres has its spend."""
    cluster = run.admin.reach.cluster
    if not cluster:
        raise NotRunError("needs the cluster, not a URL")
    key = run.high()
    run.completes(key)
    spend = run.eventually(lambda: cluster.recorded_spend(key.token), "the spend in the key's row")
    return f"${spend:.6f} in the key's row"


def rpm(run: Run) -> str:
    """A key with one request per minute is refused the next one."""
    return _limited(run, run.admin.mint("rpm", run.model, max_budget=HIGH, rpm_limit=1), "requests")


def tpm(run: Run) -> str:
    """A key with few tokens per minute is refused once they are used."""
    return _limited(run, run.admin.mint("tpm", run.model, max_budget=HIGH, tpm_limit=TOKENS), "tokens")


TOKENS = 40
"""Per minute: LiteLLM reserves prompt and max_tokens, so that one completion fits and four do not."""


def _limited(run: Run, key: Key, what: str) -> str:
    run.completes(key)
    # Several, as a new minute may begin in between.
    for sent in range(1, 4):
        answer = run.admin.complete(key, run.model)
        if answer.status_code == 429 and f"Limit type: {what}" in answer.text:
            return f"429 after {sent} request(s)"
        run.admin.json(answer, "completion")
        time.sleep(0.5)
    raise CheckError("4 requests within seconds went through")


def restart(run: Run) -> str:
    """A replaced proxy loses neither keys nor spend; with several replicas, no request fails meanwhile."""
    cluster = run.admin.reach.cluster
    if not cluster:
        raise NotRunError("needs the cluster, not a URL")
    key = run.high()
    run.completes(key)
    before = run.eventually(lambda: run.admin.spend(key), "the spend before it")
    beside = cluster.replicas() - 1
    with _asking(run.admin, key if beside else None) as answers:
        cluster.restart()
    failed = [answer for answer in answers if answer]
    if failed or (beside and not answers):
        raise CheckError(
            f"{len(failed)} of {len(answers)} requests failed meanwhile: {', '.join(failed[:1])}"
        )
    after = run.admin.spend(key)
    if after < before:
        raise CheckError(f"spend fell from ${before:.6f} to ${after:.6f}")
    run.completes(key)
    meanwhile = f"{len(answers)} requests meanwhile, none failed" if beside else "the only replica"
    return f"key and spend (${after:.6f}) are there; {meanwhile}"


@contextlib.contextmanager
def _asking(admin: Admin, key: Key | None) -> Generator[list[str]]:
    """Send requests with `key` while the block runs; yields the list of their errors, "" for a success."""
    answers: list[str] = []
    if key is None:
        yield answers
        return
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.2):
            try:
                admin.json(admin.ask("GET", "/v1/models", key.value), "/v1/models")
                answers.append("")
            except (CheckError, ValidateError) as error:
                answers.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


CHECKS: Mapping[str, Callable[[Run], str]] = {
    "ready": ready,
    "wrong-key": wrong_key,
    "models": models,
    "high": high,
    "low": low,
    "spend-logs": spend_logs,
    "database": database,
    "rpm": rpm,
    "tpm": tpm,
    "restart": restart,
}
CLEANUP = "cleanup"


@dataclass(frozen=True)
class Result:
    """The result of one check; `verdict` is pass, fail, not run or left out."""

    name: str
    verdict: str
    seconds: float
    seen: str


def run_all(run: Run, without: Sequence[str], results: list[Result]) -> None:
    """Append the results of all checks but those of `without`; whatever happens, delete the keys made."""
    try:
        for name, check in CHECKS.items():
            if name in without:
                results.append(Result(name, "left out", 0, "--without"))
            else:
                results.append(_result(name, lambda check=check: check(run), run.admin))
    finally:
        results.append(_result(CLEANUP, lambda: f"{run.admin.sweep()} key(s) deleted, none left", run.admin))


def _result(name: str, check: Callable[[], str], admin: Admin) -> Result:
    start = time.monotonic()
    try:
        verdict, seen = "pass", check()
    except NotRunError as reason:
        verdict, seen = "not run", str(reason)
    except (CheckError, ValidateError) as error:
        verdict, seen = "fail", str(error)
    except Exception as error:  # an unexpected answer fails this check, and the next ones run
        verdict, seen = "fail", f"{type(error).__name__}: {error}"
    return Result(name, verdict, round(time.monotonic() - start, 1), admin.mask(seen))
