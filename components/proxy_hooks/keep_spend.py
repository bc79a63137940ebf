"""Runs in LiteLLM's own process before it serves: no spend is lost while the database is away, or when the proxy ends.

LiteLLM 1.89.2 gathers spend in memory and writes it every 10 to 15 seconds. What the database does not take is dropped at
the first error, and what is not written when the proxy is told to end is forgotten. It also takes a database that Prisma
cannot reach for one that refuses the data: then `allow_requests_on_db_unavailable` lets nobody in, and a valid key gets 401.

`install` puts functions around LiteLLM's own. One that another version does not have stops the proxy before it serves.
Source: LiteLLM 1.89.2, proxy/utils.py, proxy/proxy_server.py (proxy_startup_event), proxy/db/db_spend_update_writer.py and
proxy/db/exception_handler.py; codes of errors: https://www.prisma.io/docs/orm/reference/error-reference
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from importlib import import_module
from typing import Any

_CONNECTION = re.compile(r"P1\d{3}|P2024")
"""Prisma's codes of what is wrong with the connection, not with the data."""
_LONGEST_END = 20.0
"""Seconds that a proxy which ends waits for the database; its pod's grace period has more."""


def install() -> None:
    """What LITELLM_WORKER_STARTUP_HOOKS names. Raises ImportError and AttributeError for another LiteLLM."""
    _tell_a_database_that_is_away()
    writing = asyncio.Lock()
    _keep_sums(writing)
    _keep_records(writing)
    _write_at_the_end(writing)


def _errors() -> Any:
    return import_module("litellm.proxy.db.exception_handler").PrismaDBExceptionHandler


def _tell_a_database_that_is_away() -> None:
    errors = _errors()
    known = errors.is_database_connection_error

    def is_connection_error(error: Exception) -> bool:
        return bool(_CONNECTION.fullmatch(str(getattr(error, "code", "")))) or known(error)

    errors.is_database_connection_error = staticmethod(is_connection_error)


def _keep_sums(writing: asyncio.Lock) -> None:
    """The spend of keys, teams and others, in USD: each table is written once, or kept for the next time."""
    writer = import_module("litellm.proxy.db.db_spend_update_writer").DBSpendUpdateWriter
    write, kept = writer._commit_spend_updates_to_db, dict[str, dict[str, float]]()

    async def write_or_keep(
        self: Any, *, db_spend_update_transactions: dict[str, dict[str, float] | None], **others: Any
    ) -> None:
        for table, spends in db_spend_update_transactions.items():
            sums = kept.setdefault(table, {})
            for name, spend in (spends or {}).items():
                sums[name] = sums.get(name, 0) + spend
        async with writing:
            for table in list(kept):
                sums = kept.pop(table)
                one: dict[str, Any] = {**{key: {} for key in db_spend_update_transactions}, table: sums}
                try:
                    await write(self, db_spend_update_transactions=one, **others)
                except Exception as error:
                    if _errors().is_database_service_unavailable_error(error):
                        for name, spend in kept.get(table, {}).items():  # come in meanwhile
                            sums[name] = sums.get(name, 0) + spend
                        kept[table] = sums
                    raise

    writer._commit_spend_updates_to_db = write_or_keep


def _keep_records(writing: asyncio.Lock) -> None:
    """The records of requests: a batch is tried again; the rows that the database has are skipped."""
    jobs = import_module("litellm.proxy.utils").ProxyUpdateSpend
    write = jobs.update_spend_logs

    async def write_or_keep(
        *, prisma_client: Any, logs_to_process: list[dict[str, Any]], **others: Any
    ) -> None:
        try:
            async with writing:
                await write(prisma_client=prisma_client, logs_to_process=logs_to_process, **others)
        except Exception as error:
            if _errors().is_database_service_unavailable_error(error):
                async with prisma_client._spend_log_transactions_lock:
                    prisma_client.spend_log_transactions[:0] = logs_to_process
            raise

    jobs.update_spend_logs = staticmethod(write_or_keep)


def _write_at_the_end(writing: asyncio.Lock) -> None:
    server: Any = import_module("litellm.proxy.proxy_server")
    utils = import_module("litellm.proxy.utils")
    worker = import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER
    end = server.proxy_shutdown_event

    async def write() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.flush(), _LONGEST_END / 4)
        await asyncio.sleep(1)  # what that began goes on in tasks of its own
        await server.update_spend(server.prisma_client, server.db_writer_client, server.proxy_logging_obj)
        await utils.update_daily_tag_spend(server.prisma_client, server.proxy_logging_obj)
        async with writing:
            pass  # a batch that was under way is through

    async def write_and_end() -> None:
        if server.prisma_client is not None:
            try:
                await asyncio.wait_for(write(), _LONGEST_END)
            except Exception:
                server.verbose_proxy_logger.exception("keep_spend: spend is lost")
        await end()

    server.proxy_shutdown_event = write_and_end
