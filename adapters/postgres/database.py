"""The whole PostgreSQL set behind one object."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from adapters.postgres.connections import Connections, Limits
from adapters.postgres.dependency import PostgresDependency
from adapters.postgres.hint import PostgresHint
from adapters.postgres.overview import PostgresOverview
from adapters.postgres.relay import PostgresRelay
from adapters.postgres.transaction import Transaction
from adapters.postgres.unit_of_work import PostgresUnitOfWork
from application.ports import Database
from domain.errors import DatabaseUnavailable


class PostgresDatabase(Database):
    """Where transactions begin; its parts share one pool. Build it with `connect`."""

    def __init__(self, connections: Connections, hint: PostgresHint) -> None:
        self._connections = connections
        self.hint = hint
        self.relay = PostgresRelay(connections)
        self.overview = PostgresOverview(connections)
        self.dependency = PostgresDependency(connections)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        pool_size: int = 10,
        connect_seconds: float = 3.0,
        statement_seconds: float = 4.0,
        lock_seconds: float = 3.0,
        idle_in_transaction_seconds: float = 10.0,
        fraction: Callable[[], float] = lambda: 0.5,
    ) -> "PostgresDatabase":
        """Ready to connect when first used: a server that is down is no error yet.

        `fraction` gives random numbers in [0, 1), to spread reconnects. Raises
        InvalidConfiguration if the URL is none.
        """
        limits = Limits(
            pool_size=pool_size,
            connect_seconds=connect_seconds,
            statement_seconds=statement_seconds,
            lock_seconds=lock_seconds,
            idle_in_transaction_seconds=idle_in_transaction_seconds,
        )
        connections = Connections(url, limits)
        await connections.open()
        return cls(
            connections, PostgresHint(url, connect_seconds=connect_seconds, fraction=fraction)
        )

    @property
    def connections_in_use(self) -> int:
        """How many connections some task holds at this moment."""
        return self._connections.in_use_count

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[PostgresUnitOfWork]:
        async with self._connections.checkout() as connection:
            transaction = await Transaction.on(connection)
            try:
                yield PostgresUnitOfWork(transaction)
            except Exception as error:
                if not isinstance(error, DatabaseUnavailable):
                    await transaction.rollback()
                raise
            await transaction.rollback()

    async def close(self) -> None:
        await self.hint.close()
        await self._connections.close()
