"""The database in a file: one writer connection, one transaction at a time."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from adapters.sqlite.connection import (
    BUSY_TIMEOUT_SECONDS,
    Connection,
    in_transaction,
)
from adapters.sqlite.outbox import SqliteOutboxHint, SqliteOutboxRelay
from adapters.sqlite.overview import SqliteOverview
from adapters.sqlite.schema import migrate
from adapters.sqlite.times import Clock, SteadyTime, read_clock
from adapters.sqlite.transaction import Session, SqliteTransaction
from application.ports import Database, Dependency
from domain.errors import DatabaseUnavailable

T = TypeVar("T")


class SqliteDatabase(Database):
    """Made by `open`. Serves one event loop; other processes may have the file open too.

    `clock` is the database's time, by default that of SQLite, which knows milliseconds.
    """

    def __init__(self, path: Path, clock: Clock | None, busy_timeout_seconds: float) -> None:
        self._clock = clock
        self._patience_seconds = busy_timeout_seconds
        self._writer = _connection(path, busy_timeout_seconds)
        self._reader = _connection(path, busy_timeout_seconds)
        self._gate = asyncio.Lock()
        self._time = SteadyTime(asyncio.get_running_loop().time)
        self.hint = SqliteOutboxHint()
        self.relay = SqliteOutboxRelay(self._transact)
        self.overview = SqliteOverview(self._reader, clock)
        self.dependency = SqliteDependency(self)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> Self:
        """The database in the file `path`, made and migrated if need be.

        Raises InvalidConfiguration if the file was written by a newer release. A transaction
        waits `busy_timeout_seconds` for another to end, then raises DatabaseUnavailable.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        database = cls(path, clock, busy_timeout_seconds)
        try:
            await database._writer.run(lambda c: migrate(c, "adapters.sqlite.migrations"))
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Let go of the file; what is under way ends first."""
        await self._reader.close()
        await self._writer.close()

    @property
    def connections_in_use(self) -> int:
        """1 while a transaction is open, else 0."""
        return int(self._gate.locked())

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[SqliteTransaction]:
        async with self._turn():
            session: Session | None = None
            try:
                session = Session(self._writer, await self._writer.run(self._begin))
                yield SqliteTransaction(session, self.hint.give)
            finally:
                # Also after a cancelled BEGIN, of which we do not know how far it came.
                if session is None or not session.committed:
                    await self._writer.abandon()

    def _begin(self, connection: sqlite3.Connection) -> datetime:
        connection.execute("BEGIN IMMEDIATE")
        return self._now(connection)

    async def _transact(self, work: Callable[[sqlite3.Connection, datetime], T]) -> T:
        async with self._turn():
            return await self._writer.run(in_transaction(lambda c: work(c, self._now(c))))

    def _now(self, connection: sqlite3.Connection) -> datetime:
        return self._time.advance(read_clock(connection, self._clock))

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """The right to use the writer, for one transaction."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._gate.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("the transactions before this one do not end") from error
        try:
            yield
        finally:
            self._gate.release()


class SqliteDependency(Dependency):
    """Ready if a transaction can begin."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    @property
    def name(self) -> str:
        return "database"

    async def check(self) -> None:
        async with self._database.begin():
            pass


def _connection(path: Path, busy_timeout_seconds: float) -> Connection:
    return Connection(path, DatabaseUnavailable, busy_timeout_seconds=busy_timeout_seconds)
