"""The unit of work on PostgreSQL."""

from datetime import datetime, timedelta

from adapters.postgres.dead_letters import PostgresDeadLetters
from adapters.postgres.media import PostgresMedia
from adapters.postgres.transaction import Transaction
from adapters.sql import load_statements
from application.messages import ProcessRequest
from application.ports import UnitOfWork

_SQL = load_statements("adapters.postgres", "outbox.sql")


class PostgresUnitOfWork(UnitOfWork):
    """One transaction, its repositories and its outbox rows."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._media = PostgresMedia(transaction)
        self._dead_letters = PostgresDeadLetters(transaction)

    @property
    def media(self) -> PostgresMedia:
        return self._media

    @property
    def dead_letters(self) -> PostgresDeadLetters:
        return self._dead_letters

    @property
    def now(self) -> datetime:
        return self._transaction.now

    async def enqueue(self, request: ProcessRequest, *, delay_seconds: float = 0.0) -> None:
        await self._transaction.write(
            _SQL["enqueue"],
            request.media_id,
            request.token,
            request.traceparent,
            self.now + timedelta(seconds=delay_seconds),
        )

    async def commit(self) -> None:
        await self._transaction.commit()
