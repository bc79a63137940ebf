"""What keeps spend inside LiteLLM, around functions that are played; tests/litellm/test_database.py runs LiteLLM's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components.proxy_hooks import keep_spend

Sums = dict[str, dict[str, float]]


class PrismaError(Exception):
    """An error of Prisma's Python client."""

    def __init__(self, code: str | None, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.code, self.meta = code, state and {"code": state, "message": text}


AWAY, REFUSED = PrismaError("P1001"), PrismaError("P2002")


class LiteLLM:
    """LiteLLM's modules and classes in one. Each write takes what it ends with from `errors`: None, or nothing, is success."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self.sums: list[Sums] = []
        self.records: list[int] = []
        self.ended = False
        self.spend_log_transactions: list[int] = []
        self._spend_log_transactions_lock = asyncio.Lock()
        self.PrismaDBExceptionHandler = self.DBSpendUpdateWriter = self.ProxyUpdateSpend = self
        self.GLOBAL_LOGGING_WORKER = self.prisma_client = self
        self.db_writer_client = self.proxy_logging_obj = None
        self.reconnects: list[str] = []

    def is_database_connection_error(self, error: Exception) -> bool:
        return False

    def is_database_service_unavailable_error(self, error: Exception) -> bool:
        return self.is_database_connection_error(error)

    def handle_response_errors(self, _: Any, errors: list[Exception]) -> None:
        raise errors[0]

    async def attempt_db_reconnect(self, reason: str) -> bool:
        self.reconnects.append(reason)
        return True

    async def _commit_spend_updates_to_db(self, _: Any, *, db_spend_update_transactions: Sums) -> None:
        await self._take()
        if written := {table: sums for table, sums in db_spend_update_transactions.items() if sums}:
            self.sums.append(written)

    async def update_spend_logs(self, *, prisma_client: Any, logs_to_process: list[int]) -> None:
        await self._take()
        self.records += logs_to_process

    async def _take(self) -> None:
        if self.errors and (error := self.errors.pop(0)):
            raise error

    async def commit(self, **sums: dict[str, float]) -> None:
        await self._commit_spend_updates_to_db(
            self, db_spend_update_transactions={"keys": {}, "teams": {}, **sums}
        )

    async def write_records(self) -> None:
        batch, self.spend_log_transactions = self.spend_log_transactions, []
        await self.update_spend_logs(prisma_client=self, logs_to_process=batch)

    async def update_spend(self, *_: Any) -> None:
        await self.commit()
        await self.write_records()

    async def flush(self) -> None: ...

    async def update_daily_tag_spend(self, *_: Any) -> None: ...

    async def proxy_shutdown_event(self) -> None:
        self.ended = True


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> LiteLLM:
    played = LiteLLM()
    monkeypatch.setattr(keep_spend, "import_module", lambda _: played)
    keep_spend.install()
    return played


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))


@pytest.mark.parametrize(
    ("error", "reconnects"),
    [
        (PrismaError(None, 'ConnectorError { PostgresError { code: "25006", message: "read-only" }'), 1),
        (PrismaError("P2010", state="25006"), 1),
        (AWAY, 0),
        (REFUSED, 0),
    ],
    ids=["a table's", "SQL's", "away", "refused"],
)
def test_a_server_that_takes_no_writes_is_left(litellm: LiteLLM, error: Exception, reconnects: int) -> None:
    async def run() -> None:
        with pytest.raises(PrismaError):
            litellm.handle_response_errors(None, [error])
        await asyncio.sleep(0)

    asyncio.run(run())
    assert len(litellm.reconnects) == reconnects


def test_sums_that_are_not_taken_are_added_to_the_next_and_written_once(litellm: LiteLLM) -> None:
    async def run() -> None:
        litellm.errors = [None, AWAY]
        with pytest.raises(PrismaError):
            await litellm.commit(keys={"a": 1}, teams={"t": 2})
        await litellm.commit(keys={"a": 4}, teams={"t": 8, "u": 16})

    asyncio.run(run())
    assert litellm.sums == [{"keys": {"a": 1}}, {"teams": {"t": 10, "u": 16}}, {"keys": {"a": 4}}]


def test_sums_that_the_database_refuses_hold_nothing_up(litellm: LiteLLM) -> None:
    async def run() -> None:
        litellm.errors = [REFUSED]
        with pytest.raises(PrismaError):
            await litellm.commit(keys={"a": 1}, teams={"t": 2})
        await litellm.commit()

    asyncio.run(run())
    assert litellm.sums == [{"teams": {"t": 2}}]


@pytest.mark.parametrize(("error", "waiting"), [(AWAY, [1, 2]), (REFUSED, [])])
def test_records_wait_for_a_database_that_is_away(
    litellm: LiteLLM, error: PrismaError, waiting: list[int]
) -> None:
    async def run() -> None:
        litellm.errors, litellm.spend_log_transactions = [error], [1, 2]
        with pytest.raises(PrismaError):
            await litellm.write_records()

    asyncio.run(run())
    assert litellm.spend_log_transactions == waiting


def test_so_many_records_wait(
    litellm: LiteLLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keep_spend, "MOST_RECORDS", 3)

    async def run() -> None:
        litellm.errors = [AWAY]
        task = litellm.update_spend_logs(prisma_client=litellm, logs_to_process=[1, 2, 3])
        litellm.spend_log_transactions = [4, 5]
        with pytest.raises(PrismaError):
            await task

    asyncio.run(run())
    assert litellm.spend_log_transactions == [1, 4, 5]
    assert "the records of 2 requests are lost" in caplog.text


@pytest.mark.usefixtures("no_waits")
def test_a_proxy_that_ends_tries_until_all_is_written(litellm: LiteLLM) -> None:
    async def run() -> None:
        litellm.errors = [AWAY, None, None, AWAY]
        with pytest.raises(PrismaError):
            await litellm.commit(keys={"a": 1})
        litellm.spend_log_transactions = [1]
        await litellm.proxy_shutdown_event()

    asyncio.run(run())
    assert litellm.ended
    assert litellm.sums == [{"keys": {"a": 1}}]
    assert litellm.records == [1]


@pytest.mark.usefixtures("no_waits")
def test_a_proxy_ends_without_a_database(
    litellm: LiteLLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keep_spend, "LONGEST_END", 0.1)
    litellm.errors = [AWAY] * 10**6
    asyncio.run(litellm.proxy_shutdown_event())
    assert litellm.ended
    assert "keep_spend: spend is lost" in caplog.text


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (PrismaError("P1000"), True),
        (PrismaError("P2037"), True),
        (PrismaError("P2024"), False),
        (PrismaError("P2002", 'PostgresError { code: "57P01" }'), False),
        (PrismaError(None, 'kind: QueryError(PostgresError { code: "57P03", message: "" })'), True),
        (
            PrismaError(None, 'PostgresError { code: "22021", message: "PostgresError { code: "57P03"" }'),
            False,
        ),
        (PrismaError(None, 'PostgresError { code: "53100", message: "could not extend file" }'), True),
        (PrismaError("P2010", "terminating connection", "57P01"), True),
        (PrismaError("P2010", "", "42P01"), False),
        (ValueError(), False),
    ],
)
def test_what_a_database_that_is_away_says(litellm: LiteLLM, error: Exception, away: bool) -> None:
    assert litellm.is_database_connection_error(error) is away


def test_another_litellm_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_spend, "import_module", lambda _: object())
    with pytest.raises(AttributeError):
        keep_spend.install()
