"""Questions of operators, on a connection of their own: no transaction waits for the answer."""

import sqlite3
from collections.abc import Mapping, Sequence

from adapters.sqlite.connection import Connection
from adapters.sqlite.media_rows import media_from_row
from adapters.sqlite.times import Clock, read_clock, to_micros
from adapters.sqlite.transaction import SQL
from application.ports import Overview
from application.values import Backlog, Waiting
from domain.failure import FailureCode
from domain.lifecycle import State
from domain.media import Media


class SqliteOverview(Overview):
    def __init__(self, reader: Connection, clock: Clock | None) -> None:
        self._reader = reader
        self._clock = clock

    async def backlog(self) -> Backlog:
        return await self._reader.run(self._backlog)

    async def totals(self) -> Mapping[State, int]:
        rows = await self._reader.run(lambda c: c.execute(SQL["totals"]).fetchall())
        return {State(row["state"]): row["count"] for row in rows}

    async def failed(self, *, code: FailureCode | None, limit: int) -> Sequence[Media]:
        parameters = {"code": code.value if code else None, "limit": limit}
        rows = await self._reader.run(
            lambda c: c.execute(SQL["failed_media"], parameters).fetchall()
        )
        return [media_from_row(row) for row in rows]

    def _backlog(self, connection: sqlite3.Connection) -> Backlog:
        now = to_micros(read_clock(connection, self._clock))
        outbox = connection.execute(SQL["waiting_outbox"], {"now": now}).fetchone()
        requeued = connection.execute(SQL["requeued_media"], {"now": now}).fetchone()
        media = connection.execute(SQL["waiting_media"]).fetchall()
        return Backlog(
            media={State(row["state"]): _waiting(row, now) for row in media},
            outbox=_waiting(outbox, now),
            requeued=requeued["count"],
            dead_letters=connection.execute(SQL["waiting_letters"]).fetchone()["count"],
        )


def _waiting(row: sqlite3.Row, now: int) -> Waiting:
    if row["count"] == 0:
        return Waiting(0, 0.0)
    return Waiting(row["count"], max(0, now - row["oldest"]) / 1_000_000)
