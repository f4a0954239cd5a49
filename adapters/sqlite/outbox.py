"""The reading side of the outbox, and what wakes it."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol, TypeVar

from adapters.sqlite.times import from_micros, seconds_to_micros, to_micros
from adapters.sqlite.transaction import SQL
from application.messages import ProcessRequest
from application.ports import OutboxHint, OutboxRelay
from application.values import OutboxRow

T = TypeVar("T")


class Transact(Protocol):
    """Runs work as a transaction of its own; the work is told the time."""

    def __call__(self, work: Callable[[sqlite3.Connection, datetime], T], /) -> Awaitable[T]: ...


class SqliteOutboxRelay(OutboxRelay):
    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    async def claim(self, *, limit: int, hold_seconds: float) -> Sequence[OutboxRow]:
        def claim(connection: sqlite3.Connection, now: datetime) -> list[sqlite3.Row]:
            micros = to_micros(now)
            held_until = micros + seconds_to_micros(hold_seconds)
            parameters = {"now": micros, "held_until": held_until, "limit": limit}
            return connection.execute(SQL["claim_outbox"], parameters).fetchall()

        rows = [_outbox_row(row) for row in await self._transact(claim)]
        # RETURNING promises no order.
        return sorted(rows, key=lambda row: (row.available_at, row.id))

    async def mark_published(self, ids: Sequence[int]) -> None:
        await self._transact(
            lambda connection, now: connection.execute(
                SQL["mark_published"], {"now": to_micros(now), "ids": json.dumps(list(ids))}
            )
        )

    async def release(self, ids: Sequence[int]) -> None:
        await self._transact(
            lambda connection, _now: connection.execute(
                SQL["release_outbox"], {"ids": json.dumps(list(ids))}
            )
        )

    async def prune(self, *, older_than_seconds: float, limit: int) -> int:
        def prune(connection: sqlite3.Connection, now: datetime) -> int:
            before = to_micros(now) - seconds_to_micros(older_than_seconds)
            parameters = {"before": before, "limit": limit}
            return connection.execute(SQL["prune_outbox"], parameters).rowcount

        return await self._transact(prune)


class SqliteOutboxHint(OutboxHint):
    """Knows of commits in this process only; for those of others, polling is enough."""

    def __init__(self) -> None:
        self._committed = asyncio.Event()

    def give(self) -> None:
        self._committed.set()

    async def wait(self, timeout_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._committed.wait()
        self._committed.clear()


def _outbox_row(row: sqlite3.Row) -> OutboxRow:
    request = ProcessRequest(row["media_id"], row["token"], row["traceparent"])
    return OutboxRow(row["id"], request, from_micros(row["available_at"]))
