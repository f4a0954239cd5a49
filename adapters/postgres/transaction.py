"""One transaction on one connection, begun no sooner than it is needed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.postgres.connections import Connection, discard
from adapters.postgres.errors import Translating
from domain.errors import VersionConflict


class Transaction:
    """Statements in order. BEGIN is sent before the first that locks or writes.

    Reading before that needs none: at READ COMMITTED every statement sees what is committed
    when it starts, inside a transaction or not. So a unit of work that only reads takes no
    round trip for BEGIN and ROLLBACK, and nothing stays open while the caller thinks.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._begun = False
        self._over = False
        self.now = now
        self.media_id = ""  # the media touched last, to name it in a conflict

    @classmethod
    async def on(cls, connection: Connection) -> "Transaction":
        with Translating():
            return cls(connection, await connection.fetchval("SELECT now()"))

    async def read(self, statement: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        with Translating(self.media_id):
            return await self._connection.fetch(statement, *args)

    async def read_one(self, statement: str, *args: Any) -> Mapping[str, Any] | None:
        with Translating(self.media_id):
            return await self._connection.fetchrow(statement, *args)

    async def write(self, statement: str, *args: Any) -> Mapping[str, Any] | None:
        """Run a statement that locks or changes rows; returns its first row."""
        with Translating(self.media_id):
            if not self._begun:
                assert not self._over, "this unit of work is over"
                self._begun = True
                await self._connection.execute("BEGIN")
            return await self._connection.fetchrow(statement, *args)

    async def commit(self) -> None:
        """Make it durable. The server answers ROLLBACK, no error, if a statement had failed."""
        if self._begun:
            with Translating(self.media_id):
                answer = await self._connection.execute("COMMIT")
            self._begun = False
            if answer != "COMMIT":
                raise VersionConflict(self.media_id)
        self._over = True

    async def rollback(self) -> None:
        """Undo what is not committed. Never raises: a server we cannot tell does it by itself."""
        if not self._begun:
            return
        self._begun = False
        self._over = True
        try:
            await self._connection.execute("ROLLBACK")
        except BaseException as error:
            discard(self._connection)
            if not isinstance(error, Exception):
                raise
