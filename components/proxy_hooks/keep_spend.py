"""Runs in LiteLLM's own process: spend waits while the database is away, and is written before the proxy ends.

LiteLLM 1.89.2 gathers spend in memory and writes it every 10 to 15 seconds. What the database does not take is dropped at
the first error, and what is not written when the proxy is told to end is forgotten. It also takes a database that Prisma
cannot reach for one that refuses the data: then `allow_requests_on_db_unavailable` lets nobody in, and a valid key gets 401.
And it stays with a server that has become a standby: its own probe is a SELECT, which a standby answers.

`install` puts functions around LiteLLM's own. One that another version does not have stops the proxy before it serves.
Source: LiteLLM 1.89.2, proxy/utils.py, proxy/proxy_server.py (proxy_startup_event), proxy/db/db_spend_update_writer.py and
proxy/db/exception_handler.py; prisma 0.11, engine/utils.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

_AWAY = re.compile(r"P1\d{3}|P2037|08...|25006|53[13]00|57P..")
"""Codes of Prisma and of PostgreSQL: it is not reached, refuses connections, ends, starts, has become a standby, or its disk is full.

https://www.prisma.io/docs/orm/reference/error-reference, https://www.postgresql.org/docs/current/errcodes-appendix.html.
P2024, a pool without a free connection, is none: clients can bring it about, and a proxy that fails open would let them in.
"""
_READ_ONLY = "25006"
_UNNAMED = re.compile(r'PostgresError { code: "(.....)"')
"""How Prisma words an error of PostgreSQL that it has no code for."""
MOST_RECORDS = 50_000
"""Records of requests that wait for the database; with some 5 kB each, a 16th of the memory that a pod has by default."""
LONGEST_END = 20.0
"""Seconds that a proxy which ends waits for the database; its pod's grace period has more."""
_LOG = logging.getLogger("LiteLLM Proxy")

IsAway = Callable[[Exception], bool]


def install() -> None:
    """What LITELLM_WORKER_STARTUP_HOOKS names. Raises ImportError and AttributeError for another LiteLLM."""
    is_away = _tell_a_database_that_is_away()
    writing = asyncio.Lock()
    _leave_a_standby()
    _keep_sums(writing, is_away)
    _keep_records(writing, is_away)
    _write_at_the_end(writing)


def _tell_a_database_that_is_away() -> IsAway:
    errors = import_module("litellm.proxy.db.exception_handler").PrismaDBExceptionHandler
    known = errors.is_database_connection_error

    def is_connection_error(error: Any) -> bool:
        return bool(_AWAY.fullmatch(_code(error))) or known(error)

    errors.is_database_connection_error = staticmethod(is_connection_error)
    return errors.is_database_service_unavailable_error


def _code(error: Any) -> str:
    """Prisma's code, or PostgreSQL's where Prisma has none; the empty string where neither is known."""
    code: str | None = getattr(error, "code", None)
    if code == "P2010":  # SQL that LiteLLM wrote itself
        meta: dict[str, str] = error.meta or {}
        code = meta.get("code")
    elif code is None and (unnamed := _UNNAMED.search(str(error))):
        code = unnamed[1]
    return code or ""


def _leave_a_standby() -> None:
    """Connect anew when a write is refused: the address may lead to a primary by now, the session never will."""
    server: Any = import_module("litellm.proxy.proxy_server")
    answers: Any = import_module("prisma.engine.utils")
    raise_error, reconnects = answers.handle_response_errors, set[asyncio.Task[bool]]()

    def raise_and_leave(response: Any, errors: Any) -> None:
        try:
            raise_error(response, errors)
        except Exception as error:
            if _code(error) == _READ_ONLY and (client := server.prisma_client):
                # LiteLLM keeps 15 s between two of them, and has one at a time.
                reconnect = asyncio.ensure_future(client.attempt_db_reconnect("the database takes no writes"))
                reconnects.add(reconnect)
                reconnect.add_done_callback(reconnects.discard)
            raise

    answers.handle_response_errors = raise_and_leave


def _keep_sums(writing: asyncio.Lock, is_away: IsAway) -> None:
    """The spend of keys, teams and others, in USD: each table is written once, or kept for the next time."""
    writer = import_module("litellm.proxy.db.db_spend_update_writer").DBSpendUpdateWriter
    write, kept = writer._commit_spend_updates_to_db, dict[str, dict[str, float]]()

    def keep(table: str, spends: dict[str, float]) -> None:
        sums = kept.setdefault(table, {})
        for name, spend in spends.items():
            sums[name] = sums.get(name, 0) + spend

    async def write_or_keep(
        self: Any, *, db_spend_update_transactions: dict[str, dict[str, float] | None], **others: Any
    ) -> None:
        for table, spends in db_spend_update_transactions.items():
            keep(table, spends or {})
        async with writing:
            for table in list(kept):
                sums = kept.pop(table)
                one: dict[str, Any] = {**{key: {} for key in db_spend_update_transactions}, table: sums}
                try:
                    await write(self, db_spend_update_transactions=one, **others)
                except Exception as error:
                    if is_away(error):
                        keep(table, sums)
                    raise

    writer._commit_spend_updates_to_db = write_or_keep


def _keep_records(writing: asyncio.Lock, is_away: IsAway) -> None:
    """The records of requests: a batch is tried again; the rows that the database has are skipped."""
    jobs = import_module("litellm.proxy.utils").ProxyUpdateSpend
    write = jobs.update_spend_logs

    async def write_or_keep(
        *, prisma_client: Any, logs_to_process: list[dict[str, Any]], **others: Any
    ) -> None:
        async with writing:
            try:
                await write(prisma_client=prisma_client, logs_to_process=logs_to_process, **others)
            except Exception as error:
                if is_away(error):
                    async with prisma_client._spend_log_transactions_lock:
                        waiting = prisma_client.spend_log_transactions
                        room = max(0, MOST_RECORDS - len(waiting))
                        waiting[:0] = logs_to_process[:room]
                    if lost := len(logs_to_process[room:]):
                        _LOG.error("keep_spend: the records of %d requests are lost: too many wait", lost)
                raise

    jobs.update_spend_logs = staticmethod(write_or_keep)


def _write_at_the_end(writing: asyncio.Lock) -> None:
    server: Any = import_module("litellm.proxy.proxy_server")
    utils = import_module("litellm.proxy.utils")
    update, update_tags = utils.update_spend, utils.update_daily_tag_spend
    flush = import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER.flush
    end = server.proxy_shutdown_event

    async def write() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(flush(), LONGEST_END / 4)
        await asyncio.sleep(1)  # what that began goes on in tasks of its own
        client, log = server.prisma_client, server.proxy_logging_obj
        while True:
            try:
                await update(client, server.db_writer_client, log)
                async with writing:  # a batch that was under way is through
                    if not client.spend_log_transactions:
                        break
            except Exception as error:
                _LOG.warning("keep_spend: tried again: %s", error)
                await asyncio.sleep(1)
        await update_tags(client, log)

    async def write_and_end() -> None:
        if server.prisma_client is not None:
            try:
                await asyncio.wait_for(write(), LONGEST_END)
            except Exception:
                _LOG.exception("keep_spend: spend is lost")
        await end()

    server.proxy_shutdown_event = write_and_end
