"""The operator's questions, answered by PostgreSQL."""

from collections.abc import Mapping, Sequence

from adapters.postgres.connections import Connections
from adapters.rows import from_row
from adapters.sql import load_statements
from application.ports import Overview
from application.values import Backlog, Waiting
from domain.failure import FailureCode
from domain.lifecycle import CLAIMABLE, TERMINAL, State
from domain.media import Media

_SQL = load_statements("adapters.postgres", "overview.sql")
_UNDER_WAY = sorted(frozenset(State) - TERMINAL)
# Counting a whole table is the one thing here that may take long, and reads it in order.
_TOTALS_SECONDS = 60
_ALLOW_A_SCAN = f"BEGIN READ ONLY; SET LOCAL statement_timeout = '{_TOTALS_SECONDS}s'; \
SET LOCAL enable_seqscan = on"


class PostgresOverview(Overview):
    """Read-only; `oldest_seconds` counts from the moment the state was entered."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def backlog(self) -> Backlog:
        async with self._connections.use() as connection:
            rows = await connection.fetch(_SQL["backlog"], _UNDER_WAY)
        parts = {row["part"]: Waiting(row["count"], row["oldest_seconds"]) for row in rows}
        outbox, letters = parts.pop("outbox"), parts.pop("dead_letters")
        return Backlog(
            media={State(part): waiting for part, waiting in parts.items()},
            outbox=outbox,
            requeued=sum(row["requeued"] for row in rows if row["part"] in CLAIMABLE),
            dead_letters=letters.count,
        )

    async def totals(self) -> Mapping[State, int]:
        async with self._connections.use() as connection:
            await connection.execute(_ALLOW_A_SCAN)
            try:
                rows = await connection.fetch(_SQL["totals"], timeout=_TOTALS_SECONDS + 1.0)
            finally:
                await connection.execute("ROLLBACK")
        return {State(row["state"]): row["count"] for row in rows}

    async def failed(self, *, code: FailureCode | None, limit: int) -> Sequence[Media]:
        async with self._connections.use() as connection:
            if code is None:
                rows = await connection.fetch(_SQL["failed"], limit)
            else:
                rows = await connection.fetch(_SQL["failed_with_code"], limit, code.value)
        return [from_row(row) for row in rows]
