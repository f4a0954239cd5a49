"""One transaction: reads go to the thread at once, writes wait for the next read or the commit.

Each trip to the thread costs about a tenth of a millisecond; most transactions take three: begin
with the time, one read, and the commit with all writes before it.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from adapters.sql import load_statements
from adapters.sqlite.connection import Connection, Work
from adapters.sqlite.media_rows import (
    INSERT,
    UPDATE,
    letter_from_row,
    letter_to_row,
    media_from_row,
    media_to_row,
)
from adapters.sqlite.times import from_micros, to_micros
from application.messages import ProcessRequest
from application.ports import DeadLetters, MediaRepository, UnitOfWork
from application.values import DeadLetter, Due
from domain.errors import VersionConflict
from domain.lifecycle import State
from domain.media import Media

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], None]

SQL = load_statements("adapters.sqlite", "statements.sql")
_BEFORE_ALL = -(2**63)


class Session:
    """What the parts of a unit of work share: the open transaction and its waiting writes."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.now = now
        self.committed = False
        self._connection = connection
        self._writes: list[Write] = []
        self._usable = True

    def write(self, write: Write) -> None:
        assert self._usable, "this transaction is over"
        self._writes.append(write)

    async def read(self, work: Work[T]) -> T:
        """Do the waiting writes, then `work`. An error ends the transaction's use."""
        assert self._usable, "this transaction is over"
        writes, self._writes = self._writes, []
        self._usable = False

        def flush_and_work(connection: sqlite3.Connection) -> T:
            for write in writes:
                write(connection)
            return work(connection)

        result = await self._connection.run(flush_and_work)
        self._usable = True
        return result

    async def commit(self) -> None:
        def commit(connection: sqlite3.Connection) -> None:
            connection.execute("COMMIT")
            self.committed = True  # Set in the thread: known even if our task is cancelled now.

        await self.read(commit)
        self._usable = False


class SqliteMedia(MediaRepository):
    """`lock` needs nothing here: the transaction excludes every other from its beginning."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read_versions: dict[str, int] = {}

    async def add(self, media: Media) -> None:
        self._session.write(lambda connection: _insert(connection, media))
        self._read_versions[media.id] = media.version

    async def get(self, media_id: str, *, lock: bool = False) -> Media | None:
        row = await self._session.read(
            lambda connection: connection.execute(SQL["get_media"], {"id": media_id}).fetchone()
        )
        media = None if row is None else media_from_row(row)
        if lock and media is not None:
            self._read_versions[media.id] = media.version
        return media

    async def save(self, media: Media) -> None:
        expected = self._read_versions.get(media.id, media.version - 1)
        if media.version <= expected:
            raise VersionConflict(media.id)  # A value made from an older one than we have read.
        self._session.write(lambda connection: _update(connection, media, expected))
        self._read_versions[media.id] = media.version

    async def due(
        self, states: frozenset[State], *, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        parameters = {
            "now": to_micros(self._session.now),
            "states": json.dumps(sorted(states)),
            "after_deadline": to_micros(after.deadline_at) if after else _BEFORE_ALL,
            "after_id": after.media_id if after else "",
            "limit": limit,
        }
        rows = await self._session.read(
            lambda connection: connection.execute(SQL["due_media"], parameters).fetchall()
        )
        return [Due(from_micros(row["deadline_at"]), row["id"]) for row in rows]


class SqliteDeadLetters(DeadLetters):
    def __init__(self, session: Session) -> None:
        self._session = session

    async def keep(self, letter: DeadLetter) -> None:
        self._session.write(_statement("keep_letter", **letter_to_row(letter)))

    async def get(self, letter_id: str) -> DeadLetter | None:
        row = await self._session.read(
            lambda connection: connection.execute(SQL["get_letter"], {"id": letter_id}).fetchone()
        )
        return None if row is None else letter_from_row(row)

    async def list(self, *, limit: int) -> Sequence[DeadLetter]:
        rows = await self._session.read(
            lambda connection: connection.execute(SQL["list_letters"], {"limit": limit}).fetchall()
        )
        return [letter_from_row(row) for row in rows]

    async def mark_replayed(self, letter_id: str) -> None:
        now = to_micros(self._session.now)
        self._session.write(_statement("mark_replayed", id=letter_id, now=now))

    async def mark_dismissed(self, letter_id: str) -> None:
        now = to_micros(self._session.now)
        self._session.write(_statement("mark_dismissed", id=letter_id, now=now))


class SqliteTransaction(UnitOfWork):
    """Begun and ended by `SqliteDatabase.begin`."""

    def __init__(self, session: Session, hint: Callable[[], None]) -> None:
        self._session = session
        self._hint = hint
        self._enqueued = False
        self._media = SqliteMedia(session)
        self._dead_letters = SqliteDeadLetters(session)

    @property
    def media(self) -> SqliteMedia:
        return self._media

    @property
    def dead_letters(self) -> SqliteDeadLetters:
        return self._dead_letters

    @property
    def now(self) -> datetime:
        return self._session.now

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        available_at = self.now + timedelta(seconds=delay_seconds)
        write = _statement(
            "enqueue",
            media_id=request.media_id,
            token=request.token,
            traceparent=request.traceparent,
            available_at=to_micros(available_at),
        )
        self._session.write(write)
        self._enqueued = True

    async def commit(self) -> None:
        try:
            await self._session.commit()
        finally:
            if self._enqueued and self._session.committed:
                self._hint()


def _statement(name: str, **parameters: int | str | bytes | None) -> Write:
    return lambda connection: _execute(connection, SQL[name], parameters)


def _execute(
    connection: sqlite3.Connection, sql: str, parameters: dict[str, int | str | bytes | None]
) -> None:
    connection.execute(sql, parameters)


def _insert(connection: sqlite3.Connection, media: Media) -> None:
    try:
        connection.execute(INSERT, media_to_row(media))
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
            raise VersionConflict(media.id) from error
        raise


def _update(connection: sqlite3.Connection, media: Media, expected_version: int) -> None:
    row = media_to_row(media) | {"expected_version": expected_version}
    if connection.execute(UPDATE, row).rowcount != 1:
        raise VersionConflict(media.id)
