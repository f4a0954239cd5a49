"""The reading side of the outbox on PostgreSQL. Each method is one statement."""

from collections.abc import Sequence

from adapters.postgres.connections import Connections
from adapters.sql import load_statements
from application.messages import ProcessRequest
from application.ports import OutboxRelay
from application.values import OutboxRow

_SQL = load_statements("adapters.postgres", "outbox.sql")


class PostgresRelay(OutboxRelay):
    """Relays share the rows by skipping those that another one has locked or holds."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def claim(self, *, limit: int, hold_seconds: float) -> Sequence[OutboxRow]:
        async with self._connections.use() as connection:
            rows = await connection.fetch(_SQL["claim"], limit, hold_seconds)
        claimed = [
            OutboxRow(
                row["id"],
                ProcessRequest(row["media_id"], row["token"], row["traceparent"]),
                row["available_at"],
            )
            for row in rows
        ]
        # RETURNING promises no order.
        return sorted(claimed, key=lambda row: (row.available_at, row.id))

    async def mark_published(self, ids: Sequence[int]) -> None:
        if ids:
            async with self._connections.use() as connection:
                await connection.fetch(_SQL["mark_published"], ids)

    async def release(self, ids: Sequence[int]) -> None:
        if ids:
            async with self._connections.use() as connection:
                await connection.fetch(_SQL["release"], ids)

    async def prune(self, *, older_than_seconds: float, limit: int) -> int:
        async with self._connections.use() as connection:
            return len(await connection.fetch(_SQL["prune"], older_than_seconds, limit))
