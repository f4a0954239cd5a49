"""One subscription to a queue, from its own connection down to its buffer."""

import asyncio
from collections import deque
from contextlib import suppress

from aio_pika import Connection
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from adapters.rabbitmq.connection import (
    Timing,
    broker_errors,
    close_connection,
    open_connection,
)
from adapters.rabbitmq.delivery import RabbitDelivery
from application.ports import Queue
from domain.errors import BrokerUnavailable


class Session:
    """The first fault of connection, channel or subscription ends all of it, for good.

    `arrived` is set whenever there is something to `take`, `ended` when the session is of no more
    use. What nobody has taken by then is dropped: the broker delivers it again.
    """

    def __init__(
        self, connection: Connection, queue: Queue, arrived: asyncio.Event, timing: Timing
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._arrived = arrived
        self._timing = timing
        self._channel: AbstractChannel | None = None
        self._subscription: tuple[AbstractQueue, str] | None = None
        self._stopping = False
        self._buffer: deque[RabbitDelivery] = deque()
        self.ended = asyncio.Event()

    @classmethod
    async def open(
        cls, url: str, queue: Queue, *, prefetch: int, arrived: asyncio.Event, timing: Timing
    ) -> "Session":
        """A session that receives; raises BrokerUnavailable."""
        connection = await open_connection(url, purpose=f"consumer {queue}", timing=timing)
        session = cls(connection, queue, arrived, timing)
        try:
            with broker_errors(f"let us consume {queue}"):
                async with asyncio.timeout(timing.connect_seconds):
                    await session._subscribe(prefetch)
        except BaseException:
            await session.close()
            raise
        return session

    def take(self) -> RabbitDelivery | None:
        """The oldest delivery that nobody has taken."""
        return self._buffer.popleft() if self._buffer else None

    async def stop(self) -> None:
        """Take no more, hand back what was not taken; what was taken can still be settled."""
        self._stopping = True
        if self._subscription is not None and not self.ended.is_set():
            queue, tag = self._subscription
            with suppress(BrokerUnavailable), broker_errors("end a subscription"):
                async with asyncio.timeout(self._timing.settle_seconds):
                    await queue.cancel(tag)
        while delivery := self.take():
            await _hand_back(delivery)

    async def close(self) -> None:
        """Let go of the connection; the broker takes back whatever is unsettled."""
        self._end()
        await close_connection(self._connection, self._timing)

    async def _subscribe(self, prefetch: int) -> None:
        # The driver keeps no strong reference to a channel.
        self._channel = channel = await self._connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._end)
        driver = await channel.get_underlay_channel()
        driver.on_consumer_cancel_callbacks.add(self._end)
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.get_queue(self._queue.value, ensure=False)
        self._subscription = queue, await queue.consume(self._on_message)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        delivery = RabbitDelivery(message, self._queue, self._timing)
        if self._stopping:
            await _hand_back(delivery)
        elif not self.ended.is_set():
            self._buffer.append(delivery)
            self._arrived.set()

    def _end(self, *_: object) -> None:
        self._buffer.clear()
        self.ended.set()


async def _hand_back(delivery: RabbitDelivery) -> None:
    # Where the connection is gone, the broker has taken it back already.
    with suppress(BrokerUnavailable):
        await delivery.requeue()
