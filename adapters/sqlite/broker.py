"""A queue in a file: durable on return, at least once, with a visibility time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from adapters.sqlite.connection import BUSY_TIMEOUT_SECONDS, Connection
from adapters.sqlite.consumer import SqliteConsumer
from adapters.sqlite.messages import Messages, encode_headers
from adapters.sqlite.owners import Owners
from adapters.sqlite.schema import migrate
from adapters.sqlite.times import Clock
from adapters.threads import run_to_the_end
from application.ports import Broker, Dependency, Publisher, Queue
from domain.errors import BrokerUnavailable

VISIBILITY_SECONDS = 60.0
DELIVERY_LIMIT = 20
POLL_SECONDS = 0.5


class SqliteBroker(Broker, Publisher, Dependency):
    """Made by `open`. Consumers in this process wake at once; those of others within a poll."""

    def __init__(
        self, connection: Connection, messages: Messages, owners: Owners, poll_seconds: float
    ) -> None:
        self._connection = connection
        self._messages = messages
        self._owners = owners
        self._poll_seconds = poll_seconds
        self._consumers: set[SqliteConsumer] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        visibility_seconds: float = VISIBILITY_SECONDS,
        delivery_limit: int = DELIVERY_LIMIT,
        poll_seconds: float = POLL_SECONDS,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> Self:
        """The queue in the file `path`, made and migrated if need be.

        What a killed process had taken comes back here if no other process has the file open,
        else after `visibility_seconds`. A message that came back more than
        `delivery_limit` times goes to DEAD.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        messages = Messages(
            clock=clock, visibility_seconds=visibility_seconds, delivery_limit=delivery_limit
        )
        connection = Connection(path, BrokerUnavailable, busy_timeout_seconds=busy_timeout_seconds)
        owners = Owners(path.with_name(path.name + "-owners"))
        broker = cls(connection, messages, owners, poll_seconds)
        try:
            await connection.run(lambda c: migrate(c, "adapters.sqlite.broker_migrations"))
            if owners.is_alone():
                await connection.run(messages.give_all_back)
            await run_to_the_end(owners.join)
        except BaseException:
            await broker.close()
            raise
        return broker

    async def close(self) -> None:
        """Close every consumer, then the file."""
        if self._closed:
            return
        self._closed = True
        for consumer in list(self._consumers):
            await consumer.close()
        await self._connection.close()
        self._owners.leave()

    async def consume(self, queue: Queue, *, prefetch: int) -> SqliteConsumer:
        consumer = SqliteConsumer(
            self._connection,
            self._messages,
            queue,
            prefetch=prefetch,
            poll_seconds=self._poll_seconds,
            wake=self._wake,
            forget=self._consumers.discard,
        )
        self._consumers.add(consumer)
        return consumer

    async def publish(self, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        encoded = encode_headers(headers)
        try:
            await self._connection.run(
                lambda c: self._messages.publish(c, message_id, body, encoded)
            )
        finally:
            self._wake()

    @property
    def name(self) -> str:
        return "broker"

    async def check(self) -> None:
        await self._connection.run(lambda c: c.execute("SELECT 1 FROM message LIMIT 1").fetchone())

    def _wake(self) -> None:
        for consumer in self._consumers:
            consumer.look_again()
