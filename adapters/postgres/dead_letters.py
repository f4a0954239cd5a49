"""The kept dead letters on PostgreSQL."""

from collections.abc import Sequence

from adapters.postgres.transaction import Transaction
from adapters.sql import load_statements
from application.ports import DeadLetters
from application.values import DeadLetter

_SQL = load_statements("adapters.postgres", "dead_letters.sql")


class PostgresDeadLetters(DeadLetters):
    """The columns are the fields of DeadLetter."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def keep(self, letter: DeadLetter) -> None:
        await self._transaction.write(
            _SQL["keep"],
            letter.id,
            letter.received_at,
            letter.reason,
            letter.media_id,
            letter.body,
            letter.replayed_at,
            letter.dismissed_at,
        )

    async def get(self, letter_id: str) -> DeadLetter | None:
        row = await self._transaction.read_one(_SQL["get"], letter_id)
        return DeadLetter(**dict(row)) if row else None

    async def list(self, *, limit: int) -> Sequence[DeadLetter]:
        rows = await self._transaction.read(_SQL["list"], limit)
        return [DeadLetter(**dict(row)) for row in rows]

    async def mark_replayed(self, letter_id: str) -> None:
        await self._transaction.write(_SQL["mark_replayed"], letter_id, self._transaction.now)

    async def mark_dismissed(self, letter_id: str) -> None:
        await self._transaction.write(_SQL["mark_dismissed"], letter_id, self._transaction.now)
